// What the page shows of an image besides the network's outputs: decisions, warnings, and the image as the network sees it.

export const SIDE = 224; // pixels of the network's input
const SMALLEST_SIDE = 112; // pixels; half of the network's input
const [BLACK, WHITE, FLAT] = [60, 195, 30]; // grey levels
const COLOURED = 12; // mean distance from grey, in levels
const ONE_HUE = 0.8; // agreement of the hues, 0..1
const SAMPLES = 512; // pixels a side that are examined
const ROUNDING = 1e-3; // by which probabilities may miss a sum of 1

/** Whether the model measures how typical an image is, and declines some. */
export const declines = ({ declined_at: level }) => level !== null && level !== undefined;

/**
 * Returns an answer as plain values, from the network's outputs by name: both decisions, and whether and why the image
 * is declined, as export/runtime does. Throws an Error for outputs that are no answer.
 */
export function makeAnswer(info, outputs) {
  const [probabilities, cells] = [[...outputs.probabilities.data], [...outputs.heatmap.data]];
  const sum = probabilities.reduce((total, p) => total + p, 0);
  const isUnit = (value) => Number.isFinite(value) && value >= 0 && value <= 1 + ROUNDING;
  if (probabilities.length !== info.labels.length || !probabilities.every(isUnit) || Math.abs(sum - 1) > ROUNDING) {
    throw new Error(`the model gives no probabilities of ${info.labels.length} classes: ${probabilities}`);
  }
  if (!cells.length || !cells.every((cell) => Number.isFinite(cell) && cell >= 0)) throw new Error("the model gives no heat map");
  let typicality = null;
  let distance = null;
  if (declines(info)) {
    [typicality, distance] = ["typicality", "distance"].map((name) => outputs[name]?.data[0]);
    if (![typicality, distance].every(isUnit)) throw new Error(`the model gives no typicality: ${typicality}, ${distance}`);
  }
  const [, rows, columns] = outputs.heatmap.dims;
  return {
    probabilities,
    typicality,
    distance,
    heatmap: { rows, columns, cells },
    ...decide(info, probabilities, typicality, distance),
  };
}

function decide({ labels, threshold, declined_at: level }, probabilities, typicality, distance) {
  const best = (from) => labels[probabilities.indexOf(Math.max(...probabilities.slice(from)), from)];
  const declined = typicality !== null && typicality <= level * (1 + 1e-4);
  const decision = probabilities[0] >= threshold ? labels[0] : best(1);
  const [t, limit, far] = [typicality, level, distance].map((value) => Number(value?.toPrecision(3)));
  const because = `unlike the training images: typicality ${t}, declined up to ${limit}; distance ${far}`;
  return {
    decision: declined ? "declined" : decision,
    decision_argmax: best(0),
    declined,
    declined_because: declined ? because : null,
  };
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
