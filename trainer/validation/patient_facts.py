"""Encode what is stated of patients and sources: the inputs of the controls that see no pixel."""

from __future__ import annotations

import numpy as np

from covid_tfds.examples import UNKNOWN, Examples

MOST_SOURCES = 50  # rarer ones count as one: the control is a dense matrix with a column for each


def encode_patient_facts(examples: Examples) -> np.ndarray | None:
    """Returns age, sex and view, and which of them are not stated, as numbers; None where none of that varies.

    Returns:
        float64 [n, d]: age in years (the mean where it is not stated), 1 where it is not stated, and a column of 0 and
        1 for each value of sex and view, not stated included.
    """
    age = np.asarray(examples.facts["age"], dtype=float)
    known = np.isfinite(age)
    columns = [np.where(known, age, age[known].mean()), ~known] if known.any() else []
    for name in ("sex", "view"):
        columns += _encode_categories(examples.facts[name])
    return _stack_varying(columns)


def encode_sources(examples: Examples) -> np.ndarray | None:
    """Returns a column of 0 and 1 for each frequent source, float64 [n, d]; None with fewer than two sources."""
    sources, counts = np.unique(examples.facts["source"], return_counts=True)
    frequent = sources[np.argsort(-counts, kind="stable")[:MOST_SOURCES]]
    kept = np.where(np.isin(examples.facts["source"], frequent), examples.facts["source"], "other")
    return _stack_varying(_encode_categories(kept))


def tabulate_sources(examples: Examples) -> dict[str, dict[str, int]] | None:
    """Returns for each source, the most frequent first, its number of images by class; None with fewer than two."""
    sources, counts = np.unique(examples.facts["source"], return_counts=True)
    if len(sources) < 2:
        return None
    return {
        str(source) or "not stated": {
            name: int(np.sum(examples.is_class(name) & (examples.facts["source"] == source)))
            for name in examples.class_names
        }
        for source in sources[np.argsort(-counts, kind="stable")]
    }


def _encode_categories(values: np.ndarray) -> list[np.ndarray]:
    """A column for each value; none where no value is stated."""
    return [values == value for value in np.unique(values)] if np.any(values != UNKNOWN) else []


def _stack_varying(columns: list[np.ndarray]) -> np.ndarray | None:
    varying = [column for column in columns if len(np.unique(column)) > 1]
    return np.stack(varying, axis=1).astype(np.float64) if varying else None
