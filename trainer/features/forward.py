"""Run images through the frozen backbone: read, check, decode, resize, augment, forward pass; in order, on all cores.

Images are decoded ahead on other threads, and forward passes run side by side with one thread each: no operation waits
for another thread. A pass gives the same bits whatever runs beside it and whatever else is in its batch.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from covid_tfds.common.cores import read_cpu_flags
from covid_tfds.common.in_order import map_in_order
from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import CUTS, Recipe

BATCH = 4
THUMBNAIL_SIDE = 32
THUMBNAIL = "thumbnail"
QUARTERS = "quarters"
POOLED = ("corner", "average", "max")  # "average_and_max" is the second beside the third
# Constants let oneDNN keep its own layout of the weights, which saves 4 ms a pass with AMX and nothing without; making
# them takes 2 s and 1.6 GB.
FREEZE_FROM = 1000


def compute_passes(
    examples: Examples,
    recipe: Recipe,
    network: keras.Model,
    precision: str,
    workers: int,
    missing: dict[int, list[int]],
    draw_seed: Callable[[int, int], int],
) -> Iterator[tuple[list[tuple[int, int]], dict[str, np.ndarray]]]:
    """Yields (row, variant) in order, a batch at a time, with the arrays of their forward passes by name.

    Args:
        examples: The images.
        recipe: Decides scaling and augmentation.
        network: VGG16.
        precision: Of the forward passes.
        workers: Forward passes side by side.
        missing: Row -> variants.
        draw_seed: (row, variant) -> seed of the augmentation.

    Returns:
        Batches and, by name, float32 [batch, ...]: "block5_pool" the feature map, "block5_pool/max" a pooled vector,
        "block5_pool/quarters" the averages of the map's quarters, the same of each cut, and "thumbnail".

    Raises:
        UsageError: If images can't be read or decoded, or have changed since they were hashed.
    """
    freezes = "amx_bf16" in read_cpu_flags() and sum(map(len, missing.values())) >= FREEZE_FROM
    names, forward = build_forward(network, precision, recipe.scaling, frozen=freezes)

    def run(batch: list[tuple[int, int, tf.Tensor]]) -> tuple[list[tuple[int, int]], dict[str, np.ndarray]]:
        rows, variants, images = zip(*batch, strict=True)
        arrays = [array.numpy() for array in forward(tf.stack(images))]
        return list(zip(rows, variants, strict=True)), dict(zip(names, arrays, strict=True))

    images = _images(examples, recipe, workers, missing, draw_seed)
    with ThreadPoolExecutor(workers) as pool:
        yield from map_in_order(pool, run, iter(lambda: [*itertools.islice(images, BATCH)], []), 2 * workers)


def _images(
    examples: Examples,
    recipe: Recipe,
    workers: int,
    missing: dict[int, list[int]],
    draw_seed: Callable[[int, int], int],
) -> Iterator[tuple[int, int, tf.Tensor]]:
    """(row, variant, image float32 [224, 224, 3] in 0..255) of row -> variants."""
    rows = np.asarray(list(missing))
    augment = _seeded_augmenter(recipe)
    with pipelines.naming_undecodable(examples.subset(rows)), ThreadPoolExecutor(workers) as pool:
        encoded = pipelines.read_checked(examples, rows)
        images = map_in_order(pool, pipelines.decode_and_resize(), encoded, 2 * workers)
        for row, image in zip(missing, images, strict=True):
            for variant in missing[row]:
                drawn = augment(image[None], draw_seed(row, variant))[0] if variant else image
                yield row, variant, drawn


# Kept, because tracing takes as long as ten images, and a run calls it again for other rows.
@functools.lru_cache(maxsize=2)
def build_forward(network: keras.Model, precision: str, scaling: str, frozen: bool) -> tuple[list[str], Callable]:
    """Returns names, and a compiled function from images float32 [n, 224, 224, 3] to the arrays of these names.

    Args:
        network: VGG16.
        precision: "float32" or "bfloat16".
        scaling: As `build_preprocessing` takes it.
        frozen: Whether to turn the weights into constants. Changes no bit.
    """
    network = vgg16.convert_precision(network, precision)
    prepare = preprocessing.build_preprocessing(scaling)
    cuts = keras.Model(network.inputs, {cut: network.get_layer(cut).output for cut in CUTS})
    pools = {(cut, how): heads.build_pooling(how, cuts.output[cut].shape[1:]) for cut in CUTS for how in POOLED}

    def forward(images):
        maps = {cut: tf.cast(array, tf.float32) for cut, array in cuts(prepare(images), training=False).items()}
        pooled = [pool(maps[cut]) for (cut, _), pool in pools.items()]
        quarters = [heads.average_quarters(maps[cut]) for cut in CUTS]
        return [maps[cut] for cut in CUTS] + pooled + quarters + [thumbnails(images)]

    signature = [tf.TensorSpec((None, preprocessing.IMAGE_SIZE, preprocessing.IMAGE_SIZE, 3))]
    compiled = tf.function(forward, input_signature=signature, autograph=False).get_concrete_function()
    names = [*CUTS, *(f"{cut}/{how}" for cut, how in pools), *(f"{cut}/{QUARTERS}" for cut in CUTS), THUMBNAIL]
    return names, convert_variables_to_constants_v2(compiled) if frozen else compiled


def thumbnails(images: tf.Tensor) -> tf.Tensor:
    """Returns the means of 7 x 7 pixels and all channels, float32 [n, 32, 32], of images float32 [n, 224, 224, 3]."""
    block = preprocessing.IMAGE_SIZE // THUMBNAIL_SIDE
    return tf.reduce_mean(tf.reshape(images, (-1, THUMBNAIL_SIDE, block, THUMBNAIL_SIDE, block, 3)), (2, 4, 5))


def _seeded_augmenter(recipe: Recipe):
    """A function (images, seed) -> images whose draws depend on `seed` alone."""
    layers = pipelines.augmenter(recipe.augmentation, seed=0)

    @tf.function(reduce_retracing=True, autograph=False)
    def augment(images, seed):
        for index, layer in enumerate(layers.layers):
            layer.generator.state.assign([seed, index])
        return layers(images, training=True)

    return lambda images, seed: augment(images, tf.constant(seed, tf.int64))
