"""Time parts of the work inside one process, so that imports and loading do not count.

    python -m trainer.benchmark.kernels features --images 50 --repetitions 3 --data_dir DIR

Prints one JSON object: for each way of doing the work the seconds of every repetition. The ways take turns.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from covid_tfds.common import cli
from covid_tfds.common.cores import has_bfloat16
from covid_tfds.examples import DatasetRequest, Examples
from trainer import recipes
from trainer.config import Config
from trainer.features import forward, pipelines
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.features.forward import BATCH
from trainer.features.training_set import load_training_set
from trainer.models import head_fitting, preprocessing, vgg16
from trainer.models.devices import configure_devices

BATCH_BEFORE = 8


def main() -> None:
    """Times the kernel named on the command line."""
    parser = cli.Parser(description=__doc__)
    parser.add_argument("kernel", choices=("features", "features_before", "growth", "instructions", "pipeline"))
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--weights", default="random")
    parser.add_argument("--data_dir", required=True)
    options = parser.parse_args()
    start = time.perf_counter()
    config = Config(
        data=DatasetRequest(config="phantom", num_examples=options.images, data_dir=options.data_dir),
        weights="random" if options.kernel == "growth" else options.weights,
    )
    # Before, each operation used all cores, one batch after the other.
    workers = 1 if options.kernel == "features_before" else configure_devices(config)
    examples = load_training_set(config)
    prepared = time.perf_counter() - start
    backbone = Backbone.load(config.weights, config.seed, workers=workers)
    if options.kernel == "growth":
        result = {"prepare": prepared, **time_phases(examples, backbone)}
    elif options.kernel == "features":
        result = time_features(examples, backbone, options.repetitions)
    elif options.kernel == "features_before":
        result = time_features_before(examples, backbone, options.repetitions)
    elif options.kernel == "pipeline":
        result = time_pipeline(examples, options.repetitions)
    else:
        run_convolutions(backbone)
        result = {}
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


def time_features(examples: Examples, backbone: Backbone, repetitions: int) -> dict:
    """Times backbone features, from encoded images to files on disk, and the forward passes alone; in each precision.

    The passes alone run as the features' do, side by side, on pixels that are decoded and resized before.
    """
    rows = np.arange(len(examples))
    resized = list(pipelines.eval_pipeline(examples, rows, BATCH))

    def run_passes(precision: str) -> None:
        _, run = forward.build_forward(backbone.network, precision, recipes.DEFAULT.scaling, frozen=False)
        with ThreadPoolExecutor(backbone.workers) as pool:
            for arrays in pool.map(run, resized):
                arrays[0].numpy()

    def compute(precision: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            used = dataclasses.replace(backbone, precision=precision)
            Features(examples, used, recipes.DEFAULT, 0, Path(folder)).compute(rows, 1)

    ways: dict[str, Callable[[], None]] = {}
    for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
        ways[f"passes, {precision}"] = functools.partial(run_passes, precision)
        ways[precision] = functools.partial(compute, precision)
    return time_in_turn(ways, repetitions)


def time_features_before(examples: Examples, backbone: Backbone, repetitions: int) -> dict:
    """Times the forward passes from encoded images as they were computed before they ran side by side."""
    _, run = forward.build_forward(backbone.network, "float32", recipes.DEFAULT.scaling, frozen=False)

    def compute() -> None:
        for images in pipelines.eval_pipeline(examples, np.arange(len(examples)), BATCH_BEFORE):
            run(images)[0].numpy()

    return time_in_turn({"float32": compute}, repetitions)


def run_convolutions(backbone: Backbone) -> None:
    """Runs one batch in each precision: with ONEDNN_VERBOSE=1 oneDNN prints what it computes with."""
    images = tf.zeros((BATCH, preprocessing.IMAGE_SIZE, preprocessing.IMAGE_SIZE, 3))
    for precision in ("float32", "bfloat16") if has_bfloat16() else ("float32",):
        forward.build_forward(backbone.network, precision, recipes.DEFAULT.scaling, frozen=False)[1](images)


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


def time_phases(examples: Examples, backbone: Backbone) -> dict:
    """Returns the seconds of each phase at this number of images: features, a trial of a search, prediction by Keras.

    The features are written where a training reads them; that folder must be empty.
    """
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
    seconds["predict, one thread"] = time.perf_counter() - start
    return seconds


if __name__ == "__main__":
    main()
