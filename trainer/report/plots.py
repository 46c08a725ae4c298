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

TRAIN_COLOUR, TEST_COLOUR = "#0072b2", "#d55e00"  # colour-blind readers can tell them apart


def draw_training_curves(path: Path, history: Sequence[dict[str, float]], title: str) -> None:
    """Writes the tutorial's four curves as a PNG: loss and accuracy by epoch of the training and the test split.

    Args:
        path: The file.
        history: One dict per epoch with loss, accuracy, val_loss, val_accuracy.
        title: Stands above the plot.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), constrained_layout=True)
    figure.suptitle(title)
    fill_training_curves(axes, history)
    save(figure, path)


def fill_training_curves(axes: Sequence[plt.Axes], history: Sequence[dict[str, float]]) -> None:
    """Draws loss into the first and accuracy into the second of two axes, by epoch, of both splits."""
    epochs = range(1, len(history) + 1)
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        splits = ((name, "train", TRAIN_COLOUR, "-"), (f"val_{name}", "test", TEST_COLOUR, "--"))
        for key, label, colour, style in splits:
            values = [epoch[key] for epoch in history]
            axis.plot(epochs, values, color=colour, label=label, linestyle=style, marker=".", linewidth=1.5)
        axis.set(xlabel="epoch", ylabel=name)
        axis.grid(alpha=0.3)
        axis.locator_params(axis="x", integer=True)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(-0.03, 1.03)
    axes[0].legend(loc="upper right")


def fill_confusion_matrix(axis: plt.Axes, counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> None:
    """Draws the confusion matrix ((tp, fn), (fp, tn)): rows are the truth, columns the decision."""
    shown = ConfusionMatrixDisplay(np.asarray(counts), display_labels=class_names)
    shown.plot(ax=axis, cmap="Blues", colorbar=False, text_kw={"fontsize": 16})
    axis.set(xlabel="decision", ylabel="truth")


def draw_confusion_matrix(counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> np.ndarray:
    """Returns the confusion matrix of the test split as pixels, uint8 [height, width, 4]."""
    figure, axis = plt.subplots(figsize=(4, 3.4), layout="constrained")
    fill_confusion_matrix(axis, counts, class_names)
    axis.set_title("test split")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    plt.close(figure)
    return np.asarray(Image.open(buffer))


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a plot as PNG in one step, and closes it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
    plt.close(figure)
