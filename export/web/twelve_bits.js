// Read a grey PNG of 16 bits in full: browsers give its upper 8 bits alone.

import { ImageError } from "./errors.js";

const NOTE = "holds values of 12 bits in 16: the upper 8 of the 12 are used";
// What PNG adds to a byte, by the filter's number: nothing, or a guess from the pixels at its left and above.
const GUESSES = [
  () => 0,
  (left) => left,
  (left, above) => above,
  (left, above) => (left + above) >> 1,
  (left, above, corner) => {
    const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
    return a <= b && a <= c ? left : b <= c ? above : corner;
  },
];

/** Returns {width, height, rgb, notes} of a file whose values have 12 bits; the browser has decoded it before. */
export async function readTwelveBits(bytes, width, height) {
  const chunks = listChunks(bytes);
  if (bytes[28] !== 0 || chunks.eXIf) {
    throw new ImageError("a PNG of 12 bits kept in 16 that is interlaced or turned by EXIF: save it as PNG of 8 bits");
  }
  const stride = 2 * width;
  const lines = await inflate(chunks.IDAT, height * (stride + 1));
  const transparent = chunks.tRNS && chunks.tRNS[0][0] * 256 + chunks.tRNS[0][1];
  const rgb = new Uint8Array(width * height * 3);
  let above = new Uint8Array(stride);
  for (let row = 0, to = 0; row < height; row += 1) {
    const start = row * (stride + 1) + 1;
    const guess = GUESSES[lines[start - 1]];
    const line = lines.subarray(start, start + stride);
    for (let at = 0; at < stride; at += 1) line[at] += guess(at > 1 ? line[at - 2] : 0, above[at], at > 1 ? above[at - 2] : 0);
    for (let at = 0; at < stride; at += 2, to += 3) {
      const value = line[at] * 256 + line[at + 1];
      rgb.fill(value === transparent ? 0 : value >> 4, to, to + 3);
    }
    above = line;
  }
  return { width, height, rgb, notes: [NOTE] };
}

/** The chunks' data by their kind. */
function listChunks(bytes) {
  const view = new DataView(bytes.buffer);
  const chunks = {};
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    (chunks[kind] ??= []).push(bytes.subarray(at + 8, at + 8 + view.getUint32(at)));
  }
  return chunks;
}

/** The first `length` bytes of what is packed. */
async function inflate(parts, length) {
  const unpacked = new Uint8Array(length);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (let at = 0; at < length; ) {
    const { done, value } = await reader.read();
    if (done) throw new ImageError("damaged: the file ends within its pixels");
    unpacked.set(value.subarray(0, length - at), at);
    at += value.length;
  }
  reader.cancel();
  return unpacked;
}
