// Draw a heat map over its image, as covid_tfds/imaging/overlay.py does.

// Dark to bright at an even pace, so that order can be read off the colours, also by colour-blind readers and in print.
const COLOURS = [[0, 0, 0], [70, 15, 110], [175, 45, 95], [240, 110, 30], [252, 200, 40], [255, 255, 190]];
const SIDE = 280; // pixels of the drawing, which the page stretches over the image

/**
 * Draws {rows, columns, cells} on a canvas: the hotter, the less transparent. Nothing outside of `region` (top, left,
 * bottom, right as fractions), where the head reads nothing.
 */
export function drawHeatMap(canvas, { rows, columns, cells }, [top, left, bottom, right]) {
  canvas.width = canvas.height = SIDE;
  const highest = Math.max(...cells) || 1;
  const drawing = new ImageData(SIDE, SIDE);
  for (let y = 0; y < SIDE; y += 1) {
    const [above, below, down] = findNeighbours(y, rows);
    for (let x = 0; x < SIDE; x += 1) {
      const [row, column] = [(y + 0.5) / SIDE, (x + 0.5) / SIDE];
      if (row < top || row > bottom || column < left || column > right) continue;
      const [before, after, along] = findNeighbours(x, columns);
      const mix = (line) => cells[line * columns + before] * (1 - along) + cells[line * columns + after] * along;
      const heat = (mix(above) * (1 - down) + mix(below) * down) / highest;
      drawing.data.set([...findColour(heat), 255 * heat], 4 * (y * SIDE + x));
    }
  }
  canvas.getContext("2d").putImageData(drawing, 0, 0);
}

function findNeighbours(pixel, cells) {
  const position = Math.min(Math.max(((pixel + 0.5) * cells) / SIDE - 0.5, 0), cells - 1);
  const first = Math.floor(position);
  return [first, Math.min(first + 1, cells - 1), position - first];
}

function findColour(heat) {
  const position = heat * (COLOURS.length - 1);
  const first = Math.min(Math.floor(position), COLOURS.length - 2);
  return COLOURS[first].map((value, index) => value + (COLOURS[first + 1][index] - value) * (position - first));
}

/** Draws a dashed frame around the part of the image that the head reads, unless that is all of it. */
export function frameRegion(canvas, [top, left, bottom, right]) {
  if (top === 0 && left === 0 && bottom === 1 && right === 1) return;
  const { width, height } = canvas;
  const context = canvas.getContext("2d");
  context.strokeStyle = "rgb(90, 220, 255)";
  context.lineWidth = Math.max(2, width / 200);
  context.setLineDash([width / 40, width / 60]);
  context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
}
