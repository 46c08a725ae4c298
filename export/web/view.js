// What the page says and draws. model: {info, name, sha256, bytes, tolerance}, of model.json.

import { drawHeatMap, frameRegion } from "./heat_map.js";
import { declines } from "./prediction.js";

const VERDICTS = {
  shortcut: ["Shortcut", "the model may have learned a cue that is not the disease."],
  "not detected": ["No shortcut detected", "the controls found none. That is no proof that there is none."],
  inconclusive: ["Inconclusive", "neither a shortcut nor its absence is shown."],
};
const NO_VERDICT = ["No shortcut verdict", "the model file has none. It may have learned a cue that is not the disease."];

export const byId = (id) => document.getElementById(id);

export function make(tag, text = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const showThreshold = ({ info }) => String(Number(info.threshold.toPrecision(4)));
const isInt8 = ({ name }) => name.includes("int8");

/** Fills the banner, the notes and the texts that depend on the model. */
export function describeModel(model) {
  const { info } = model;
  byId("intended_use").textContent = info.intended_use;
  const [verdict, meaning] = VERDICTS[info.shortcuts_verdict] ?? NO_VERDICT;
  byId("verdict").replaceChildren(make("strong", `${verdict}: `), meaning);
  describeTest(model);
  byId("notes").replaceChildren(...(info.notes ?? []).map((note) => make("li", note)));
  const others = info.labels.length > 2 ? "the most probable other class" : info.labels[1];
  byId("positive").textContent = info.positive_class;
  byId("rule_text").textContent =
    `Two decisions stand side by side. At the operating point: ${info.positive_class} when its probability is at least ` +
    `${showThreshold(model)}, else ${others}. Argmax: the most probable class.`;
  byId("declined_text").textContent =
    !declines(info)
      ? "This model declines nothing: it gives probabilities for any image, also for one that is no chest radiograph."
      : "Typicality says how usual the image is among the training images, from 0 to 1. An image at or below " +
        `${Number(info.declined_at.toPrecision(3))} is declined: its probabilities mean nothing.`;
  const heads = ["Image", "Operating point", "Argmax", ...info.labels.map((label) => `p ${label}`), "Remarks"];
  if (declines(info)) heads.splice(-1, 0, "Typicality");
  byId("table").tHead.rows[0].replaceChildren(...heads.map((head) => make("th", head, { scope: "col" })));
}

/** Fills "How good is this model?": metrics on the run's test images, and why the verdict is what it is. */
function describeTest(model) {
  const { labels, positive_class: positive, test_metrics: test, shortcuts_verdict: verdict } = model.info;
  const because = model.info.shortcuts_because;
  byId("quality").hidden = false;
  const controls = "controls are models that see a part of the image, or facts about its file or patient";
  byId("because").textContent = because ? `Why the verdict is "${verdict}" (${controls}): ${because}` : "";
  if (!test) {
    byId("test_note").textContent = "Not known: this export has no test metrics.";
    return;
  }
  const patients = Number.isInteger(test.patients) ? ` of ${test.patients} patients` : "";
  byId("metrics").caption.textContent = `On ${test.images} test images${patients}, which took no part in training`;
  const lines = [
    [`${positive} found (sensitivity)`, test.sensitivity],
    [`others not called ${positive} (specificity)`, test.specificity],
    ["AUROC (0.5 is guessing, 1 is perfect)", test.auroc],
  ];
  if (labels.length > 2) lines.splice(2, 0, ["mean share found of each class (balanced accuracy)", test.balanced_accuracy]);
  byId("metrics").tBodies[0].replaceChildren(
    ...lines.map(([words, estimate]) => {
      const line = make("tr");
      line.append(make("th", words, { scope: "row" }), make("td", showEstimate(estimate)));
      return line;
    }),
  );
  const rounded = isInt8(model) ? "Measured before the model was rounded to 8 bits. " : "";
  byId("test_note").textContent =
    `In brackets: 95 % confidence intervals. ${rounded}On images from another hospital or device it may be much worse.`;
}

function showEstimate({ value, ci95 }) {
  if (value === null) return "not defined";
  return `${value.toFixed(2)} (${ci95.map((limit) => limit.toFixed(2)).join(" to ")})`;
}

/** Fills "About this model". runtime: what the worker says after loading. */
export function describeRuntime(model, runtime) {
  const { info } = model;
  const facts = {
    "Model file": `${model.name}, ${(model.bytes / 1e6).toFixed(1)} MB${isInt8(model) ? ", 8 bits" : ""}`,
    "SHA-256": `${model.sha256} (${runtime.verified ? "verified in this browser" : "not verified: that needs HTTPS"})`,
    Classes: info.labels.join(", "),
    "Positive class and threshold": `${info.positive_class}, ${showThreshold(model)}`,
    "Tolerance of this file": `${model.tolerance} in probability, compared with the trained model`,
    Run: info.run_id,
    "Trained on": [info.dataset?.name, info.dataset?.version].filter(Boolean).join(" "),
    Recipe: info.recipe && JSON.stringify(info.recipe),
    "Backbone weights": info.weights?.name,
    "Authors and licence of these weights": info.attribution ?? "random weights: no other authors",
    Runtime: `ONNX Runtime Web ${runtime.version}, by Microsoft, MIT licence; WebAssembly. ${describeThreads(runtime)}`,
    "This page and the drawn examples": "MIT licence",
  };
  byId("about").replaceChildren(
    ...Object.entries(facts)
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
  );
}

export function describeSelfTest({ largest, tolerance, count }, runtime) {
  return (
    `This browser gives the right answers: largest difference ${largest.toPrecision(1)} on ${count} test images ` +
    `(allowed: ${tolerance}). ${describeThreads(runtime)}`
  );
}

function describeThreads({ threads, isolated }) {
  if (threads > 1) return `It computes with ${threads} threads.`;
  if (isolated) return "It computes with one thread.";
  return "It computes with one thread: this server does not send the headers COOP and COEP that more need.";
}

/** Returns a row in words, for screen readers. */
export function describeRow({ path, result, error }, { info }) {
  if (error) return `${path}: ${error}`;
  const probabilities = result.probabilities.map((p, index) => `${info.labels[index]} ${p.toFixed(4)}`).join(", ");
  return `${path}: operating point ${result.decision}, argmax ${result.decision_argmax}; ${probabilities}`;
}

/** Returns how many images are done and how many have no result, for screen readers. */
export function describeRows(rows) {
  const failed = rows.filter(({ error }) => error).length;
  return `All ${rows.length} images are done${failed ? `; ${failed} could not be read` : ""}.`;
}

/** Fills a row's line in the table; show: called with the row when its name is chosen. */
export function fillLine(row, { info }, show) {
  const { path, result, error, line } = row;
  const name = make("th", "", { scope: "row" });
  const button = make("button", path, { type: "button" });
  button.disabled = !result && !error;
  button.onclick = () => {
    show(row);
    byId("result").focus({ preventScroll: true });
  };
  name.append(button);
  if (!result) {
    const columns = byId("table").tHead.rows[0].cells.length - 1;
    line.replaceChildren(name, make("td", error ?? "waiting", { class: "remarks", colspan: columns }));
    return;
  }
  const values = [result.decision, result.decision_argmax, ...result.probabilities.map((p) => p.toFixed(4))];
  if (declines(info)) values.push(showTypicality(result));
  const remarks = [...(result.declined ? ["unlike the training images"] : []), ...result.warnings].join("; ");
  line.replaceChildren(name, ...[...values, remarks].map((value) => make("td", value)));
  line.lastChild.className = "remarks";
}

const showTypicality = ({ typicality }) => typicality.toPrecision(3);

/** Shows a row's answers, or why there are none, and scrolls to them. */
export function showResult({ path, result, error }, model) {
  const { info } = model;
  byId("result").hidden = false;
  byId("result").scrollIntoView();
  byId("drawings").hidden = byId("gone").hidden = true; // those of another image
  byId("result_title").textContent = path;
  byId("result_error").hidden = !error;
  byId("result_error").textContent = error ?? "";
  byId("result_body").hidden = !result;
  if (!result) return;
  byId("declined").hidden = !result.declined;
  if (result.declined) {
    byId("declined").textContent =
      `Declined, ${result.declined_because}. The probabilities below mean nothing for it.`;
  }
  byId("warnings").hidden = !result.warnings.length;
  byId("warnings").replaceChildren(...result.warnings.map((warning) => make("li", warning)));
  byId("probabilities").tBodies[0].replaceChildren(
    ...result.probabilities.map((p, index) => makeProbability(info.labels[index], p)),
  );
  byId("decisions").replaceChildren(
    make("dt", `At the operating point (${info.positive_class} from ${showThreshold(model)})`),
    make("dd", result.decision),
    make("dt", "Argmax (the most probable class)"),
    make("dd", result.decision_argmax),
  );
  const typicality = declines(info) ? `typicality ${showTypicality(result)}, ` : "";
  byId("result_facts").textContent =
    `${result.width} x ${result.height} pixels, ${typicality}${result.seconds.toFixed(1)} s`;
}

function makeProbability(label, p) {
  const line = make("tr");
  const bar = make("span", "", { class: "bar" });
  bar.style.width = `${100 * p}%`;
  const cell = make("td");
  cell.append(bar);
  line.append(make("th", label, { scope: "row" }), make("td", p.toFixed(4)), cell);
  return line;
}

/** Draws a row's image under its heat map, and as the network sees it. */
export function drawImages({ path, result }, model, { image, seen }) {
  byId("drawings").hidden = false;
  const { heatmap_region: region, positive_class: positive } = model.info;
  const canvas = byId("image");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  frameRegion(canvas, region);
  byId("seen").getContext("2d").drawImage(seen, 0, 0);
  byId("seen").setAttribute("aria-label", `${path}, ${seen.width} x ${seen.height} pixels`);
  drawHeatMap(byId("heat"), result.heatmap, region);
  byId("heat").style.opacity = byId("opacity").value / 100;
  const { rows, columns, cells } = result.heatmap;
  const highest = Math.max(...cells);
  const at = cells.indexOf(highest);
  const where = highest
    ? `the largest of ${rows} x ${columns} cells is in row ${Math.floor(at / columns) + 1}, column ${(at % columns) + 1}`
    : `no cell raises the logit of ${positive}`;
  canvas.setAttribute("aria-label", `${path} with its heat map: ${where}`);
  byId("scale").hidden = !highest;
  byId("scale_top").textContent = highest.toPrecision(3);
  const text = [highest ? `Colour: how much a cell raises the logit of ${positive}; ${where}.` : `Nothing to show: ${where}.`];
  if (region.join() !== "0,0,1,1") text.push("Dashed: the part that the network's head reads.");
  if (isInt8(model)) text.push("This model has 8 bits: its heat map is an approximation.");
  byId("heat_text").textContent = text.join(" ");
  byId("result").scrollIntoView(); // the page may have been too short for that before
}
