"""Event files for TensorBoard in a run's folder `tensorboard/`.

    tensorboard --logdir runs

The runs `train` and `test` share their tags, so that each metric has one chart with two lines. The confusion matrices,
the heat maps and the PR curve of each class are of the test split and written once, at the end.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.pr_curve import summary as pr_curve

from covid_tfds.common.files import to_json
from covid_tfds.common.markdown import escaped
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.report import plots
from trainer.report.facts import collect_facts
from trainer.run_folder import file_names
from trainer.run_folder.details import RunDetails
from trainer.run_folder.run import Run

SHOWN_IMAGES = 8
THRESHOLDS = 127
# TensorBoard sorts by name: curves (epoch, search, trial_...) come before images, and the verdict before other texts.
IMAGES = "visuals"
FIRST_TEXT = "1_verdict"


@contextlib.contextmanager
def writer(folder: Path, name: str = "") -> Iterator[None]:
    """Makes a new event file in a folder the target of `tf.summary`, in place of older ones of the same name.

    Otherwise TensorBoard would draw the events of a killed process, too.
    """
    suffix = f".{name or 'run'}.v2"
    for path in folder.glob(f"events.out.tfevents.*{suffix}"):
        path.unlink()
    events = tf.summary.create_file_writer(str(folder), filename_suffix=suffix)
    with events.as_default():
        yield
    events.close()


def write_epochs(prefix: str, history: Sequence[dict[str, float]], group: str, classes: int) -> None:
    """Writes scalars by epoch, from 1, to the current event file.

    Args:
        prefix: Of the metrics' names in `history`: "" for training, "val_" for the held-out images.
        history: One dict per epoch.
        group: First part of the scalars' names.
        classes: How many there are.
    """
    accuracy = plots.name_accuracy(classes).replace(" ", "_")
    for number, epoch in enumerate(history, start=1):
        for metric, tag in (("loss", "loss"), ("accuracy", accuracy), ("auroc", "auroc")):
            tf.summary.scalar(f"{group}/{tag}", epoch[prefix + metric], step=number)
        if not prefix:
            tf.summary.scalar(f"{group}/learning_rate", epoch["learning_rate"], step=number)


def write_run(run: Run, details: RunDetails, features: Features, network: keras.Model) -> None:
    """Writes the events of a finished run. network: the full model."""
    examples, folder = features.examples, run.path / file_names.TENSORBOARD
    facts, classes = collect_facts(run, details), len(features.examples.class_names)
    with writer(folder / "test"):
        write_epochs("val_", details.history, "epoch", classes)
        _write_precision_recall(run, examples.class_names)
        for rule, matrix in (
            ("argmax", run.metrics.test.argmax.confusion_matrix),
            ("operating_point", run.metrics.test.confusion_matrix),
        ):
            pixels = plots.draw_confusion_matrix(matrix, examples.class_names, f"test split, {rule.replace('_', ' ')}")
            tf.summary.image(f"{IMAGES}/confusion_matrix_{rule}", pixels[None], step=0)
        _write_overlays(details)
    with writer(folder / "train"):
        write_epochs("", details.history, "epoch", classes)
        tf.summary.text(FIRST_TEXT, _describe_verdict(facts), step=0)
        tf.summary.text("config", fenced(facts["configuration"]), step=0)
        tf.summary.text("environment", fenced(to_json(run.environment)), step=0)
        shape = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")
        call = tf.function(lambda image: network(image, training=False), autograph=False)
        tf.summary.graph(call.get_concrete_function(shape).graph)
        images = pipelines.read_images(examples, examples.rows("train")[:SHOWN_IMAGES])
        tf.summary.image(f"{IMAGES}/batch_as_it_is", images / 255, step=0, max_outputs=SHOWN_IMAGES)
        if augmentation := features.recipe.augmentation:
            changed = pipelines.augmenter(augmentation, features.seed)(images, training=True)
            tf.summary.image(f"{IMAGES}/batch_augmented", changed / 255, step=0, max_outputs=SHOWN_IMAGES)


def _write_precision_recall(run: Run, class_names: Sequence[str]) -> None:
    """The PR curve of each class against the rest, test split."""
    test = [row for row in run.predictions if row.split == "test"]
    for name in class_names:
        truth = np.asarray([row.label == name for row in test])
        scores = np.asarray([row.probabilities[name] for row in test])
        curve = pr_curve.pb(name, truth, scores, num_thresholds=THRESHOLDS)
        tf.summary.experimental.write_raw_pb(curve.SerializeToString(), step=0)


def _write_overlays(details: RunDetails) -> None:
    """The test images with their heat maps; those with a second heat map without it, for all must have one size."""
    names = [image.overlay for image in details.saliency.images if image.group == "test" and image.overlay]
    overlays = [np.asarray(Image.open(io.BytesIO(details.overlays[name]))) for name in names]
    narrowest = min(overlay.shape[1] for overlay in overlays)
    scale = f"One scale for all: the brightest colour is {details.saliency.highest:.3g} logit per map cell."
    shown = np.stack([overlay[:, :narrowest] for overlay in overlays])
    tf.summary.image(f"{IMAGES}/grad_cam", shown, step=0, max_outputs=len(overlays), description=scale)


def _describe_verdict(facts: dict[str, Any]) -> str:
    """The verdict as Markdown, after what makes the metrics invalid."""
    verdict = escaped(facts["verdict"])
    lines = [*(f"**{message}**" for message in escaped(facts["invalid"])), f"**{verdict.headline}.** {verdict.text}"]
    others = facts["metrics"].shortcuts.classes.items()
    lines += [f"{escaped(name)} against the rest: {one.verdict}." for name, one in others]
    return "\n\n".join([*lines, facts["intended_use"]])


def fenced(value: dict[str, Any]) -> str:
    """Returns JSON as a Markdown code block. Texts in JSON hold no line ends, so none can end the block."""
    return f"```json\n{json.dumps(value, indent=2)}\n```"
