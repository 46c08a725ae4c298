// The worker of app.js: keeps the model and answers one request at a time, so that the page stays responsive.

import { ImageError } from "./errors.js";
import { readImage } from "./image.js";
import { declines, findWarnings, makeAnswer, resizeImage, SIDE } from "./prediction.js";
import * as ort from "./runtime/ort.wasm.min.js";

const HERE = new URL(".", import.meta.url).href;
const LONGEST = 1000; // pixels of the longer side of an image as it is shown
const LEAST_HEAT = 1e-3; // of the logit; in a map that is weaker than that, rounding errors would look large
const ACTIONS = { load, testItself, predict, draw };
let session, info;

self.onmessage = async ({ data: { id, action, argument } }) => {
  try {
    const value = await ACTIONS[action](argument);
    self.postMessage({ id, value }, Object.values(value).filter((part) => part instanceof ImageBitmap));
  } catch (error) {
    const isExpected = action !== "predict" || error instanceof ImageError;
    self.postMessage({ id, error: isExpected ? error.message : `unexpected: ${error.message ?? error}` });
  }
};

/** Loads the model that model.json names. Returns whether its hash was verified, and threads and version of the runtime. */
async function load(given) {
  info = given;
  checkWebAssembly();
  const [name, { sha256 }] = Object.entries(info.files)[0];
  ort.env.wasm.wasmPaths = { mjs: `${HERE}runtime/ort-wasm-simd-threaded.js` };
  ort.env.wasm.wasmBinary = await unpack(await download("runtime/ort-wasm-simd-threaded.wasm.gz"));
  // Threads need shared memory, which browsers give to pages with the headers COOP and COEP only.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const model = await download(name);
  const digest = await hash(model);
  if (digest && digest !== sha256) throw new Error(`${name} is damaged: its SHA-256 is not that of model.json`);
  session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  ort.env.wasm.wasmBinary = undefined; // compiled by now
  const { numThreads: threads } = ort.env.wasm;
  return { verified: Boolean(digest), threads, isolated: self.crossOriginIsolated, version: ort.env.versions.web };
}

async function download(name) {
  const response = await fetch(HERE + name);
  if (!response.ok) throw new Error(`${name} can't be loaded: the server answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function checkWebAssembly() {
  try {
    new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)); // the smallest one
  } catch {
    throw new Error(
      "this browser or this server's Content-Security-Policy forbids WebAssembly; the policy must allow " +
        "script-src 'wasm-unsafe-eval'",
    );
  }
}

/** The content of a .gz file, as an ArrayBuffer. */
function unpack(bytes) {
  if (bytes[0] !== 0x1f) return bytes.buffer; // sent as "Content-Encoding: gzip": the browser has unpacked it
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** SHA-256 in hexadecimal; null where the browser does not compute it: over plain HTTP from another machine. */
async function hash(bytes) {
  if (!self.crypto.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the prediction of an image file as plain values. */
async function predict(file) {
  const start = performance.now();
  const image = await readImage(file);
  const { width, height } = image;
  return {
    ...makeAnswer(info, await run(image)),
    warnings: [...image.notes, ...findWarnings(image)],
    width,
    height,
    seconds: (performance.now() - start) / 1000,
  };
}

async function run({ width, height, rgb }) {
  return session.run({ image: new ort.Tensor("uint8", rgb, [1, height, width, 3]) });
}

/** Returns two bitmaps of an image file: as read, and as the network sees it. */
async function draw(file) {
  const image = await readImage(file);
  const scale = Math.min(1, LONGEST / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const whole = makeCanvas(image.width, image.height, image.rgb);
  const small = new OffscreenCanvas(width, height);
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, width, height);
  const seen = makeCanvas(SIDE, SIDE, resizeImage(image));
  return { image: small.transferToImageBitmap(), seen: seen.transferToImageBitmap() };
}

function makeCanvas(width, height, rgb) {
  const canvas = new OffscreenCanvas(width, height);
  const data = new ImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    for (const channel of [0, 1, 2]) data.data[to + channel] = rgb[from + channel];
    data.data[to + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

/** Compares this browser's answers with the right ones of golden/. Returns the largest difference and what failed. */
async function testItself() {
  const golden = JSON.parse(new TextDecoder().decode(await download("golden/golden.json")));
  const [[name, { tolerance }]] = Object.entries(info.files);
  const tolerances = golden.tolerances[name];
  const cases = golden.cases.filter((one) => one.self_test);
  let [largest, failed] = [0, cases.length ? "" : "golden.json marks no image"];
  for (const { file, rgb_sha256, answers } of cases) {
    const image = await readImage(new File([await download(`golden/${file}`)], file));
    const found = makeAnswer(info, await run(image));
    const expected = answers[name];
    const cells = expected.heatmap.flat();
    const probability = findDifference(found.probabilities, expected.probabilities);
    const heat = findDifference(found.heatmap.cells, cells) / Math.max(...cells, LEAST_HEAT);
    const distance = declines(info) ? findDifference([found.distance], [expected.distance]) : 0;
    largest = Math.max(largest, probability);
    const heatTolerance = tolerances.heatmap_relative_to_its_maximum;
    if (probability <= tolerance && heat <= heatTolerance && distance <= tolerances.distance) continue;
    const digest = await hash(image.rgb);
    const cause = digest && digest !== rgb_sha256 ? "it reads other pixels than Python" : "its arithmetic differs";
    const [p, h, d] = [probability, heat, distance].map((difference) => difference.toPrecision(2));
    failed ||= `on ${file}, ${cause}: ${p} in probability, ${h} in the heat map, ${d} in distance`;
  }
  return { failed, largest, tolerance, count: cases.length };
}

/** The largest difference of two lists of numbers; Infinity unless both are as long and finite. */
function findDifference(found, expected) {
  const differences = expected.map((value, index) => Math.abs(value - found[index]));
  const isWhole = found.length === expected.length && differences.every(Number.isFinite);
  return isWhole ? Math.max(...differences) : Infinity;
}
