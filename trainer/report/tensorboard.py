"""Event files for TensorBoard in a run's folder `tensorboard/`.

    tensorboard --logdir runs

The runs `train` and `test` share their tags, so that each metric has one chart with two lines. The confusion matrix,
the heat maps and the PR curve are of the test split and written once, at the end.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.pr_curve import summary as pr_curve

from covid_tfds.common.files import to_json
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.report import plots
from trainer.run_folder import file_names
from trainer.run_folder.details import RunDetails
from trainer.run_folder.run import Run

EPOCH_METRICS = ("loss", "accuracy", "auroc")
SHOWN_IMAGES = 8
THRESHOLDS = 127


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


def write_epochs(prefix: str, history: Sequence[dict[str, float]], group: str) -> None:
    """Writes scalars by epoch, from 1, to the current event file.

    Args:
        prefix: Of the metrics' names in `history`: "" for training, "val_" for the held-out images.
        history: One dict per epoch.
        group: First part of the scalars' names.
    """
    for number, epoch in enumerate(history, start=1):
        for metric in EPOCH_METRICS:
            tf.summary.scalar(f"{group}/{metric}", epoch[prefix + metric], step=number)
        if not prefix:
            tf.summary.scalar(f"{group}/learning_rate", epoch["learning_rate"], step=number)


def write_run(run: Run, details: RunDetails, features: Features, network: keras.Model) -> None:
    """Writes the events of a finished run. network: the full model."""
    examples, folder = features.examples, run.path / file_names.TENSORBOARD
    with writer(folder / "test"):
        write_epochs("val_", details.history, "epoch")
        test = [row for row in run.predictions if row.split == "test"]
        truth = np.asarray([row.label == run.metrics.positive_class for row in test])
        scores = np.asarray([row.p_positive for row in test])
        curve = pr_curve.pb(run.metrics.positive_class, truth, scores, num_thresholds=THRESHOLDS)
        tf.summary.experimental.write_raw_pb(curve.SerializeToString(), step=0)
        matrix = plots.draw_confusion_matrix(run.metrics.test.confusion_matrix, examples.class_names)
        tf.summary.image("confusion_matrix", matrix[None], step=0)
        names = [image.overlay for image in details.saliency.images if image.group == "test" and image.overlay]
        overlays = [np.asarray(Image.open(io.BytesIO(details.overlays[name]))) for name in names]
        tf.summary.image("grad_cam", np.stack(overlays), step=0, max_outputs=len(overlays))
    with writer(folder / "train"):
        write_epochs("", details.history, "epoch")
        tf.summary.text("config", fenced(json.loads(run.config.to_json())), step=0)
        tf.summary.text("environment", fenced(to_json(run.environment)), step=0)
        shape = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")
        call = tf.function(lambda image: network(image, training=False), autograph=False)
        tf.summary.graph(call.get_concrete_function(shape).graph)
        images = next(iter(pipelines.eval_pipeline(examples, examples.rows("train")[:SHOWN_IMAGES], SHOWN_IMAGES)))
        tf.summary.image("batch/as_it_is", images / 255, step=0, max_outputs=SHOWN_IMAGES)
        if augmentation := features.recipe.augmentation:
            changed = pipelines.augmenter(augmentation, features.seed)(images, training=True)
            tf.summary.image("batch/augmented", changed / 255, step=0, max_outputs=SHOWN_IMAGES)


def fenced(value: dict) -> str:
    """Returns JSON as a Markdown code block. Texts in JSON hold no line ends, so none can end the block."""
    return f"```json\n{json.dumps(value, indent=2)}\n```"
