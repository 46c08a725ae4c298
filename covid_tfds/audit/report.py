"""The audit as a whole, as JSON, and as Markdown that also reads well in a terminal."""

import json
import math
import re
from collections import Counter
from dataclasses import asdict, dataclass

import pandas as pd

from covid_tfds.audit import checks, near_duplicates, pixels, shortcuts
from covid_tfds.audit.findings import INVALIDATING, SEVERITIES, Finding
from covid_tfds.examples import Examples

MARKUP = re.compile(r"[\\`*\[\]|]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NOT_CHECKED_WITHOUT = {
    "split": "leaks between splits: this folder has none yet",
    "patient_id": "patients: nothing says whose film is whose (a patients.csv with path,patient_id would)",
    "finding": "labels against findings: no findings are stated",
    "source": "sources and licences: none are stated",
    "view": "views: none are stated",
    "sex": "sex: not stated",
    "age": "age: not stated",
}


@dataclass(frozen=True)
class Report:
    """What an audit found.

    Attributes:
        dataset, version, description: of the examples.
        images: how many.
        patients: how many; None when unknown.
        groups: `split`, `class`, `images` and `patients` of each part.
        by_class: what `shortcuts.by_class` found.
        findings: the worst first.
        not_checked: what nothing is known of, so that silence about it is no good sign.
        near_duplicates: pairs of positions in the dataset that show one film, in files that differ.
    """

    dataset: str
    version: str
    description: str
    images: int
    patients: int | None
    groups: list[dict]
    by_class: list[dict]
    findings: list[Finding]
    not_checked: list[str]
    near_duplicates: list[tuple[int, int]]

    @property
    def invalid(self) -> bool:
        """Whether something found invalidates an evaluation."""
        return any(finding.severity == INVALIDATING for finding in self.findings)


def audit(examples: Examples) -> Report:
    """Look at every image and run every check. About 0.1 s an image, and one pass more over all pairs of images."""
    table, near = pixels.look(examples)
    compared = shortcuts.by_class(table, examples.class_names)
    findings = [
        *checks.unreadable(table),
        *checks.duplicates(table, near),
        *checks.patients(table),
        *checks.labels(table),
        *shortcuts.findings(table, compared),
        *checks.views(table),
        *checks.licences(table),
    ]
    has_patients = (table.patient_id != "").any()
    return Report(
        dataset=examples.name,
        version=examples.version,
        description=examples.description,
        images=len(table),
        patients=table.patient_id.nunique() if has_patients else None,
        groups=_groups(table, examples.class_names, has_patients),
        by_class=compared,
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        not_checked=[
            words for column, words in NOT_CHECKED_WITHOUT.items() if not shortcuts.known(table[column]).any()
        ],
        near_duplicates=[(a, b) for a, b in near if table.sha256[a] != table.sha256[b]],
    )


def _groups(table: pd.DataFrame, class_names: tuple[str, str], has_patients: bool) -> list[dict]:
    return [
        ({"split": split} if split else {})
        | {"class": label, "images": len(part)}
        | ({"patients": part.patient_id.nunique()} if has_patients else {})
        for split in table.split.unique()
        for label in class_names
        if len(part := table[(table.split == split) & (table.label == label)])
    ]


def to_json(report: Report) -> str:
    """The report as a JSON object; numbers that are not known are null."""
    content = asdict(report) | {
        "invalid": report.invalid,
        "near_duplicate_threshold": near_duplicates.THRESHOLD,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value):
    return value.item()


def to_markdown(
    report: Report, most_items: float = math.inf, pictures: dict[tuple[int, int], str] | None = None
) -> str:
    """The report as Markdown.

    Args:
        report: of `audit`.
        most_items: how many images, patients or facts to list of each finding.
        pictures: file names of near-duplicate pairs, by position.
    """
    of_patients = "" if report.patients is None else f" of {report.patients} patients"
    lines = [f"# {_harmless(report.dataset)} {report.version}: {report.images} images{of_patients}", ""]
    lines += [report.description, ""] if report.description else []
    lines += [*_table(report.groups), ""]
    for finding in report.findings:
        lines += [f"## {finding.severity.upper()}: {finding.check}", "", _harmless(finding.message), ""]
        shown = finding.items[: int(min(most_items, len(finding.items)))]
        lines += [*_table(shown), ""] if shown else []
        if len(shown) < len(finding.items):
            lines += [f"... and {len(finding.items) - len(shown)} more.", ""]
    for (first, second), name in (pictures or {}).items():
        lines += [f"![near-duplicates, images {first} and {second}]({name})", ""]
    if report.by_class:
        lines += ["## The classes compared", "", _legend(report), ""]
        lines += [*_table([_compared(fact) for fact in report.by_class]), ""]
    if report.not_checked:
        lines += ["## Not checked", "", *(f"- {words}" for words in report.not_checked), ""]
    return "\n".join([*lines, verdict(report), ""])


def verdict(report: Report) -> str:
    """The audit in one sentence."""
    counts = [sum(f.severity == severity for f in report.findings) for severity in SEVERITIES]
    invalidating, warnings, notes = counts
    others = f"{warnings} warning{'' if warnings == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}"
    if invalidating:
        things = "finding invalidates" if invalidating == 1 else "findings invalidate"
        return f"NOT VALID: {invalidating} {things} any evaluation on {_harmless(report.dataset)} ({others})."
    return f"Nothing found that invalidates an evaluation on {_harmless(report.dataset)} ({others})."


def _legend(report: Report) -> str:
    of_class = Counter()
    for group in report.groups:
        of_class[group["class"]] += group["images"]
    (name, images) = of_class.most_common(1)[0]
    return (
        "Association: Cramér's V, 0 to 1, or AUROC, 0.5 to 1, where the fact is known. Right alone: the share of "
        "images for which a rule that knows this fact and nothing else is right; always saying "
        f"'{_harmless(name)}' is right for {images / report.images:.0%}."
    )


def _compared(fact: dict) -> dict:
    cells = {"fact": fact["fact"], **{name: _values(values) for name, values in fact["values"].items()}}
    if fact["measure"] is None:
        return cells | {"association": "-", "right alone": "-"}
    return cells | {
        "association": f"{fact['measure']} {fact['association']:.2f}",
        "right alone": f"{fact['right_alone']:.0%}",
    }


def _values(values: dict) -> str:
    if "known" not in values:
        return ", ".join(f"{value}: {count}" for value, count in values.items())
    if not values["known"]:
        return "not stated"
    lowest, median, highest = (f"{round(values[name], 2):g}" for name in ("min", "median", "max"))
    words = f"{lowest} to {highest}, median {median}"
    return words if values["known"] == values["of"] else f"{words} ({values['known']} of {values['of']} stated)"


def _cell(value) -> str:
    return _harmless(", ".join(value) if isinstance(value, list) else str(value))


def _harmless(words: str) -> str:
    """One line without markup, HTML or a terminal's controls: files, folders and patients may be called anything."""
    one_line = CONTROL.sub(" ", words).strip()
    return MARKUP.sub(r"\\\g<0>", one_line.replace("&", "&amp;").replace("<", "&lt;"))


def _table(items: list[dict]) -> list[str]:
    names = list(items[0])
    rows = [[_cell(name) for name in names], *([_cell(item[name]) for name in names] for item in items)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
