"""Measure how often the shortcut verdict is right, by the share of images with a marker and the number of patients.

A marker is planted in a corner of 0 to 100 % of the ill patients' images. Every set's verdict is a line of a CSV file,
so that a stopped measurement continues.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_csv, to_json, write_csv, write_json
from covid_tfds.common.markdown import format_table
from trainer.benchmark.verdict_pool import PATIENTS, make_pool
from trainer.benchmark.verdict_sets import RULES, SetResult, Size, reach_set_verdicts
from trainer.metrics.intervals import exact_interval
from trainer.report import plots
from trainer.report.plots import plt
from trainer.validation.verdict import FALSE_CUES, INCONCLUSIVE, NOT_DETECTED, SHORTCUT

SIZES = (50, 100, 200, 400)
MARKED = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
AT_ONCE = 8  # sets whose heads are fitted together
COLUMNS = tuple(field.name for field in dataclasses.fields(SetResult))
COLOURS = {SHORTCUT: "#d55e00", INCONCLUSIVE: "#999999", NOT_DETECTED: "#0072b2"}


@dataclass(frozen=True)
class Cell:
    """The verdicts of all sets of one kind.

    Attributes:
        patients: Number of patients.
        marked: Share of the ill patients' images that have the marker.
        false_cues: The rule, see `SetResult`.
        sets: Number of sets.
        verdicts: Number of sets by verdict.
        model: Mean AUROC of the model.
        control: Mean AUROC of the strongest control.
    """

    patients: int
    marked: float
    false_cues: float
    sets: int
    verdicts: dict[str, int]
    model: float
    control: float

    def share(self, verdict: str) -> float:
        """Returns the share of the sets with a verdict."""
        return self.verdicts[verdict] / self.sets


@dataclass(frozen=True)
class Goal:
    """A limit on the share of a verdict: at most, or at least, `limit` of the sets of the cells."""

    verdict: str
    at_most: bool
    limit: float
    patients: tuple[int, ...]
    marked: tuple[float, ...]

    def describe(self, cells: Iterable[Cell]) -> list[str]:
        """Returns one line for each cell: the share, its 95 % interval, and whether the goal is met."""
        lines = []
        for cell in cells:
            if cell.patients in self.patients and cell.marked in self.marked:
                share = cell.share(self.verdict)
                low, high = exact_interval(cell.verdicts[self.verdict], cell.sets)
                is_met = share <= self.limit if self.at_most else share >= self.limit
                lines.append(
                    f"{cell.patients} patients, {cell.marked:.0%} marked: {self.verdict} in {share:.1%} of {cell.sets} "
                    f"sets (95 % CI {low:.1%} to {high:.1%}), goal {'<=' if self.at_most else '>='} {self.limit:.0%}: "
                    f"{'met' if is_met else 'MISSED'}"
                )
        return lines


GOALS = (
    Goal(SHORTCUT, True, 0.03, SIZES, (0.0,)),
    Goal(NOT_DETECTED, False, 0.8, (100,), (0.0,)),
    Goal(SHORTCUT, False, 0.9, (100,), (0.5, 0.75, 1.0)),
    Goal(NOT_DETECTED, True, 0.05, (100,), (0.5, 0.75, 1.0)),
)


def measure_verdicts(weights: str, output: Path, quick: bool) -> None:
    """Reaches the verdict on all sets, prints table and goals, and writes numbers and plot.

    Args:
        weights: Of the backbone, as --weights of `python -m trainer`.
        output: JSON file of the cells. Files of the same name hold the plot (.png) and every set (.csv).
        quick: Two sets of 50 patients of each kind.

    Raises:
        UsageError: If the CSV file is of other weights.
    """
    pool = make_pool(weights, 60 if quick else PATIENTS)
    path = output.with_suffix(".csv")
    results = read_sets(path, pool.weights) if path.exists() else []
    kinds = list(itertools.product(SIZES[:1] if quick else SIZES, MARKED))
    wanted = {kind: range(2 if quick else count_sets(*kind)) for kind in kinds}
    done = {(one.patients, one.marked, one.index) for one in results}
    with progress.Line(sum(map(len, wanted.values())), "verdicts", "set") as line:
        line.advance(len(done))
        for (patients, marked), indices in wanted.items():
            missing = [index for index in indices if (patients, marked, index) not in done]
            for start in range(0, len(missing), AT_ONCE):
                new = reach_set_verdicts(pool, Size.of(patients), marked, missing[start : start + AT_ONCE])
                results += new
                write_csv(path, COLUMNS, map(vars, results))
                line.advance(len(new) // len(RULES))
    cells = summarize_sets(results)
    for rule in RULES:
        own = [cell for cell in cells if cell.false_cues == rule]
        print(
            f"A control is a cue at the level 1 - {rule:g} / k: shortcut / inconclusive / not detected, % of the sets"
        )
        print(tabulate_cells(own))
        print("\n".join(line for goal in GOALS for line in goal.describe(own)))
    plots.save(draw_cells(cells), output.with_suffix(".png"))
    write_json(output, {"weights": pool.weights, "pool": len(pool.is_ill), "cells": to_json(cells)})


def count_sets(patients: int, marked: float) -> int:
    """Returns how many sets of a kind are drawn: 200 where there is a goal, else 40."""
    return 200 if marked == 0 or (patients == 100 and marked >= 0.5) else 40


def read_sets(path: Path, weights: str) -> list[SetResult]:
    """Reads the sets of a measurement that was stopped; raises UsageError if they are of other weights."""
    rows = read_csv(path)
    if any(row["weights"] != weights for row in rows):
        raise UsageError(f"{path} is of other --weights: remove it, or choose another --output.")
    types = {"patients": int, "marked": float, "index": int, "model": float, "control": float, "false_cues": float}
    return [SetResult(**{name: types.get(name, str)(value) for name, value in row.items()}) for row in rows]


def summarize_sets(results: list[SetResult]) -> list[Cell]:
    """Returns the cells, by number of patients and share of marked images."""
    cells = []
    kinds = collections.defaultdict(list)
    for one in results:
        kinds[one.patients, one.marked, one.false_cues].append(one)
    for kind, own in sorted(kinds.items()):
        verdicts = {verdict: sum(one.verdict == verdict for one in own) for verdict in COLOURS}
        model, control = (float(np.mean([getattr(one, name) for one in own])) for name in ("model", "control"))
        cells.append(Cell(*kind, len(own), verdicts, model, control))
    return cells


def tabulate_cells(cells: list[Cell]) -> str:
    """Returns a Markdown table: shares of the three verdicts in %, a line for each share of marked images."""
    sizes = sorted({cell.patients for cell in cells})
    rows = [
        (f"{marked:.0%}", *(_describe(cell) for cell in cells if cell.marked == marked))
        for marked in sorted({cell.marked for cell in cells})
    ]
    return format_table(("marked", *(f"{size} patients" for size in sizes)), rows)


def _describe(cell: Cell) -> str:
    shares = " / ".join(f"{100 * cell.share(verdict):.0f}" for verdict in COLOURS)
    return f"{shares} (n = {cell.sets}, control {cell.control:.2f})"


def draw_cells(cells: list[Cell]) -> plt.Figure:
    """Draws the share of each verdict by the share of marked images, a panel for each number of patients.

    The verdict's own rule is solid, the other one dashed.
    """
    sizes = sorted({cell.patients for cell in cells})
    figure, axes = plt.subplots(
        1, len(sizes), figsize=(2.4 * len(sizes) + 0.8, 3), sharey=True, squeeze=False, constrained_layout=True
    )
    for axis, size in zip(axes[0], sizes, strict=True):
        for verdict, rule in itertools.product(COLOURS, RULES):
            own = [cell for cell in cells if (cell.patients, cell.false_cues) == (size, rule)]
            style = {"marker": "o", "label": verdict} if rule == FALSE_CUES else {"linestyle": "--", "linewidth": 1}
            values = [100 * cell.share(verdict) for cell in own]
            axis.plot([100 * cell.marked for cell in own], values, color=COLOURS[verdict], **style)
        axis.set(title=f"{size} patients", xlabel="marked images, %", ylim=(-3, 103))
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("sets with this verdict, %")
    axes[0, -1].legend(loc="center right")
    return figure
