"""Say in a few lines how a dataset was understood."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from covid_tfds.examples import UNKNOWN, Examples

MOST_NAMED = 3
SPLITS = ("train", "validation", "test")


def describe_examples(examples: Examples) -> str:
    """Returns a short block: layout, classes, patients, split, masks, and what was passed over.

    Args:
        examples: With the split that is used.
    """
    counts = [f"{name} {int(examples.is_class(name).sum())}" for name in examples.class_names]
    known = int((examples.patient_id != UNKNOWN).sum())
    patients = f"{len(np.unique(examples.groups))} known" if known == len(examples) else f"known of {known} images"
    lines = [
        f"Dataset {examples.name}: {len(examples)} images",
        *([f"  layout:      {examples.layout}"] if examples.layout else []),
        f"  classes:     {', '.join(counts)}; positive: {examples.positive_class}",
        f"  patients:    {patients if known else 'unknown'}",
        f"  split:       {_describe_split(examples)}",
    ]
    if examples.read_masks is not None:
        lines.append("  lung masks:  found")
    by_reason = defaultdict(list)
    for one in examples.passed_over:
        by_reason[one.reason].append(one.name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines.append(f"  passed over: {len(names)} ({reason}): {', '.join(names[:MOST_NAMED])}{more}")
    notes = [*examples.notes]
    if twins := len(examples) - len(np.unique(examples.sha256)):
        notes.append(f"{twins} image(s) have the same bytes as another: they count as one patient's")
    return "\n".join([*lines, *(f"  note:        {note}" for note in notes)])


def _describe_split(examples: Examples) -> str:
    if not examples.has_split:
        return "none given"
    how = "as given" if examples.given_split else "drawn by patient, 80 / 20"
    sizes = [f"{split} {int((examples.split == split).sum())}" for split in SPLITS if split in examples.split]
    return f"{', '.join(sizes)}, {how}"
