"""The plots of a run as PNG or pixels, drawn by Matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from covid_tfds.common.files import atomic

mpl.use("Agg")

from matplotlib import pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

from trainer.report.glyphs import save_figure

TRAIN_COLOUR, TEST_COLOUR = "#0072b2", "#d55e00"  # colour-blind readers can tell them apart


def draw_training_curves(path: Path, history: Sequence[dict[str, float]], classes: int, title: str) -> None:
    """Writes the tutorial's four curves as a PNG: loss and accuracy by epoch of the training and the test split.

    Args:
        path: The file.
        history: One dict per epoch with loss, accuracy, val_loss, val_accuracy.
        classes: How many there are.
        title: Stands above the plot.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), constrained_layout=True)
    figure.suptitle(title)
    fill_training_curves(axes, history, classes)
    save(figure, path)


def name_accuracy(classes: int) -> str:
    """Returns what the accuracy by epoch is called: its decision is argmax, not the operating point."""
    return "accuracy at 0.5" if classes == 2 else "accuracy by argmax"


def fill_training_curves(axes: Sequence[plt.Axes], history: Sequence[dict[str, float]], classes: int) -> None:
    """Draws loss into the first and accuracy into the second of two axes, by epoch, of both splits."""
    epochs = range(1, len(history) + 1)
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        splits = ((name, "train", TRAIN_COLOUR, "-"), (f"val_{name}", "test", TEST_COLOUR, "--"))
        for key, label, colour, style in splits:
            values = [epoch[key] for epoch in history]
            axis.plot(epochs, values, color=colour, label=label, linestyle=style, marker=".", linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=name if name == "loss" else name_accuracy(classes))
        axis.grid(alpha=0.3)
        axis.locator_params(axis="x", integer=True)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(-0.03, 1.03)
    axes[0].legend(loc="upper right")


def fill_confusion_matrix(axis: plt.Axes, counts: Sequence[Sequence[float]], class_names: Sequence[str]) -> None:
    """Draws a confusion matrix: a row for each label, a column for each decision."""
    shown = ConfusionMatrixDisplay(np.asarray(counts), display_labels=class_names)
    few = len(class_names) == 2
    letters = {"fontsize": 16 if few else 11}
    shown.plot(ax=axis, cmap="Blues", colorbar=False, text_kw=letters, values_format=".4g")
    axis.set(xlabel="decision", ylabel="label")
    if not few:
        plt.setp(axis.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")


def draw_confusion_matrix(counts: Sequence[Sequence[float]], class_names: Sequence[str], title: str) -> np.ndarray:
    """Returns a confusion matrix as pixels, uint8 [height, width, 4]."""
    side = 2.2 + 0.9 * len(class_names)
    figure, axis = plt.subplots(figsize=(side, 0.85 * side), layout="constrained")
    fill_confusion_matrix(axis, counts, class_names)
    axis.set_title(title)
    buffer = io.BytesIO()
    save_figure(figure, buffer, format="png", dpi=100)
    plt.close(figure)
    return np.asarray(Image.open(buffer))


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a plot as PNG in one step, and closes it."""
    with atomic(path) as temporary:
        save_figure(figure, temporary, dpi=120, metadata={"Software": None})
    plt.close(figure)
