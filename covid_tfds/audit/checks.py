"""Leaks, duplicates, labels, views, licences: each check takes the table of `pixels.look` and gives findings."""

import csv
import itertools
from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from covid_tfds.audit.findings import INVALIDATING, NOTE, WARNING, Finding
from covid_tfds.sources import manifest

HEALTHY = ("normal", "no finding", "none", "healthy")
COVID = ("covid", "sars-cov-2", "drawn opacities")


def unreadable(table: pd.DataFrame) -> list[Finding]:
    """Images that cannot be decoded; the checks of pixels pass over them."""
    broken = table[table.problem != ""]
    if broken.empty:
        return []
    return [
        Finding(
            WARNING,
            "unreadable images",
            f"{len(broken)} of {len(table)} images cannot be decoded. What they show was not checked.",
            broken[["image_id", "label", "problem"]].to_dict("records"),
        )
    ]


def duplicates(table: pd.DataFrame, near: Mapping[tuple[int, int], float]) -> list[Finding]:
    """Pairs of equal files, and of films that look the same.

    Args:
        table: of `pixels.look`.
        near: the share of differing bits of each near-duplicate pair, by position in the table.
    """
    exact = {
        pair: {}
        for same in table.groupby("sha256").indices.values()
        for pair in itertools.combinations(sorted(map(int, same)), 2)
    }
    alike = {pair: {"differing bits": f"{share:.1%}"} for pair, share in near.items() if pair not in exact}
    return [
        *_pairs(table, "exact duplicates", "the same bytes", exact),
        *_pairs(table, "near-duplicates", "the same film with small changes", alike),
    ]


def _pairs(table: pd.DataFrame, check: str, what: str, pairs: Mapping[tuple[int, int], dict]) -> list[Finding]:
    found = defaultdict(list)
    for (first, second), more in pairs.items():
        one, other = table.iloc[first], table.iloc[second]
        item = {
            name: [one[column], other[column]]
            for name, column in (
                ("images", "image_id"),
                ("labels", "label"),
                ("splits", "split"),
                ("patients", "patient_id"),
            )
            if one[column] or other[column]
        }
        for relation in _relations(one, other):
            found[relation].append(item | more)
    return [
        Finding(severity, f"{check} {where}", f"{_count(items, 'pair')} of images, {what}, {why}", items)
        for (severity, where, why), items in found.items()
    ]


def _relations(one: pd.Series, other: pd.Series) -> list[tuple[str, str, str]]:
    invalidating = []
    if one.label != other.label:
        why = "under two labels: one of the two is wrong."
        invalidating.append((INVALIDATING, "under two labels", why))
    if one.split != other.split:
        why = "in two splits: the model is tested on what it was trained on."
        invalidating.append((INVALIDATING, "across splits", why))
    if invalidating:
        return invalidating
    if one.patient_id and one.patient_id == other.patient_id:
        return [(NOTE, "of one patient", "of one patient, in one split: counted twice, but no leak.")]
    if one.split and one.patient_id:
        return [(WARNING, "of two patients", "under two patient numbers: counted twice, and perhaps one person.")]
    if one.patient_id:
        why = "under two patient numbers: a split by patient may still put them on both sides."
        return [(WARNING, "of two patients", why)]
    return [(WARNING, "within a class", "in one class: a random split may put them on both sides.")]


def patients(table: pd.DataFrame) -> list[Finding]:
    """Patients on both sides, in both classes, and with more than one image."""
    known = table[table.patient_id != ""]
    if known.empty:
        return []
    count = known.patient_id.nunique()
    findings = []
    splits = pd.crosstab(known.patient_id, known.split)[list(known.split.unique())]
    leaking = splits[(splits > 0).sum(axis=1) > 1]
    if len(leaking):
        tested = int((known.patient_id.isin(leaking.index) & (known.split == "test")).sum())
        findings.append(
            Finding(
                INVALIDATING,
                "patients on both sides",
                f"{len(leaking)} of {count} patients have images in more than one split, among them {tested} of the "
                f"{(known.split == 'test').sum()} test images: the model can know the patient instead of the disease.",
                _records(leaking),
            )
        )
    labels = pd.crosstab(known.patient_id, known.label)
    in_both = labels[(labels > 0).sum(axis=1) > 1]
    if len(in_both):
        findings.append(
            Finding(
                WARNING,
                "patients in both classes",
                f"{len(in_both)} of {count} patients have images under more than one label. That can be true of a "
                "course of disease; look at each.",
                _records(in_both),
            )
        )
    images = known.patient_id.value_counts()
    if images.max() > 1:
        findings.append(
            Finding(
                NOTE,
                "several images of a patient",
                f"{len(known)} images come from {count} patients, up to {images.max()} from one: they are not "
                "independent. Split, fold and resample by patient.",
            )
        )
    return findings


def labels(table: pd.DataFrame) -> list[Finding]:
    """Labels that the publisher's own finding contradicts."""
    wrong = table[[_contradicts(label, finding) for label, finding in zip(table.label, table.finding, strict=True)]]
    if wrong.empty:
        return []
    shares = [
        f"{n} of the {(table.label == label).sum()} '{label}' images" for label, n in wrong.label.value_counts().items()
    ]
    return [
        Finding(
            INVALIDATING,
            "label against finding",
            f"{' and '.join(shares)} have a finding that contradicts the label: a model is taught, and judged by, "
            "something else than the label says.",
            wrong[["image_id", "split", "label", "finding"]].to_dict("records"),
        )
    ]


def _contradicts(label: str, finding: str) -> bool:
    said = finding.strip().lower()
    is_covid = any(word in said for word in COVID)
    if not said:
        return False
    if label == "covid":
        return not is_covid
    return is_covid or (label == "normal" and said not in HEALTHY)


def views(table: pd.DataFrame) -> list[Finding]:
    """Views that the publisher has corrected since, that are mixed, or that change within a patient."""
    findings = []
    corrections = _corrections("view")
    now = table.sha256.map(corrections)
    corrected = table[now.notna() & (now != table.view) & (table.view != "")]
    if len(corrected):
        items = corrected[["image_id", "patient_id", "label", "view"]].assign(corrected=now)
        findings.append(
            Finding(
                WARNING,
                "views corrected by the publisher",
                f"The view of {_count(corrected, 'image')} was corrected in a later version of the source. AP films "
                "are mostly taken at the bedside of those who cannot stand: the view itself can tell how ill they are.",
                items.to_dict("records"),
            )
        )
    known = table[table.view != ""]
    if known.view.nunique() > 1:
        message = "Films of several views are mixed; hearts look larger in AP views."
        findings.append(Finding(NOTE, "mixed views", message, _records(pd.crosstab(known.label, known.view))))
    of_patient = known[known.patient_id != ""].groupby("patient_id").view.unique()
    changing = of_patient[of_patient.map(len) > 1]
    if len(changing):
        items = [{"patient_id": patient, "views": ", ".join(sorted(several))} for patient, several in changing.items()]
        message = f"The view changes between the films of {_count(items, 'patient')}."
        findings.append(Finding(NOTE, "view changes within a patient", message, items))
    return findings


def _corrections(field: str) -> dict[str, str]:
    with (manifest.FOLDER / "corrections.csv").open(encoding="utf-8", newline="") as file:
        return {row["sha256"]: row["corrected"] for row in csv.DictReader(file) if row["field"] == field}


def licences(table: pd.DataFrame) -> list[Finding]:
    """Images without a stated licence."""
    missing = table[table.license == ""]
    if missing.empty or not table.source.any():
        return []
    of_class = missing.label.value_counts()
    return [
        Finding(
            WARNING,
            "missing licences",
            f"{len(missing)} of {len(table)} images state no licence: they may be looked at where they are published, "
            "but neither they nor what shows them may be passed on.",
            [{"class": label, "without a licence": n} for label, n in of_class.items()],
        )
    ]


def _records(counts: pd.DataFrame) -> list[dict]:
    return counts.rename_axis(columns=None).reset_index().to_dict("records")


def _count(items, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
