// What the page shows of an image besides the network's outputs: decisions, warnings, and the image as the network sees it.

export const SIDE = 224; // pixels of the network's input
const SMALLEST_SIDE = 112; // pixels; half of the network's input
const [BLACK, WHITE, FLAT] = [60, 195, 30]; // grey levels
const COLOURED = 12; // mean distance from grey, in levels
const ONE_HUE = 0.8; // agreement of the hues, 0..1
const SAMPLES = 512; // pixels a side that are examined

/** Returns both decisions and whether the image is declined, as export/runtime does. */
export function decide(info, probabilities, typicality) {
  const { labels, threshold, declined_at } = info;
  const best = (from) => labels[probabilities.indexOf(Math.max(...probabilities.slice(from)), from)];
  const declined = typicality !== null && typicality <= declined_at * (1 + 1e-4);
  const decision = probabilities[0] >= threshold ? labels[0] : best(1);
  return { decision: declined ? "declined" : decision, decision_argmax: best(0), declined };
}

/** Returns reasons to doubt that an image is a chest radiograph, as export/runtime/plausibility.py does. */
export function findWarnings({ width, height, rgb }) {
  const step = Math.max(1, Math.floor(Math.max(height, width) / SAMPLES));
  const sums = [];
  let [amount, along, across] = [0, 0, 0];
  for (let row = 0; row < height; row += step) {
    for (let column = 0; column < width; column += step) {
      const at = 3 * (row * width + column);
      const [red, green, blue] = [rgb[at], rgb[at + 1], rgb[at + 2]];
      sums.push(red + green + blue);
      // Hue and chroma as a vector: the sum of these is short when the hues differ.
      const [x, y] = [red - (green + blue) / 2, Math.sqrt(0.75) * (green - blue)];
      amount += Math.hypot(x, y);
      along += x;
      across += y;
    }
  }
  const sorted = Uint16Array.from(sums).sort();
  const [low, high] = [findPercentile(sorted, 1) / 3, findPercentile(sorted, 99) / 3];
  const warnings = [];
  if (Math.min(width, height) < SMALLEST_SIDE) warnings.push(`tiny: ${width} x ${height} pixels`);
  if (high < BLACK) warnings.push("almost black");
  else if (low > WHITE) warnings.push("almost white");
  else if (high - low < FLAT) warnings.push("hardly any contrast");
  if (amount > COLOURED * sums.length && Math.hypot(along, across) < ONE_HUE * amount) {
    warnings.push("colourful: no radiograph");
  }
  return warnings;
}

/** The percentile of sorted values, between two of them linearly, as numpy.percentile has it. */
function findPercentile(sorted, percent) {
  const place = ((sorted.length - 1) * percent) / 100;
  const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return below + (above - below) * (place % 1);
}

/**
 * Resize as the graph does inside: bilinear, half-pixel centres, no antialiasing.
 * Returns a Float32Array of SIDE x SIDE x 3 in 0..255.
 */
export function resizeImage({ width, height, rgb }) {
  const [columns, rows] = [findNeighbours(width), findNeighbours(height)];
  const resized = new Float32Array(SIDE * SIDE * 3);
  let to = 0;
  for (const [top, bottom, down] of rows) {
    for (const [left, right, along] of columns) {
      for (let channel = 0; channel < 3; channel += 1) {
        const value = (row, column) => rgb[3 * (row * width + column) + channel];
        const upper = value(top, left) + (value(top, right) - value(top, left)) * along;
        const lower = value(bottom, left) + (value(bottom, right) - value(bottom, left)) * along;
        resized[to++] = upper + (lower - upper) * down;
      }
    }
  }
  return resized;
}

/** The two neighbours of each sample along a side of `length` pixels, and the second one's weight. */
function findNeighbours(length) {
  return Array.from({ length: SIDE }, (_, index) => {
    const position = ((index + 0.5) * length) / SIDE - 0.5;
    const first = Math.floor(position);
    return [Math.max(first, 0), Math.min(first + 1, length - 1), position - first];
  });
}
