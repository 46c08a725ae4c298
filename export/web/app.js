// The page: takes images, has worker.js predict one at a time, and shows the results. No network after loading.

import { findFiles, formatCsv, withPaths } from "./files.js";
import { parseModelInfo } from "./model_info.js";
import * as view from "./view.js";

const POLICY =
  "A Content-Security-Policy that a server sends must allow script-src 'self' 'wasm-unsafe-eval'; " +
  "worker-src 'self' blob:; connect-src 'self'; style-src 'self'";
const { byId } = view;
const root = document.documentElement;
const rows = []; // one {file, path, result, error, line} an image, in the order of the table
const waiting = []; // those not predicted yet
const asked = new Map(); // number of a request to the worker -> [resolve, reject]
let last = 0; // number of the last request
let model, shown, busy, worker, broken, forbidden;

function startWorker() {
  // From a blob, so that the worker, too, is under the page's Content-Security-Policy, whatever the server sends.
  const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
  worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
  worker.onmessage = ({ data: { id, value, error } }) => {
    const [resolve, reject] = asked.get(id);
    asked.delete(id);
    if (error === undefined) resolve(value);
    else reject(new Error(error));
  };
  worker.onerror = ({ message }) => {
    broken = new Error(message || `the browser can't start the worker. ${POLICY}`);
    for (const [, reject] of asked.values()) reject(broken);
    asked.clear();
  };
}

/** Asks the worker to do something; resolves to its answer. */
function ask(action, argument) {
  return new Promise((resolve, reject) => {
    if (broken) return reject(broken);
    asked.set(++last, [resolve, reject]);
    worker.postMessage({ id: last, action, argument });
  });
}

async function start() {
  const status = byId("status");
  try {
    startWorker();
    const response = await fetch("model.json");
    if (!response.ok) throw new Error(`model.json can't be loaded: the server answers ${response.status}`);
    const info = parseModelInfo(await response.text());
    const [[name, file]] = Object.entries(info.files);
    model = { info, name, ...file };
    view.describeModel(model);
    for (const row of rows) view.fillLine(row, model, show); // dropped before the page was ready
    status.textContent = `Loading the model (${Math.round(model.bytes / 1e6)} MB) ...`;
    const runtime = await ask("load", info);
    view.describeRuntime(model, runtime);
    status.textContent = "Testing this browser on drawn images with known answers ...";
    const test = await ask("testItself");
    if (test.failed) throw new Error(`this browser does not give the right answers: ${test.failed}. Try another browser`);
    status.textContent = view.describeSelfTest(test, runtime);
    root.dataset.selftest = "passed";
    work();
  } catch (error) {
    await new Promise((resolve) => setTimeout(resolve, 100)); // the event that says what the policy forbids comes later
    root.dataset.selftest = "failed";
    clear();
    const policy = `this server's Content-Security-Policy forbids what the page needs, by its ${forbidden}. ${POLICY}`;
    status.textContent = `No answers are given: ${forbidden ? policy : error.message}.`;
    for (const input of document.querySelectorAll("#drop input, #drop button")) input.disabled = true;
  }
}

/** Puts files into the table and predicts them, one after the other. given: [{file, path, error}]. */
function take(given) {
  byId("nothing").hidden = given.length > 0;
  if (root.dataset.selftest === "failed" || !given.length) return;
  shown = undefined; // the first of the new ones is shown
  for (const one of given) {
    const row = { ...one, line: byId("table").tBodies[0].insertRow() };
    rows.push(row);
    if (!row.error) waiting.push(row);
    if (model) view.fillLine(row, model, show);
  }
  byId("all").hidden = false;
  showProgress();
  work();
}

async function work() {
  if (busy || root.dataset.selftest !== "passed") return;
  busy = true;
  for (let row; (row = waiting.shift()); ) {
    try {
      row.result = await ask("predict", row.file);
    } catch (error) {
      row.error = error.message;
    }
    if (!rows.includes(row)) continue; // cleared meanwhile
    view.fillLine(row, model, show);
    showProgress();
    if (!shown) await show(row);
  }
  busy = false;
  // One by one they would keep a screen reader busy; the one that is shown has been read out.
  if (rows.length > 1) byId("announcement").textContent = view.describeRows(rows);
}

function showProgress() {
  const done = rows.filter(({ result, error }) => result || error).length;
  byId("progress_line").hidden = done === rows.length;
  byId("progress").max = rows.length;
  byId("progress").value = done;
  byId("progress_text").textContent = `${done} of ${rows.length} images done`;
}

/** Shows one row's result in full; its pixels are read again, so that none are kept. */
async function show(row) {
  shown = row;
  for (const other of rows) other.line.setAttribute("aria-current", other === row);
  view.showResult(row, model);
  byId("announcement").textContent = view.describeRow(row, model);
  if (!row.result) return;
  const bitmaps = await ask("draw", row.file).catch(() => null); // a file that was moved meanwhile
  if (shown === row) {
    if (bitmaps) view.drawImages(row, model, bitmaps);
    else byId("gone").hidden = false;
  }
  for (const bitmap of Object.values(bitmaps ?? {})) bitmap.close();
}

function downloadCsv() {
  const url = URL.createObjectURL(new Blob([formatCsv(rows, model)], { type: "text/csv" }));
  view.make("a", "", { href: url, download: "predictions.csv" }).click();
  URL.revokeObjectURL(url);
}

function clear() {
  rows.length = waiting.length = 0;
  shown = undefined;
  byId("table").tBodies[0].replaceChildren();
  byId("result").hidden = byId("all").hidden = byId("progress_line").hidden = true;
}

async function takeExamples() {
  try {
    const { cases } = await (await fetch("golden/golden.json")).json();
    const files = await Promise.all(
      cases.map(async ({ file }) => new File([await (await fetch(`golden/${file}`)).blob()], file)),
    );
    take(withPaths(files.reverse())); // the last ones look like a radiograph
  } catch {
    take([{ path: "The drawn examples", error: "can't be loaded: is the server still there?" }]);
  }
}

for (const id of ["files", "folder"]) {
  byId(id).onchange = ({ target }) => {
    take(withPaths(target.files));
    target.value = ""; // so that the same choice can be made again
  };
}
byId("folder_label").hidden = !("webkitdirectory" in byId("folder"));
byId("examples").onclick = takeExamples;
byId("download").onclick = downloadCsv;
byId("clear").onclick = clear;
byId("opacity").oninput = ({ target }) => (byId("heat").style.opacity = target.value / 100);
document.addEventListener("paste", ({ clipboardData }) => take(withPaths(clipboardData.files)));
for (const [kind, dragging] of Object.entries({ dragover: true, dragleave: false, drop: false })) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", dragging);
  });
}
document.addEventListener("drop", async ({ dataTransfer }) => {
  const find = async (item) => {
    const entry = item.webkitGetAsEntry(); // null where the browser has none, as for an image from another page
    if (!entry) return withPaths([item.getAsFile()]);
    return findFiles(entry).catch(() => [{ path: entry.name, error: "can't be opened" }]);
  };
  const items = [...dataTransfer.items].filter(({ kind }) => kind === "file");
  take((await Promise.all(items.map(find))).flat());
});
// What is scrolled to or focused comes to lie below the banner.
new ResizeObserver(([{ target }]) => {
  root.style.scrollPaddingTop = `${target.offsetHeight + 8}px`;
}).observe(byId("banner"));
document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => (forbidden ??= effectiveDirective));
start();
