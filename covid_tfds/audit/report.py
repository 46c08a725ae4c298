"""Run every check of the audit on a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from covid_tfds.audit import checks, near_duplicates, pixels, shortcuts
from covid_tfds.audit.findings import INVALIDATING, SEVERITIES, Finding
from covid_tfds.common import files
from covid_tfds.examples import Examples

NOT_CHECKED_WITHOUT = {
    "split": "leaks between splits: this folder has none yet",
    "patient_id": "patients: not stated (a patients.csv with the columns path,patient_id states them)",
    "finding": "labels against findings: no findings are stated",
    "source": "sources and licences: none are stated",
    "view": "views: none are stated",
    "sex": "sex: not stated",
    "age": "age: not stated",
}


@dataclass(frozen=True)
class Report:
    """The results of an audit.

    Attributes:
        dataset, version, description: Of the examples.
        images: How many.
        patients: How many; None when unknown.
        groups: `split`, `class`, `images` and `patients` of each part.
        by_class: How the classes differ in each known fact.
        findings: The most severe first.
        not_checked: What could not be checked: that there is no finding about it means nothing.
        near_duplicates: Pairs of rows of the dataset that show one radiograph, in files that differ.
    """

    dataset: str
    version: str
    description: str
    images: int
    patients: int | None
    groups: list[dict]
    by_class: list[shortcuts.Comparison]
    findings: list[Finding]
    not_checked: list[str]
    near_duplicates: list[tuple[int, int]]

    @property
    def invalid(self) -> bool:
        """Whether a finding invalidates an evaluation."""
        return any(finding.severity == INVALIDATING for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON values; numbers that are not known are None."""
        return files.to_json(self) | {
            "invalid": self.invalid,
            "near_duplicate_threshold": near_duplicates.THRESHOLD,
        }


def audit_examples(examples: Examples) -> Report:
    """Decode every image and run every check.

    Takes about 0.1 s an image, and then compares all pairs of images.
    """
    table, near = pixels.describe_images(examples)
    by_class = shortcuts.compare_classes(table, examples.class_names)
    findings = [
        *checks.check_readable(table),
        *checks.check_duplicates(table, near),
        *checks.check_patients(table),
        *checks.check_labels(table),
        *shortcuts.check_shortcuts(table, by_class),
        *checks.check_views(table),
        *checks.check_licences(table),
    ]
    has_patients = bool((table.patient_id != "").any())
    return Report(
        dataset=examples.name,
        version=examples.version,
        description=examples.description,
        images=len(table),
        patients=table.patient_id.nunique() if has_patients else None,
        groups=_count_groups(table, examples.class_names, has_patients),
        by_class=by_class,
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
        not_checked=[
            words for column, words in NOT_CHECKED_WITHOUT.items() if not shortcuts.is_known(table[column]).any()
        ],
        near_duplicates=[(a, b) for a, b in near if table.sha256[a] != table.sha256[b]],
    )


def _count_groups(table: pd.DataFrame, class_names: tuple[str, ...], has_patients: bool) -> list[dict]:
    return [
        ({"split": split} if split else {})
        | {"class": label, "images": len(part)}
        | ({"patients": part.patient_id.nunique()} if has_patients else {})
        for split in table.split.unique()
        for label in class_names
        if len(part := table[(table.split == split) & (table.label == label)])
    ]
