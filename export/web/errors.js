/** A file that can't be read as an image: the message says what was expected and what came. */
export class ImageError extends Error {}
