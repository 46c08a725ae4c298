"""The report's plots as small SVG texts, which stay sharp on paper and on a phone.

`truth` is bool [n], True for the class in question; `scores` is float [n] in [0, 1], the probability of that class.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

from trainer.metrics.operating_point import predictive_values
from trainer.report import plots
from trainer.report.glyphs import save_figure
from trainer.run_folder.decision_results import ReliabilityBin
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.typicality_results import Typicality

# Okabe and Ito's palette: colour-blind readers can tell the colours apart, and on grey paper the line styles differ.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"
STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), ("#cc79a7", (0, (1, 1))), ("#56b4e9", (0, (5, 1))))
# Text stays text: screen readers and search can read it. A fixed salt and no date give equal bytes for equal runs.
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "covid_tfds",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Series:
    """A set of images of which a curve is drawn.

    Attributes:
        name: In the legend.
        truth: bool [n], True for the class in question.
        scores: float [n] in [0, 1], the probability of that class.
    """

    name: str
    truth: np.ndarray
    scores: np.ndarray


def render_svg(draw: Callable[..., None], *content: Any, size: tuple[float, float] = (4.2, 3.3), rows: int = 1) -> str:
    """Returns the SVG text of a plot.

    Args:
        draw: One of the functions below; called with the axis (`rows` axes) and `content`.
        *content: What to draw.
        size: Width and height in inches. Small: at a phone's width the letters are still 10 points high.
        rows: Number of axes, one above the other.
    """
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(rows, 1, figsize=size, layout="constrained", sharex=True)
        draw(axes, *content)
        text = io.StringIO()
        save_figure(figure, text, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return text.getvalue()


def draw_roc(axis: Axes, series: Sequence[Series]) -> None:
    """Draws the ROC curves of several sets of images, and the line of chance."""
    _draw_curves(axis, RocCurveDisplay, series, "1 - specificity", "sensitivity")
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="chance")
    axis.legend(loc="lower right")


def draw_precision_recall(axis: Axes, series: Sequence[Series]) -> None:
    """Draws precision (PPV in these images) by sensitivity."""
    _draw_curves(axis, PrecisionRecallDisplay, series, "sensitivity", "PPV in these images")
    axis.legend(loc="lower left")


def _draw_curves(axis: Axes, display: Any, series: Sequence[Series], x: str, y: str) -> None:
    for one, (colour, style) in zip(series, itertools.cycle(STYLES), strict=False):
        drawn = display.from_predictions(one.truth, one.scores, ax=axis)
        drawn.line_.set(color=colour, linestyle=style, linewidth=1.8, label=_shorten(one.name, 26))
    axis.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="auto")


def draw_confusion_matrix(axis: Axes, counts: Sequence[Sequence[float]], class_names: Sequence[str]) -> None:
    """Draws a confusion matrix: a row for each label, a column for each decision."""
    axis.grid(visible=False)
    plots.fill_confusion_matrix(axis, counts, [_shorten(name, 14) for name in class_names])


def draw_calibration(
    axis: Axes, before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin] | None, positive: str
) -> None:
    """Draws the reliability diagram, with intervals for the bins in use.

    Args:
        axis: To draw on.
        before: Bins without scaling.
        after: Bins after scaling; None if it is not applied, so that those in use are `before`.
        positive: Name of the positive class.
    """
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="perfect")
    if after is not None:
        _draw_bins(axis, before, "before scaling", color=GREY, linestyle="--", alpha=0.6)
    used = before if after is None else after
    _draw_bins(axis, used, "as trained" if after is None else "after scaling", color=BLUE, linestyle="-")
    for one in used:
        axis.vlines(one.mean_p, *one.ci95, color=BLUE, alpha=0.4, linewidth=1.2)
    positive = _shorten(positive, 14)
    axis.set(xlabel=f"probability of {positive}", ylabel=f"share that is {positive}")
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=9, columnspacing=1, handlelength=1.5)


def _draw_bins(axis: Axes, bins: Sequence[ReliabilityBin], name: str, **look) -> None:
    share, mean_p = np.asarray([one.fraction_positive for one in bins]), np.asarray([one.mean_p for one in bins])
    drawn = CalibrationDisplay(share, mean_p, mean_p).plot(ax=axis, name=name, ref_line=False)
    drawn.line_.set(label=name, markersize=4, **look)


def compute_rates(truth: np.ndarray, scores: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns sensitivity and specificity of the decision `scores >= threshold`, float [k] each.

    Args:
        truth: bool [n], with both values.
        scores: float [n].
        thresholds: float [k].
    """
    called = scores[None, :] >= thresholds[:, None]
    return (called & truth).sum(1) / truth.sum(), (~called & ~truth).sum(1) / (~truth).sum()


def draw_thresholds(axis: Axes, one: Series, chosen: float, interval: tuple[float, float], positive: str) -> None:
    """Draws sensitivity and specificity by threshold; a line marks the chosen one, a band its 95 % interval."""
    grid = np.linspace(0, 1, 201)
    sensitivity, specificity = compute_rates(one.truth, one.scores, grid)
    axis.step(grid, sensitivity, where="post", color=BLUE, label="sensitivity", linewidth=1.8)
    axis.step(grid, specificity, where="post", color=ORANGE, linestyle="--", label="specificity")
    axis.axvspan(*interval, color=GREY, alpha=0.2, linewidth=0, label="its 95 % interval")
    axis.axvline(chosen, color="black", linewidth=1, linestyle=":", label=f"operating point, {chosen:.2f}")
    axis.set(xlabel=f"threshold on the probability of {_shorten(positive, 14)}", ylabel="share")
    axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9, ncols=2, columnspacing=1, handlelength=1.5)


def draw_prevalences(axis: Axes, sensitivity: Estimate, specificity: Estimate) -> None:
    """Draws PPV and NPV by prevalence.

    A band goes from the values at both lower limits to those at both upper limits of sensitivity and specificity.
    """
    prevalence = np.geomspace(0.001, 0.9, 120)
    pairs = zip(sensitivity.value_and_limits, specificity.value_and_limits, strict=True)
    values, *limits = (_predictive_values(prevalence, *pair) for pair in pairs)
    names = ("PPV: share of positive decisions that are right", "NPV: share of negative decisions that are right")
    for index, (name, (colour, style)) in enumerate(zip(names, STYLES, strict=False)):
        axis.plot(prevalence, values[:, index], color=colour, linestyle=style, linewidth=1.8, label=name)
        low, high = (limit[:, index] for limit in limits)
        axis.fill_between(prevalence, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set(xscale="log", xlabel="prevalence", ylabel="predictive value", ylim=(-0.02, 1.02))
    axis.set_xticks([0.001, 0.01, 0.1, 0.5], ["0.1 %", "1 %", "10 %", "50 %"])
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)


def _predictive_values(prevalence: np.ndarray, sensitivity: float, specificity: float) -> np.ndarray:
    """PPV and NPV, float [k, 2], NaN where undefined."""
    return np.asarray([predictive_values(sensitivity, specificity, p) for p in prevalence], dtype=float)


def draw_controls(axis: Axes, bars: Sequence[tuple[str, Estimate, str]]) -> None:
    """Draws AUROC with its interval, a bar for each (name, AUROC, colour), from the top."""
    axis.grid(visible=False, axis="y")
    for place, (_, auroc, colour) in enumerate(bars):
        value, *limits = auroc.value_and_limits
        axis.barh(place, value, color=colour, height=0.62, alpha=0.85)
        axis.plot(limits, [place, place], color="black", linewidth=1.4, marker="|", markersize=7)
    axis.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
    axis.text(0.5, -0.75, "chance", color=GREY, ha="center", va="bottom", fontsize=9)
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axis.set(xlabel="AUROC", xlim=(0, 1.02), ylim=(len(bars) - 0.5, -0.8))


def draw_distances(axis: Axes, typicality: Typicality) -> None:
    """Draws the share of training images, and of test images, up to each distance to the nearest training images."""
    sets = {
        "training images, to other patients": typicality.reference_distances,
        "test images": [image.distance for image in typicality.images],
    }
    for (name, distances), (colour, style) in zip(sets.items(), STYLES, strict=False):
        axis.ecdf(distances, color=colour, linestyle=style, linewidth=1.8, label=name)
    axis.set(xlabel="distance", ylabel="share of images", ylim=(-0.02, 1.02))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)


def draw_training(axes: Sequence[Axes], history: Sequence[dict[str, float]], classes: int) -> None:
    """Draws loss and accuracy by epoch of the training and the test split, one above the other."""
    plots.fill_training_curves(axes, history, classes)
    axes[0].set_xlabel("")


def _shorten(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
