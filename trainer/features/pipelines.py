"""From the encoded images of a dataset to batches of pixels: the train and eval pipelines.

    for images in eval_pipeline(examples, examples.rows("test"), batch_size=8): ...

Every image is decoded by `decode_any_image` and resized by the model's own first layer. Datasets of
any size stream.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from covid_tfds import tf_data
from covid_tfds.common.cores import count_threads
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import Examples
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import decode_image
from covid_tfds.imaging.tensorflow_decoder import decode_any_image
from trainer.models.heads import one_hot
from trainer.models.preprocessing import build_preprocessing
from trainer.recipes import Augmentation

MOST_NAMED = 5
MOST_SHOWN = 64  # images of 0.6 MB
_shown: dict[str, np.ndarray] = {}  # by SHA-256 of the encoded image, the latest last


def augmenter(augmentation: Augmentation, seed: int) -> keras.Sequential:
    """Returns layers that augment images, float [batch, h, w, 3] in 0..255, when called with training=True.

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


def eval_pipeline(examples: Examples, rows: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Returns a pipeline of images without augmentation, in the order of `rows`; none is dropped.

    Args:
        examples: The dataset.
        rows: int [m], indices of the images.
        batch_size: Images in a batch; the last may hold fewer.

    Returns:
        Batches float32 [batch, 224, 224, 3] in 0..255.
    """
    return _resized(examples, rows).batch(batch_size).prefetch(2)


def train_pipeline(
    examples: Examples, rows: np.ndarray, augmentation: Augmentation, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Returns a pipeline of images with their labels, shuffled and augmented again in each epoch.

    Args:
        examples: The dataset.
        rows: int [m], indices of the images.
        augmentation: Kinds and ranges of the random changes.
        batch_size: Images in a batch; the last may hold fewer.
        seed: Of the shuffling and the augmentation.

    Returns:
        Pairs of images, float32 [batch, 224, 224, 3] in 0..255, and one-hot labels, float32 [batch, classes].
    """
    labels = tf.data.Dataset.from_tensor_slices(one_hot(examples.labels[rows], len(examples.class_names)))
    augment = augmenter(augmentation, seed)
    # Cached before the random steps, so that a file is decoded once and still augmented anew in every epoch.
    dataset = tf.data.Dataset.zip(_resized(examples, rows), labels).cache()
    dataset = dataset.shuffle(len(rows), seed=seed, reshuffle_each_iteration=True).batch(batch_size)
    if augmentation:
        # One map after batching, not parallel: the layers' random state must be drawn from in one order.
        dataset = dataset.map(lambda image, label: (augment(image, training=True), label))
    return dataset.prefetch(2)


def _resized(examples: Examples, rows: np.ndarray) -> tf.data.Dataset:
    """The images of `rows`, decoded and resized: float32 [224, 224, 3] in 0..255."""
    signature = tf.TensorSpec((), tf.string)
    encoded = tf.data.Dataset.from_generator(lambda: read_checked(examples, rows), output_signature=signature)
    encoded = encoded.apply(tf.data.experimental.assert_cardinality(len(rows))).with_options(tf_data.options())
    return encoded.map(decode_and_resize(), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def read_checked(examples: Examples, rows: np.ndarray) -> Iterator[bytes]:
    """Yields the encoded images of `rows`, int [m]: the very bytes that were hashed when the dataset was read.

    Raises:
        UsageError: If an image has changed since.
    """
    for row, encoded in zip(rows, examples.read(rows), strict=True):
        if hashlib.sha256(encoded).hexdigest() != examples.sha256[row]:
            raise UsageError(
                f"{examples.image_id[row]} in {examples.name} has changed since this command read it first. Leave the "
                "images as they are while it runs, and give the same command again."
            )
        yield encoded


def read_images(examples: Examples, rows: np.ndarray) -> np.ndarray:
    """Returns a few images to show, float32 [m, 224, 224, 3] in 0..255: the pixels of `eval_pipeline`.

    Without its start-up, and without decoding again what was shown lately: decoding a large radiograph takes as long as
    a forward pass.

    Args:
        examples: The dataset.
        rows: int [m], indices of the images.
    """
    images = examples.sha256[rows].tolist()
    missing = {image: row for image, row in zip(images, rows.tolist(), strict=True) if image not in _shown}
    if missing:
        decode, new = decode_and_resize(), np.asarray(list(missing.values()))
        with naming_undecodable(examples.subset(new)), ThreadPoolExecutor(count_threads()) as pool:
            decoded = list(pool.map(lambda encoded: decode(encoded).numpy(), read_checked(examples, new)))
        _shown.update(zip(missing, decoded, strict=True))
    result = np.stack([_shown[image] for image in images])
    for image in list(_shown)[:-MOST_SHOWN]:
        del _shown[image]
    return result


@functools.lru_cache(maxsize=1)
def decode_and_resize() -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a compiled decoder and resizer; traced once, because each trace takes a fifth of a second."""
    resize = build_preprocessing("unit").get_layer("resize")
    signature = [tf.TensorSpec((), tf.string)]

    def decode_and_resize(encoded):
        return resize(tf.cast(decode_any_image(encoded), tf.float32))

    return tf.function(decode_and_resize, input_signature=signature, autograph=False)


@contextlib.contextmanager
def naming_undecodable(examples: Examples) -> Iterator[None]:
    """Turns an error of a pipeline over `examples` in the block into one that names all images it fails on.

    Raises:
        UsageError: If images can't be decoded or read. Names them, with the reasons.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if own := re.search(r"UsageError: (.+)", error.message):  # raised inside a tf.data generator
            raise UsageError(own[1]) from error
        if not (bad := undecodable(examples)):
            raise
        raise UsageError(
            f"{len(bad)} image(s) in {examples.name} can't be decoded. Repair or remove: "
            f"{listed([f'{name}: {reason}' for name, reason in bad.items()])}."
        ) from error


def undecodable(examples: Examples) -> dict[str, str]:
    """Returns {image_id: reason} of all images that can't be decoded. Takes about 0.02 s per image."""
    bad = {}
    for name, encoded in zip(examples.image_id, read_checked(examples, np.arange(len(examples))), strict=True):
        try:
            decode_any_image(encoded)
        except (tf.errors.OpError, ImageError) as error:
            bad[str(name)] = _reason(encoded, error)
    return bad


def _reason(encoded: bytes, error: tf.errors.OpError | ImageError) -> str:
    """Why an image can't be decoded, in the words of the reader; else TensorFlow's first line."""
    try:
        decode_image(encoded)
    except ImageError as reason:
        return str(reason)
    return str(error).strip().splitlines()[0]


def listed(texts: Sequence[str]) -> str:
    """Returns the first texts in one line, and how many more there are."""
    more = [f"and {len(texts) - MOST_NAMED} more"] if len(texts) > MOST_NAMED else []
    return "; ".join([*texts[:MOST_NAMED], *more])
