"""What TensorBoard shows of a run: event files in its folder `tensorboard/`.

    tensorboard --logdir runs

The runs `train` and `test` share their tags, so that each figure has one chart with two lines. The confusion matrix,
the heat maps and the PR curve are of the test split and written once, at the end.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.pr_curve import summary as pr_curve

from covid_tfds.common.files import read_json
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.metrics import classification
from trainer.report import plots
from trainer.run_folder import file_names

EPOCH_FIGURES = ("loss", "accuracy", "auroc")
SHOWN_IMAGES = 8
THRESHOLDS = 127


@contextlib.contextmanager
def writer(folder: Path, name: str = "") -> Iterator[None]:
    """Make new events in a folder the default writer's, closed at the end, in place of those of the same name.

    What a killed process left would be drawn as well.
    """
    suffix = f".{name or 'run'}.v2"
    for path in folder.glob(f"events.out.tfevents.*{suffix}"):
        path.unlink()
    events = tf.summary.create_file_writer(str(folder), filename_suffix=suffix)
    with events.as_default():
        yield
    events.close()


def write_epochs(prefix: str, history: list[dict], group: str) -> None:
    """Scalars by epoch, from 1, to the default writer: the figures whose names in `history` begin with prefix."""
    for epoch, entry in enumerate(history, start=1):
        for figure in EPOCH_FIGURES:
            tf.summary.scalar(f"{group}/{figure}", entry[prefix + figure], step=epoch)
        if not prefix:
            tf.summary.scalar(f"{group}/learning_rate", entry["learning_rate"], step=epoch)


def write_run(
    folder: Path, cached: Features, network: keras.Model, history: list[dict], p_covid: np.ndarray, threshold: float
) -> None:
    """A finished run's pages. network: the full model. p_covid: its probabilities, float [n] of all images."""
    examples = cached.examples
    test = examples.rows("test")
    where = folder / file_names.TENSORBOARD
    with writer(where / "test"):
        write_epochs("val_", history, "epoch")
        truth = examples.labels[test]
        curve = pr_curve.pb("covid", truth == classification.POSITIVE, p_covid[test], num_thresholds=THRESHOLDS)
        tf.summary.experimental.write_raw_pb(curve.SerializeToString(), step=0)
        matrix = classification.confusion(truth, p_covid[test], threshold)
        tf.summary.image("confusion_matrix", _picture(plots.confusion_matrix(matrix, examples.class_names)), step=0)
        seen = read_json(folder / file_names.SALIENCY)["images"]
        names = [one["picture"] for one in seen if one["group"] == "test" and one["picture"]]
        overlays = np.stack([np.asarray(Image.open(folder / name)) for name in names])
        tf.summary.image("grad_cam", overlays, step=0, max_outputs=len(overlays))
    with writer(where / "train"):
        write_epochs("", history, "epoch")
        tf.summary.text("config", fenced(folder / file_names.CONFIG), step=0)
        tf.summary.text("environment", fenced(folder / file_names.ENVIRONMENT), step=0)
        shape = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")
        call = tf.function(lambda image: network(image, training=False), autograph=False)
        tf.summary.graph(call.get_concrete_function(shape).graph)
        images = next(iter(pipelines.eval_pipeline(examples, examples.rows("train")[:SHOWN_IMAGES], SHOWN_IMAGES)))
        tf.summary.image("batch/as_it_is", images / 255, step=0, max_outputs=SHOWN_IMAGES)
        if policy := cached.recipe.augmentation:
            changed = pipelines.augmenter(policy, cached.seed)(images, training=True)
            tf.summary.image("batch/augmented", changed / 255, step=0, max_outputs=SHOWN_IMAGES)


def fenced(path: Path) -> str:
    """A JSON file as Markdown that is shown as it stands: JSON has no line ends in texts, so none can end the fence."""
    return f"```json\n{path.read_text(encoding='utf-8').strip()}\n```"


def _picture(figure) -> np.ndarray:
    """A Matplotlib figure's pixels, uint8 [1, height, width, 4]."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    plots.plt.close(figure)
    return np.asarray(Image.open(buffer))[None]


@contextlib.contextmanager
def profiled(folder: Path, wanted: bool) -> Iterator[None]:
    """With --profile, record what the block does for TensorBoard's Profile plugin."""
    if not wanted:
        yield
        return
    with tf.profiler.experimental.Profile(str(folder / file_names.TENSORBOARD / "train")):
        yield
