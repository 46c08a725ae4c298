"""From the encoded images of a dataset to batches of pixels: the train and eval pipelines.

    for images in eval_pipeline(examples, examples.rows("test"), batch_size=8): ...

Every image is decoded by covid_tfds.imaging.tensorflow_decoder and resized by the model's own first layer; datasets of
any size stream.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from trainer.features.data import Examples
from trainer.models.heads import one_hot
from trainer.models.vgg16 import build_preprocessing
from trainer.recipes import Augmentation

NAMED = 5


def augmenter(augmentation: Augmentation, seed: int) -> keras.Sequential:
    """Keras layers that change a batch of images, float [batch, h, w, 3] in 0..255, when called with training=True.

    Corners that a rotation or shift uncovers repeat the nearest pixel.
    """
    layers: list[keras.Layer] = []
    fill = {"fill_mode": "nearest", "interpolation": "bilinear"}
    if augmentation.rotation:
        layers.append(keras.layers.RandomRotation(augmentation.rotation / 360, seed=seed, **fill))
    if augmentation.translation:
        shift = augmentation.translation
        layers.append(keras.layers.RandomTranslation(shift, shift, seed=seed + 1, **fill))
    if augmentation.zoom:
        layers.append(keras.layers.RandomZoom(augmentation.zoom, seed=seed + 2, **fill))
    if augmentation.contrast:
        layers.append(keras.layers.RandomContrast(augmentation.contrast, value_range=(0, 255), seed=seed + 3))
    return keras.Sequential(layers, name="augmentation")


def _resized(examples: Examples, rows: np.ndarray) -> tf.data.Dataset:
    """Decode and resize the images of `rows` (ascending), float32 [224, 224, 3] in 0..255, in table order."""
    encoded = (examples if len(rows) == len(examples) else examples.subset(np.sort(rows))).encoded()
    return encoded.map(_decode_and_resize(), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


@functools.lru_cache(maxsize=1)
def _decode_and_resize() -> Callable[[tf.Tensor], tf.Tensor]:
    """Traced once: every pipeline of a run would spend a fifth of a second on it again."""
    from covid_tfds.imaging.tensorflow_decoder import decode_image

    resize = build_preprocessing("unit").get_layer("resize")
    signature = [tf.TensorSpec((), tf.string)]

    def read(encoded):
        return resize(tf.cast(decode_image(encoded), tf.float32))

    return tf.function(read, input_signature=signature, autograph=False)


def eval_pipeline(examples: Examples, rows: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Images of `rows` in table order, as they are: float32 [batch, 224, 224, 3] in 0..255. Nothing is dropped."""
    return _resized(examples, rows).batch(batch_size).prefetch(2)


def train_pipeline(
    examples: Examples, rows: np.ndarray, augmentation: Augmentation, batch_size: int, seed: int
) -> tf.data.Dataset:
    """(images, one-hot labels) of `rows`, shuffled and augmented anew each epoch.

    images float32 [batch, 224, 224, 3] in 0..255, labels float32 [batch, 2].
    """
    labels = tf.data.Dataset.from_tensor_slices(one_hot(examples.labels[np.sort(rows)], len(examples.class_names)))
    augment = augmenter(augmentation, seed)
    # Cached before the random steps, so that a file is decoded once and still seen differently in every epoch.
    dataset = tf.data.Dataset.zip(_resized(examples, rows), labels).cache()
    dataset = dataset.shuffle(len(rows), seed=seed, reshuffle_each_iteration=True).batch(batch_size)
    if augmentation:
        # One map after batching, not parallel: the layers' random state must be drawn from in one order.
        dataset = dataset.map(lambda image, label: (augment(image, training=True), label))
    return dataset.prefetch(2)


@contextlib.contextmanager
def naming_undecodable(examples: Examples) -> Iterator[None]:
    """Make a decoder's error in the block a UsageError that names every image that can't be decoded, and says why."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if not (bad := undecodable(examples)):
            raise
        told = "; ".join(f"{name}: {why}" for name, why in list(bad.items())[:NAMED])
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise UsageError(
            f"{len(bad)} of {len(examples)} images in {examples.name} can't be decoded. Mend or remove: {told}{more}."
        ) from error


def undecodable(examples: Examples) -> dict[str, str]:
    """{image_id: why} for every image that can't be decoded; about 0.02 s an image."""
    from covid_tfds.imaging.tensorflow_decoder import decode_image

    bad = {}
    # After an error it goes on with the next element.
    decoded = iter(examples.encoded().map(decode_image))
    for name in examples.image_id:
        try:
            next(decoded)
        except tf.errors.InvalidArgumentError as error:
            bad[str(name)] = decoding_error(error)
    return bad


def decoding_error(error: tf.errors.InvalidArgumentError) -> str:
    """What the decoder says, in one line and without TensorFlow's names of nodes."""
    line = re.sub(r"\{\{.*?\}\}", "", error.message).strip().splitlines()[0]
    line = re.sub(r"^Error in user-defined function .*? with iterator: \S+ ", "", line).split(" [Op:")[0]
    return re.sub(r"[\[\]]", "", line.removeprefix("assertion failed: "))
