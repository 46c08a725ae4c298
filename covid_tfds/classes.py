"""Choose the classes of a dataset and put the positive one first. NumPy only."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest, Examples

COVID = ("covid", "sarscov2", "coronavirus", "ncov")
NEGATIONS = ("non", "no", "not")


def is_covid_name(name: str) -> bool:
    """Returns whether a class is COVID-19 by its name, in any spelling.

    Example:
        >>> [is_covid_name(name) for name in ("COVID", "covid19", "COVID-19", "positive")]
        [True, True, True, True]
        >>> [is_covid_name(name) for name in ("Non-COVID", "COVID_negative", "Viral Pneumonia")]
        [False, False, False]
    """
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    if letters.startswith(NEGATIONS) or letters.endswith(("negative", "neg")):
        return False
    return letters == "positive" or any(word in letters for word in COVID)


def choose_classes(examples: Examples, request: DatasetRequest) -> Examples:
    """Returns the images of the requested classes, the positive class as class 0 and the others in their order.

    Args:
        examples: All images of a dataset.
        request: Its `classes` (all by default) and `positive_class` (by default the one that is COVID-19).

    Raises:
        UsageError: If a class is not there, fewer than two are left, or none or several are COVID-19 by their names.
    """
    found = examples.class_names
    wanted = [_find_class(examples, name, "--classes") for name in split_names(request.classes)] or list(found)
    if len(set(wanted)) < 2:
        raise UsageError(f"{examples.name}: expected at least two classes, got [{', '.join(wanted)}].")
    if request.positive_class:
        positive = _find_class(examples, request.positive_class, "--positive_class")
        if positive not in wanted:
            raise UsageError(f"--positive_class {positive}: expected one of --classes {request.classes}.")
    else:
        positive = _guess_positive(examples.name, wanted)
    names = tuple(sorted((name for name in found if name in wanted), key=lambda name: name != positive))
    if names == found:
        return examples
    # Where each class goes; those that are left out keep -1.
    target = np.asarray([names.index(name) if name in names else -1 for name in found])
    labels = target[examples.labels]
    rows = np.argsort(np.where(labels < 0, len(names), labels), kind="stable")[: int((labels >= 0).sum())]
    if not examples.layout:  # a prepared dataset is read fastest in the order in which it is stored
        rows = np.sort(rows)
    return dataclasses.replace(examples.subset(rows), class_names=names, labels=labels[rows])


def split_names(text: str | None) -> list[str]:
    """Returns the names in "A,B,C"."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _find_class(examples: Examples, name: str, flag: str) -> str:
    exact = [one for one in examples.class_names if one == name]
    same = exact or [one for one in examples.class_names if one.lower() == name.lower()]
    if len(same) != 1:
        raise UsageError(f"{flag}: no class '{name}' in {examples.name}, found: {', '.join(examples.class_names)}.")
    return same[0]


def _guess_positive(dataset: str, names: Sequence[str]) -> str:
    covid = [name for name in names if is_covid_name(name)]
    if len(covid) != 1:
        which = f"{len(covid)} classes are COVID-19 by their names" if covid else "no class is COVID-19 by its name"
        raise UsageError(
            f"{dataset}: {which}, found: {', '.join(names)}. Name the positive class: --positive_class NAME."
        )
    return covid[0]
