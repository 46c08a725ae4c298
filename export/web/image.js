// Read an image file to the pixels that the model takes: what covid_tfds/imaging/reader.py gives, bit for bit.

import { ImageError } from "./errors.js";
import { readTwelveBits } from "./twelve_bits.js";

const MAX_BYTES = 512 * 2 ** 20;
const MAX_PIXELS = 50e6; // a radiograph has 4 to 20 million
const MAX_SCANS = 100; // a progressive JPEG has 10 as libjpeg writes it
const KINDS = { JPEG: readJpegSize, PNG: readPngSize, WebP: readWebpSize, BMP: readBmpSize };

/**
 * Returns {width, height, rgb, notes}: rgb is a Uint8Array of height x width x 3, row by row, 0 black to 255 white; notes
 * are warnings about the file.
 * Throws ImageError for a file that is damaged, too large, or of another kind.
 */
export async function readImage(file) {
  if (file.size > MAX_BYTES) throw new ImageError(`expected at most 512 MB, got ${Math.round(file.size / 2 ** 20)} MB`);
  const bytes = new Uint8Array(await file.arrayBuffer().catch(() => fail("can't be opened")));
  const kind = findKind(bytes, file.name ?? "");
  const view = new DataView(bytes.buffer);
  let size;
  try {
    size = KINDS[kind](view);
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw new ImageError(`damaged: the file ends within its head`); // RangeError of DataView
  }
  const [width, height] = size;
  if (width < 1 || height < 1) throw new ImageError(`expected an image, got ${width} x ${height} pixels`);
  if (width * height > MAX_PIXELS) throw new ImageError(`expected at most 50 million pixels, got ${width} x ${height}`);
  if (kind === "JPEG") checkScans(bytes);
  if (isAnimated(kind, view)) throw new ImageError("an animated image: save the one that is meant as PNG");
  if (kind === "WebP" && isTurnedWebp(view)) {
    throw new ImageError("a WebP file that its EXIF orientation turns, which browsers don't do: save it as PNG");
  }
  const image = await decode(new Blob([bytes], { type: `image/${kind.toLowerCase()}` }), width * height);
  const isGrey16 = kind === "PNG" && bytes[24] === 16 && bytes[25] === 0;
  // Browsers keep the upper 8 of 16 bits: of 12 bits kept in 16 these are 4.
  return isGrey16 && image.rgb.every((value) => value < 16) && image.rgb.some(Boolean)
    ? readTwelveBits(bytes, width, height)
    : image;
}

function findKind(bytes, name) {
  if (bytes.length === 0) throw new ImageError("expected JPEG, PNG, WebP or BMP, got an empty file");
  const starts = (text, at = 0) => [...text].every((letter, index) => bytes[at + index] === letter.charCodeAt(0));
  const isOldDicom = [2, 8].includes(bytes[0]) && [0, 1, 5, 8, 16].includes(bytes[2]) && !bytes[1] && !bytes[3];
  if (starts("DICM", 128) || isOldDicom) throw new ImageError(convertFirst("DICOM", name));
  if (starts("II*\0") || starts("MM\0*")) throw new ImageError(convertFirst("TIFF", name));
  if (starts("\xff\xd8\xff")) return "JPEG";
  if (starts("\x89PNG\r\n\x1a\n")) return "PNG";
  if (starts("RIFF") && starts("WEBP", 8)) return "WebP";
  if (starts("BM")) return "BMP";
  if (/\.(dcm|dicom)$/i.test(name)) throw new ImageError(convertFirst("DICOM", name));
  throw new ImageError("expected JPEG, PNG, WebP or BMP, got another kind of file; if it is an image, save it as PNG");
}

function convertFirst(kind, name) {
  const given = /^[\w.-]+$/.test(name) ? name : "FILE";
  return (
    `${kind} is not read by browsers. Convert it to PNG with this project and drop that: ` +
    `python -m export.predict MODEL ${given} --save_png DIR`
  );
}

const fail = (message) => {
  throw new ImageError(message);
};

function readPngSize(view) {
  return [view.getUint32(16), view.getUint32(20)];
}

function readBmpSize(view) {
  if (view.getUint32(14, true) === 12) return [view.getUint16(18, true), view.getUint16(20, true)]; // of OS/2
  return [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
}

function readWebpSize(view) {
  const chunk = String.fromCharCode(...[12, 13, 14, 15].map((at) => view.getUint8(at)));
  const uint24 = (at) => view.getUint16(at, true) + view.getUint8(at + 2) * 65536;
  if (chunk === "VP8X") return [uint24(24) + 1, uint24(27) + 1];
  if (chunk === "VP8 ") return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  const bits = view.getUint32(21, true);
  return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
}

/** Whether a file holds several images, of which browsers and Python may show different ones. */
function isAnimated(kind, view) {
  if (kind === "WebP") return view.getUint32(12) === 0x56503858 && (view.getUint8(20) & 2) !== 0; // "VP8X"
  if (kind !== "PNG") return false;
  for (let at = 8; at + 8 <= view.byteLength; at += 12 + view.getUint32(at)) {
    const chunk = view.getUint32(at + 4);
    if (chunk === 0x6163544c || chunk === 0x49444154) return chunk === 0x6163544c; // "acTL", "IDAT"
  }
  return false;
}

/** Whether the EXIF orientation of a WebP file is not upright. */
function isTurnedWebp(view) {
  for (let at = 12; at + 8 <= view.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2)) {
    if (view.getUint32(at) === 0x45584946) return readOrientation(view, at + 8) !== 1; // "EXIF"
  }
  return false;
}

/** The orientation in EXIF data, 1 for upright. */
function readOrientation(view, at) {
  const start = view.getUint32(at) === 0x45786966 ? at + 6 : at; // some writers put "Exif\0\0" before the data
  const little = view.getUint16(start) === 0x4949;
  const folder = start + view.getUint32(start + 4, little);
  for (let entry = 0; entry < view.getUint16(folder, little); entry += 1) {
    const place = folder + 2 + 12 * entry;
    if (view.getUint16(place, little) === 0x0112) return view.getUint16(place + 8, little);
  }
  return 1;
}

function readJpegSize(view) {
  let isAdobe = false;
  for (let at = 2; ; ) {
    while (view.getUint8(at) !== 0xff) at += 1;
    while (view.getUint8(at) === 0xff) at += 1;
    const marker = view.getUint8(at);
    isAdobe ||= marker === 0xee && view.getUint32(at + 3) === 0x41646f62; // "Adob"
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && view.getUint8(at + 8) === 4 && !isAdobe) {
      throw new ImageError("a JPEG of four inks without Adobe's mark, which browsers show negative: save it as PNG");
    }
    if (isFrame) return [view.getUint16(at + 6), view.getUint16(at + 4)];
    at += 1 + view.getUint16(at + 1);
  }
}

function checkScans(bytes) {
  let scans = 0;
  for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at + 1)) scans += bytes[at + 1] === 0xda;
  if (scans > MAX_SCANS) throw new ImageError(`expected a JPEG of at most 100 scans, got ${scans}`);
}

/** Decode upright, without the file's colour profile, over black. pixels: how many the file says it has. */
async function decode(blob, pixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new ImageError("damaged: the browser can't decode it");
  }
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const fill = (colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, width, height);
  };
  try {
    // A canvas that is too large for a browser stays empty without an error.
    fill("white");
    if (context.getImageData(width - 1, height - 1, 1, 1).data[0] !== 255 || width * height !== pixels) throw new Error();
    fill("black");
    context.drawImage(bitmap, 0, 0);
    return { width, height, rgb: takeColours(context.getImageData(0, 0, width, height).data), notes: [] };
  } catch {
    throw new ImageError(`too large for this browser: ${width} x ${height} pixels`);
  } finally {
    bitmap.close();
  }
}

function takeColours(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}
