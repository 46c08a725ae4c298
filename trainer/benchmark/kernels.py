"""Time parts of the work inside one process, so that imports and loading do not count.

    python -m trainer.benchmark.kernels features --images 50 --repetitions 3 --data_dir DIR

Prints one JSON object: for each way of doing the work the seconds of every repetition. The ways take turns.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from covid_tfds.common import cli
from covid_tfds.examples import DatasetRequest, Examples
from trainer import recipes
from trainer.config import Config
from trainer.features import pipelines
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.features.forward import BATCH
from trainer.features.training_set import load_training_set
from trainer.models import head_fitting, preprocessing, vgg16


def main() -> None:
    """Times the kernel named on the command line."""
    parser = cli.Parser(description=__doc__)
    parser.add_argument("kernel", choices=("features", "growth", "pipeline"))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--data_dir", required=True)
    options = parser.parse_args()
    start = time.perf_counter()
    examples = load_training_set(
        Config(
            data=DatasetRequest(config="phantom", num_examples=options.images, data_dir=options.data_dir),
            weights="random",
        )
    )
    prepared = time.perf_counter() - start
    if options.kernel == "growth":
        result = {"prepare": prepared, **time_phases(examples)}
    else:
        result = {"features": time_features, "pipeline": time_pipeline}[options.kernel](examples, options.repetitions)
    print(json.dumps(result))


def time_in_turn(ways: dict[str, Callable[[], None]], repetitions: int) -> dict[str, list[float]]:
    """Returns the seconds of each way, `repetitions` times, after one call of each that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repetitions):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def time_features(examples: Examples, repetitions: int) -> dict:
    """Times backbone features, from encoded images to files on disk, against the forward passes alone."""
    backbone = Backbone.load("random", 0)
    rows = np.arange(len(examples))
    resized = tf.concat(list(pipelines.eval_pipeline(examples, rows, BATCH)), 0)
    prepare = preprocessing.build_preprocessing(recipes.DEFAULT.scaling)
    network = vgg16.cut_backbone(backbone.network, recipes.DEFAULT.cut)
    signature = [tf.TensorSpec((None, preprocessing.IMAGE_SIZE, preprocessing.IMAGE_SIZE, 3), tf.float32)]
    forward = tf.function(lambda images: network(prepare(images), training=False), input_signature=signature)

    def floor() -> None:
        for start in range(0, len(rows), BATCH):
            forward(resized[start : start + BATCH]).numpy()

    def computed(precision: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            used = dataclasses.replace(backbone, precision=precision)
            Features(examples, used, recipes.DEFAULT, 0, Path(folder)).compute(rows, 1)

    return time_in_turn(
        {"floor": floor, "float32": lambda: computed("float32"), "bfloat16": lambda: computed("bfloat16")}, repetitions
    )


def time_pipeline(examples: Examples, repetitions: int) -> dict:
    """Times decoding and resizing of every image: the eval pipeline against the same calls in a plain loop."""
    from covid_tfds.imaging.tensorflow_decoder import decode_image

    rows = np.arange(len(examples))
    resize = preprocessing.build_preprocessing("unit").get_layer("resize")

    def plain() -> None:
        for encoded in examples.read(rows):
            resize(tf.cast(decode_image(encoded), tf.float32))

    def streamed() -> None:
        for _ in pipelines.eval_pipeline(examples, rows, BATCH):
            pass

    return time_in_turn({"plain loop": plain, "eval_pipeline": streamed}, repetitions)


def time_phases(examples: Examples) -> dict:
    """Returns the seconds of each phase at this number of images: features, a trial of a search, prediction by Keras.

    The features are written where a training reads them; that folder must be empty.
    """
    backbone = Backbone.load("random", Config().seed)
    recipe = dataclasses.replace(recipes.DEFAULT, augmentation=recipes.Augmentation())
    rows = np.arange(len(examples))
    seconds = {}
    features = Features(examples, backbone, recipe, 0, default_folder())
    start = time.perf_counter()
    pooled = features.pooled(rows, 1)
    seconds["features"] = time.perf_counter() - start
    folds = [head_fitting.Fold(rows[rows % 5 != fold], rows[rows % 5 == fold]) for fold in range(5)]
    start = time.perf_counter()
    fitted = head_fitting.fit_heads(recipe, pooled, features.targets, folds, 0)
    seconds["a trial (5 folds)"] = time.perf_counter() - start
    head = features.build_head()
    head.set_weights(fitted.weights[0])
    cut = vgg16.cut_backbone(backbone.network, recipe.cut)
    network = vgg16.assemble_model(preprocessing.build_preprocessing(recipe.scaling), cut, head)
    start = time.perf_counter()
    network.predict(pipelines.eval_pipeline(examples, rows, BATCH), verbose=0)
    seconds["predict"] = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()
