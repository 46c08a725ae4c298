// Files that come in, and the CSV file that goes out.

const isHidden = (path) => /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i.test(path);
/** Returns {file, path} of chosen files, without hidden files and those of the system. */
export const withPaths = (files) =>
  [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name })).filter(({ path }) => !isHidden(path));

/** Returns {file, path} of a dropped entry: a file, or a folder with all folders below. */
export async function findFiles(entry) {
  if (isHidden(entry.fullPath)) return [];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const found = [];
  for (let part; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) {
    for (const child of part) found.push(...(await findFiles(child)));
  }
  return found.sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** Returns the results as CSV, in the columns of `python -m export.predict --csv` and some more. */
export function formatCsv(rows, { info: { labels }, sha256 }) {
  const answers = ["decision", "decision_argmax", "typicality", "distance", "declined", "declined_because"];
  const columns = ["image", ...labels.map((label) => `p_${label}`), ...answers, "warnings", "error", "model_sha256"];
  const lines = rows.map(({ path, result, error }) => [
    path,
    ...(result?.probabilities ?? labels.map(() => "")),
    ...answers.map((name) => result?.[name] ?? ""),
    result?.warnings.join("; ") ?? "",
    error ?? "",
    sha256,
  ]);
  return [columns, ...lines].map((line) => line.map(quote).join(",") + "\n").join("");
}

/** A CSV field; a text that a spreadsheet would take for a formula gets an apostrophe in front. */
function quote(value) {
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return value ? "True" : "False"; // as Python writes them
  const safe = /^[=+\-@\t\r\n']/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
