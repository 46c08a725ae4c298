// The schema of model.json: what export/runtime/metadata_schema.py says, and the model's file.

const METRICS = ["sensitivity", "specificity", "balanced_accuracy", "auroc"];
const VERDICTS = ["shortcut", "not detected", "inconclusive"];
const MOST_DEPTH = 8;

const isText = (value, longest = 20_000) => typeof value === "string" && value.length <= longest;
const isName = (value) => isText(value, 200) && value !== "";
const isNumber = (value, low = 0, high = 1) => typeof value === "number" && low <= value && value <= high;
const isList = (value, isRight, shortest, longest) =>
  Array.isArray(value) && shortest <= value.length && value.length <= longest && value.every((item) => isRight(item));
const isLabels = (value) => isList(value, isName, 2, 100) && new Set(value).size === value.length;
const isRegion = (value) => isList(value, isNumber, 4, 4) && value[0] < value[2] && value[1] < value[3];
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isPlain = (value, depth = MOST_DEPTH) =>
  typeof value === "object" && value !== null
    ? depth > 0 && Object.values(value).every((item) => isPlain(item, depth - 1))
    : value === null || isText(value) || typeof value === "boolean" || Number.isFinite(value);
const isCount = (value) => Number.isInteger(value) && 0 <= value && value <= 1e9;
const isEstimate = (value) =>
  isObject(value) &&
  (value.value === null ? value.ci95 === null : isNumber(value.value) && isList(value.ci95, isNumber, 2, 2));
const isTest = (value) =>
  isObject(value) &&
  isPlain(value) &&
  isCount(value.images) &&
  (value.patients === null || value.patients === undefined || isCount(value.patients)) &&
  METRICS.every((name) => isEstimate(value[name]));
const isFile = ([name, file]) =>
  /^[\w.-]{1,200}$/.test(name) &&
  isObject(file) &&
  /^[0-9a-f]{64}$/.test(file.sha256) &&
  Number.isInteger(file.bytes) &&
  isNumber(file.tolerance) &&
  file.tolerance > 0;
const isFiles = (value) => isObject(value) && isList(Object.entries(value), isFile, 1, 1);
const orNothing = (isRight) => (value) => value === undefined || value === null || isRight(value);
const isCard = orNothing((value) => isObject(value) && isPlain(value));

// What each field must be, in words and as a test. Only those that may be missing may be null.
const FIELDS = {
  labels: ["2 to 100 different names", isLabels],
  positive_class: ["a name", isName],
  threshold: ["a number from 0 to 1", isNumber],
  heatmap_region: ["top, left, bottom and right from 0 to 1", isRegion],
  intended_use: ["a text", isText],
  precision: ["float32 or int8", (value) => ["float32", "int8", undefined].includes(value)],
  notes: ["a list of texts", (value) => value === undefined || isList(value, isText, 0, 100)],
  input: ["an object", isCard],
  outputs: ["an object", isCard],
  run_id: ["a name", orNothing(isName)],
  dataset: ["an object", isCard],
  weights: ["an object", isCard],
  recipe: ["an object", isCard],
  versions: ["an object", isCard],
  temperature: ["a number above 0", orNothing((value) => isNumber(value, 1e-6, 1e6))],
  shortcuts_verdict: [`one of ${VERDICTS.join(", ")}`, orNothing((value) => VERDICTS.includes(value))],
  shortcuts_because: ["a text", orNothing(isText)],
  test_metrics: ["numbers of images and patients, and metrics with their intervals", orNothing(isTest)],
  attribution: ["a text", orNothing(isText)],
  declined_at: ["a number from 0 to 1", orNothing(isNumber)],
  files: ["one model file with its sha256, bytes and tolerance", isFiles],
};

/** Returns the content of model.json from its text. Throws an Error that says what was expected and what came. */
export function parseModelInfo(text) {
  const refuse = (reason) => {
    throw new Error(`model.json is not that of an export: ${reason}`);
  };
  let info;
  try {
    info = JSON.parse(text);
  } catch {
    refuse("it is no JSON");
  }
  if (!isObject(info)) refuse("expected an object");
  for (const [name, [expected, isRight]] of Object.entries(FIELDS)) {
    const value = Object.hasOwn(info, name) ? info[name] : undefined;
    const shown = (JSON.stringify(value) ?? "nothing").slice(0, 60);
    if (!isRight(value)) refuse(`expected ${name} to be ${expected}, got ${shown}`);
  }
  if (info.positive_class !== info.labels[0]) {
    refuse(`expected positive_class to be the first label, ${info.labels[0]}, got ${info.positive_class}`);
  }
  return info;
}
