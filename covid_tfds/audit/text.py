"""The audit's report as Markdown that also reads well in a terminal."""

import math
from collections import Counter

from covid_tfds.audit.findings import SEVERITIES
from covid_tfds.audit.report import Report
from covid_tfds.audit.shortcuts import Comparison
from covid_tfds.common.markdown import escaped, format_table


def to_markdown(report: Report, most_items: float = math.inf, drawn: dict[tuple[int, int], str] | None = None) -> str:
    """Returns the report as Markdown.

    Args:
        report: Of `audit_examples`.
        most_items: How many images, patients or facts to list of each finding.
        drawn: File names of drawn near-duplicate pairs, by their rows.
    """
    of_patients = "" if report.patients is None else f" of {report.patients} patients"
    parts = [f"# {escaped(report.dataset)} {report.version}: {report.images} images{of_patients}"]
    parts += [report.description] if report.description else []
    parts.append(_format_items(report.groups))
    for finding in report.findings:
        parts += [f"## {finding.severity.upper()}: {finding.check}", escaped(finding.message)]
        shown = finding.items[: int(min(most_items, len(finding.items)))]
        parts += [_format_items(shown)] if shown else []
        if len(shown) < len(finding.items):
            parts.append(f"... and {len(finding.items) - len(shown)} more.")
    for (first, second), name in (drawn or {}).items():
        parts.append(f"![near-duplicates, images {first} and {second}]({name})")
    if report.by_class:
        parts += ["## The classes compared", _explain_comparison(report)]
        parts.append(_format_items([_format_comparison(comparison) for comparison in report.by_class]))
    if report.not_checked:
        parts += ["## Not checked", "\n".join(f"- {words}" for words in report.not_checked)]
    return "\n\n".join([*parts, summarize(report)]) + "\n"


def summarize(report: Report) -> str:
    """Returns the result of the audit in one sentence."""
    counts = Counter(finding.severity for finding in report.findings)
    invalidating, warnings, notes = (counts[severity] for severity in SEVERITIES)
    others = f"{warnings} warning{'' if warnings == 1 else 's'}, {notes} note{'' if notes == 1 else 's'}"
    if invalidating:
        findings = "finding invalidates" if invalidating == 1 else "findings invalidate"
        return f"NOT VALID: {invalidating} {findings} any evaluation on {escaped(report.dataset)} ({others})."
    return f"No finding invalidates an evaluation on {escaped(report.dataset)} ({others})."


def _explain_comparison(report: Report) -> str:
    images_of: Counter[str] = Counter()
    for group in report.groups:
        images_of[group["class"]] += group["images"]
    ((name, images),) = images_of.most_common(1)
    return (
        "Association: Cramér's V, 0 to 1, or AUROC, 0.5 to 1, over the images for which the fact is known. Right "
        "alone: the share of images that a rule using this fact and nothing else classifies correctly; always "
        f"answering '{escaped(name)}' is correct for {images / report.images:.0%}."
    )


def _format_comparison(comparison: Comparison) -> dict[str, str]:
    values = {name: _format_values(values) for name, values in comparison.values.items()}
    return {"fact": comparison.fact, **values, **comparison.describe()}


def _format_values(values: dict) -> str:
    if "known" not in values:
        return ", ".join(f"{value}: {count}" for value, count in values.items())
    if not values["known"]:
        return "not stated"
    lowest, median, highest = (f"{round(values[name], 2):g}" for name in ("min", "median", "max"))
    words = f"{lowest} to {highest}, median {median}"
    return words if values["known"] == values["of"] else f"{words} ({values['known']} of {values['of']} stated)"


def _format_items(items: list[dict]) -> str:
    rows = [[_format_cell(item[name]) for name in items[0]] for item in items]
    return format_table([_format_cell(name) for name in items[0]], rows)


def _format_cell(value: object) -> str:
    return escaped(", ".join(value) if isinstance(value, list) else str(value))
