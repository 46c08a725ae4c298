"""Check leaks, duplicates, labels, views and licences: each takes the table of `pixels.describe_images`."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sized

import pandas as pd

from covid_tfds.audit.findings import INVALIDATING, NOTE, WARNING, Finding
from covid_tfds.classes import is_covid_name
from covid_tfds.sources import manifest

HEALTHY = ("normal", "no finding", "none", "healthy")
COVID = ("covid", "sars-cov-2", "drawn opacities")

# Severity, how two images are related, and what follows.
Relation = tuple[str, str, str]


def check_readable(table: pd.DataFrame) -> list[Finding]:
    """Name images that can't be decoded; checks that need pixels leave them out."""
    broken = table[table.problem != ""]
    if broken.empty:
        return []
    message = f"{len(broken)} of {len(table)} images cannot be decoded. What they show was not checked."
    return [Finding(WARNING, "unreadable images", message, _records(broken[["image_id", "label", "problem"]]))]


def check_duplicates(table: pd.DataFrame, near: Mapping[tuple[int, int], float]) -> list[Finding]:
    """Find pairs of equal files, and of images that look the same.

    Args:
        table: Of `pixels.describe_images`.
        near: The share of differing bits of each near-duplicate pair, by row of the table.
    """
    exact: dict[tuple[int, int], dict[str, str]] = {
        pair: {}
        for same in table.groupby("sha256").indices.values()
        for pair in itertools.combinations(sorted(map(int, same)), 2)
    }
    alike = {pair: {"differing bits": f"{share:.1%}"} for pair, share in near.items() if pair not in exact}
    return [
        *_check_pairs(table, "exact duplicates", "the same bytes", exact),
        *_check_pairs(table, "near-duplicates", "the same radiograph with small changes", alike),
    ]


def _check_pairs(
    table: pd.DataFrame, check: str, what: str, pairs: Mapping[tuple[int, int], dict[str, str]]
) -> list[Finding]:
    columns = {"images": "image_id", "labels": "label", "splits": "split", "patients": "patient_id"}
    items = defaultdict(list)
    for (first, second), more in pairs.items():
        one, other = table.iloc[first], table.iloc[second]
        item = {name: [one[key], other[key]] for name, key in columns.items() if one[key] or other[key]}
        for relation in _relations(one, other):
            items[relation].append(item | more)
    return [
        Finding(severity, f"{check} {relation}", f"{_count(found, 'pair')} of images, {what}, {why}", found)
        for (severity, relation, why), found in items.items()
    ]


def _relations(one: pd.Series, other: pd.Series) -> list[Relation]:
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


def check_patients(table: pd.DataFrame) -> list[Finding]:
    """Find patients on both sides of the split, in both classes, and with more than one image."""
    known = table[table.patient_id != ""]
    if known.empty:
        return []
    count = known.patient_id.nunique()
    findings = []
    leaking = _patients_in_several(known, "split")
    if len(leaking):
        is_test = known.split == "test"
        tested = int((known.patient_id.isin(leaking.index) & is_test).sum())
        message = (
            f"{len(leaking)} of {count} patients have images in more than one split, among them {tested} of the "
            f"{is_test.sum()} test images: the model can recognize the patient instead of the disease."
        )
        findings.append(Finding(INVALIDATING, "patients on both sides", message, _counts(leaking)))
    in_both = _patients_in_several(known, "label")
    if len(in_both):
        message = (
            f"{len(in_both)} of {count} patients have images under more than one label. That can be true of a course "
            "of disease; look at each."
        )
        findings.append(Finding(WARNING, "patients in both classes", message, _counts(in_both)))
    images = known.patient_id.value_counts()
    if images.max() > 1:
        message = (
            f"{len(known)} images come from {count} patients, up to {images.max()} from one: they are not independent. "
            "Split, fold and resample by patient."
        )
        findings.append(Finding(NOTE, "several images of a patient", message))
    return findings


def _patients_in_several(known: pd.DataFrame, column: str) -> pd.DataFrame:
    """Count images by patient and value of a column, for patients with more than one value."""
    counts = pd.crosstab(known.patient_id, known[column])[list(known[column].unique())]
    return counts[(counts > 0).sum(axis=1) > 1]


def check_labels(table: pd.DataFrame) -> list[Finding]:
    """Find labels that the publisher's own finding contradicts."""
    wrong = table[[_contradicts(label, finding) for label, finding in zip(table.label, table.finding, strict=True)]]
    if wrong.empty:
        return []
    shares = [
        f"{n} of the {(table.label == label).sum()} '{label}' images" for label, n in wrong.label.value_counts().items()
    ]
    message = (
        f"{' and '.join(shares)} have a finding that contradicts the label: a model is trained on, and tested for, "
        "something else than the label says."
    )
    items = _records(wrong[["image_id", "split", "label", "finding"]])
    return [Finding(INVALIDATING, "label against finding", message, items)]


def _contradicts(label: str, finding: str) -> bool:
    stated = finding.strip().lower()
    is_covid = any(word in stated for word in COVID)
    if not stated:
        return False
    if is_covid_name(label):
        return not is_covid
    return is_covid or (label.lower() == "normal" and stated not in HEALTHY)


def check_views(table: pd.DataFrame) -> list[Finding]:
    """Find views that the publisher has corrected since, that are mixed, or that change within a patient."""
    findings = []
    now = table.sha256.map(manifest.read_corrections("view"))
    corrected = table[now.notna() & (now != table.view) & (table.view != "")]
    if len(corrected):
        message = (
            f"The view of {_count(corrected, 'image')} was corrected in a later version of the source. AP images are "
            "mostly taken at the bedside of those who cannot stand: the view itself can show how ill they are."
        )
        items = _records(corrected[["image_id", "patient_id", "label", "view"]].assign(corrected=now))
        findings.append(Finding(WARNING, "views corrected by the publisher", message, items))
    known = table[table.view != ""]
    if known.view.nunique() > 1:
        message = "Images of several views are mixed; hearts look larger in AP views."
        findings.append(Finding(NOTE, "mixed views", message, _counts(pd.crosstab(known.label, known.view))))
    views = known[known.patient_id != ""].groupby("patient_id").view.unique()
    changing = views[views.map(len) > 1]
    if len(changing):
        message = f"The view changes between the images of {_count(changing, 'patient')}."
        items = [{"patient_id": patient, "views": ", ".join(sorted(several))} for patient, several in changing.items()]
        findings.append(Finding(NOTE, "view changes within a patient", message, items))
    return findings


def check_licences(table: pd.DataFrame) -> list[Finding]:
    """Count images without a stated licence."""
    missing = table[table.license == ""]
    if missing.empty or not table.source.any():
        return []
    message = (
        f"{len(missing)} of {len(table)} images state no licence: they may be looked at where they are published, but "
        "neither they nor what shows them may be passed on."
    )
    items = [{"class": label, "without a licence": n} for label, n in missing.label.value_counts().items()]
    return [Finding(WARNING, "missing licences", message, items)]


def _records(table: pd.DataFrame) -> list[dict]:
    return table.to_dict("records")


def _counts(table: pd.DataFrame) -> list[dict]:
    return _records(table.rename_axis(columns=None).reset_index())


def _count(items: Sized, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"
