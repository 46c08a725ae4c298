"""The plots of a run, drawn by Matplotlib without a display."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from covid_tfds.common.files import atomic

mpl.use("Agg")

from matplotlib import pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

TRAIN_COLOUR, TEST_COLOUR = "#0072b2", "#d55e00"  # told apart by colour-blind readers too


def training_curves(path: Path, history: list[dict], title: str) -> None:
    """The tutorial's four curves, loss and accuracy on the train and test split by epoch, as a PNG.

    history: one dict an epoch with loss, accuracy, val_loss, val_accuracy.
    """
    epochs = range(1, len(history) + 1)
    figure, (loss_axis, accuracy_axis) = plt.subplots(1, 2, figsize=(9, 3.8), constrained_layout=True)
    figure.suptitle(title)
    for axis, name in ((loss_axis, "loss"), (accuracy_axis, "accuracy")):
        for key, label, colour in ((name, "train", TRAIN_COLOUR), (f"val_{name}", "test", TEST_COLOUR)):
            axis.plot(epochs, [entry[key] for entry in history], color=colour, label=label, marker=".", linewidth=1.5)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
    accuracy_axis.set_ylim(-0.03, 1.03)
    loss_axis.set_ylim(bottom=0)
    accuracy_axis.legend(loc="lower right")
    loss_axis.legend(loc="upper right")
    save(figure, path)


def confusion_matrix(counts: list[list[int]], class_names: tuple[str, str]) -> plt.Figure:
    """The confusion matrix [[tp, fn], [fp, tn]]: rows are the truth, columns the decision."""
    figure, axis = plt.subplots(figsize=(4, 3.4), layout="constrained")
    shown = ConfusionMatrixDisplay(np.asarray(counts), display_labels=class_names)
    shown.plot(ax=axis, cmap="Blues", colorbar=False, text_kw={"fontsize": 16})
    axis.set(xlabel="decision", ylabel="truth", title="test split")
    return figure


def save(figure, path: Path) -> None:
    """Write a figure as PNG under its final name in one step and free it."""
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
    plt.close(figure)
