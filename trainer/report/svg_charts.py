"""The report's plots, each a small SVG text that stays sharp on paper and on a phone. Never TensorFlow.

truth arguments are bool [n], True for covid; p_covid arguments float [n] in [0, 1]. `Series` names a set of images.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from trainer.metrics.operating_point import predictive_values

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey on paper by the line styles.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#666666"
STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), ("#cc79a7", (0, (1, 1))), ("#56b4e9", (0, (5, 1))))
# Text stays text: read aloud, searchable, small. A fixed salt and no date give equal bytes for equal runs.
SETTINGS = {
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
    """Images judged together: what they are called, the truth and the probabilities."""

    name: str
    truth: np.ndarray
    p_covid: np.ndarray


class Drawing:
    """The SVG text of a plot, there when its `with` block has ended."""

    svg: str = ""


@contextmanager
def _plot(width: float = 4.2, height: float = 3.3) -> Iterator[tuple]:
    # Small on purpose: shown at a phone's width, the letters are still 10 points high.
    with mpl.rc_context(SETTINGS):
        figure, axis = plt.subplots(figsize=(width, height), layout="constrained")
        drawing = Drawing()
        try:
            yield axis, drawing
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
            drawing.svg = text.getvalue()
        finally:
            plt.close(figure)


def roc(series: Sequence[Series]) -> str:
    """ROC curves of several sets of images and the line of chance."""
    return _curves(RocCurveDisplay, series, "1 - specificity", "sensitivity", diagonal=True, corner="lower right")


def precision_recall(series: Sequence[Series]) -> str:
    """Precision (PPV in these images) over sensitivity."""
    return _curves(PrecisionRecallDisplay, series, "sensitivity", "PPV in these images", corner="lower left")


def _curves(display, series: Sequence[Series], x: str, y: str, *, corner: str, diagonal: bool = False) -> str:
    with _plot() as (axis, drawing):
        for one, (colour, style) in zip(series, STYLES, strict=False):
            drawn = display.from_predictions(one.truth, one.p_covid, ax=axis)
            drawn.line_.set(color=colour, linestyle=style, linewidth=1.8, label=_short(one.name, 26))
        if diagonal:
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="chance")
        axis.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="auto")
        axis.legend(loc=corner)
    return drawing.svg


def confusion(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> str:
    """The confusion matrix [[tp, fn], [fp, tn]]: rows are the truth, columns the decision."""
    with _plot(3.4, 2.9) as (axis, drawing):
        axis.grid(visible=False)
        shown = ConfusionMatrixDisplay(np.asarray(counts), display_labels=[_short(name, 14) for name in class_names])
        shown.plot(ax=axis, cmap="Blues", colorbar=False, text_kw={"fontsize": 16})
        axis.set(xlabel="decision", ylabel="truth")
    return drawing.svg


def calibration(before: Sequence[dict], after: Sequence[dict] | None) -> str:
    """Reliability diagram from bins of `calibration.reliability`; intervals for those in use."""
    with _plot() as (axis, drawing):
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="perfect")
        if after is not None:
            _reliability(axis, before, "before scaling", color=GREY, linestyle="--", alpha=0.6)
        used = before if after is None else after
        _reliability(axis, used, "as trained" if after is None else "after scaling", color=BLUE, linestyle="-")
        for entry in used:
            axis.vlines(entry["mean_p"], *entry["ci95"], color=BLUE, alpha=0.4, linewidth=1.2)
        axis.set(xlabel="probability of covid given", ylabel="share that is covid")
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
        axis.legend(**place, ncols=3, fontsize=9, columnspacing=1, handlelength=1.5)
    return drawing.svg


def _reliability(axis, bins: Sequence[dict], name: str, **look) -> None:
    share, given = (np.asarray([entry[key] for entry in bins]) for key in ("fraction_covid", "mean_p"))
    drawn = CalibrationDisplay(share, given, given).plot(ax=axis, name=name, ref_line=False)
    drawn.line_.set(label=name, markersize=4, **look)


def rates(truth: np.ndarray, p_covid: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity, float [k] each, of the decision p_covid >= threshold for k thresholds."""
    called = p_covid[None, :] >= thresholds[:, None]
    return (called & truth).sum(1) / truth.sum(), (~called & ~truth).sum(1) / (~truth).sum()


def thresholds(one: Series, chosen: float) -> str:
    """Sensitivity and specificity over the threshold, with the operating point's threshold as a line."""
    grid = np.linspace(0, 1, 201)
    sensitivity, specificity = rates(one.truth, one.p_covid, grid)
    with _plot() as (axis, drawing):
        axis.step(grid, sensitivity, where="post", color=BLUE, label="sensitivity: covid, called so", linewidth=1.8)
        axis.step(grid, specificity, where="post", color=ORANGE, linestyle="--", label="specificity: others, called so")
        axis.axvline(chosen, color="black", linewidth=1, linestyle=":", label=f"operating point, {chosen:.2f}")
        axis.set(xlabel="threshold on the probability of covid", ylabel="share", xlim=(0, 1), ylim=(-0.02, 1.02))
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    return drawing.svg


def prevalences(sensitivity: dict, specificity: dict) -> str:
    """PPV and NPV over the prevalence; bands go from both lower to both upper limits of the two figures."""
    prevalence = np.geomspace(0.001, 0.9, 120)
    values = _over(prevalence, sensitivity["value"], specificity["value"])
    with _plot() as (axis, drawing):
        names = ("PPV: covid if called so", "NPV: not covid if called so")
        for index, (name, (colour, style)) in enumerate(zip(names, STYLES, strict=False)):
            axis.plot(prevalence, values[:, index], color=colour, linestyle=style, linewidth=1.8, label=name)
            if sensitivity["ci95"] and specificity["ci95"]:
                limits = zip(sensitivity["ci95"], specificity["ci95"], strict=True)
                low, high = (_over(prevalence, *pair)[:, index] for pair in limits)
                axis.fill_between(prevalence, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set(xscale="log", xlabel="prevalence", ylabel="predictive value", ylim=(-0.02, 1.02))
        axis.set_xticks([0.001, 0.01, 0.1, 0.5], ["0.1 %", "1 %", "10 %", "50 %"])
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    return drawing.svg


def _over(prevalence: np.ndarray, sensitivity: float, specificity: float) -> np.ndarray:
    """PPV and NPV, float [k, 2], NaN where undefined."""
    return np.asarray([predictive_values(sensitivity, specificity, p) for p in prevalence], dtype=float)


def controls(bars: Sequence[tuple[str, dict, str]]) -> str:
    """AUROC with its interval, a bar each: (name, figure, colour), from the top; undefined ones are left out."""
    bars = [bar for bar in bars if bar[1]["value"] is not None]
    with _plot(4.2, 0.9 + 0.34 * len(bars)) as (axis, drawing):
        axis.grid(visible=False, axis="y")
        for place, (_, estimate, colour) in enumerate(bars):
            value = estimate["value"]
            axis.barh(place, value, color=colour, height=0.62, alpha=0.85)
            if estimate["ci95"]:
                axis.plot(estimate["ci95"], [place, place], color="black", linewidth=1.4, marker="|", markersize=7)
        axis.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
        axis.text(0.5, -0.75, "chance", color=GREY, ha="center", va="bottom", fontsize=9)
        axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
        axis.set(xlabel="AUROC", xlim=(0, 1.02), ylim=(len(bars) - 0.5, -0.8))
    return drawing.svg


def training(history: Sequence[dict]) -> str:
    """Loss and accuracy by epoch on the training and the test split, one above the other."""
    epochs = range(1, len(history) + 1)
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(2, 1, figsize=(4.2, 4.4), layout="constrained", sharex=True)
        for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
            for key, label, (colour, style) in ((name, "train", STYLES[0]), (f"val_{name}", "test", STYLES[1])):
                axis.plot(epochs, [entry[key] for entry in history], color=colour, linestyle=style, label=label)
            axis.set_ylabel(name)
        axes[0].set_ylim(bottom=0)
        axes[1].set(ylim=(-0.03, 1.03), xlabel="epoch")
        axes[1].xaxis.get_major_locator().set_params(integer=True)
        axes[0].legend(loc="upper right")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return text.getvalue()


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
