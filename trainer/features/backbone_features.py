"""Backbone features, computed once for each distinct (image, variant, backbone, scaling, seed) and kept on disk.

VGG16's forward pass is nearly all of the arithmetic (15.5 GMAC per image) and the backbone is frozen, so its outputs
are stored once and read by every head, fold and trial. One .npz file holds one forward pass: the pooled vectors of
every cut and pooling and, for an unaugmented image, the feature maps and the thumbnail for the shortcut controls. A
damaged file (by its zip checksum) and a file of another pass (by the key stored in it) are computed again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic
from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import CUTS, POOLINGS, Recipe
from trainer.run_folder.environment import Weights

BATCH = 8
THUMBNAIL_SIDE = 32


def default_folder() -> Path:
    """Returns covid_tfds/features in the user's cache folder ($XDG_CACHE_HOME or ~/.cache); may be deleted any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covid_tfds" / "features"


@dataclass(frozen=True)
class Backbone:
    """A frozen VGG16.

    Attributes:
        network: All of its layers up to block5_pool.
        sha256: Hash of its weights.
        precision: Of the forward passes, "float32" or "bfloat16".
        name: Of its weights, see `Weights`.
    """

    network: keras.Model
    sha256: str
    precision: str = "float32"
    name: str = "random"

    @classmethod
    def load(cls, weights: str, seed: int, precision: str = "float32") -> Backbone:
        """Returns the backbone that --weights names; raises UsageError as `load_backbone` and `check_precision` do."""
        vgg16.check_precision(precision)
        network = vgg16.load_backbone(weights, seed)
        digest = vgg16.hash_weights(network)
        return cls(network, digest, precision, vgg16.name_weights(weights, digest))

    @property
    def weights(self) -> Weights:
        """As a run's environment.json names them."""
        return Weights(self.name, self.sha256, trained=self.name != "random")


@dataclass(frozen=True)
class Features:
    """The features of a dataset's images under one recipe: computed when they are missing, then read from disk.

    Attributes:
        examples: The dataset.
        backbone: Computes the features.
        recipe: Decides scaling, augmentation, cut and pooling.
        seed: Of the augmentation.
        folder: Where the files are.
        on_progress: Called with (done, total) in place of a progress line.

    Example:
        >>> backbone = Backbone.load("random", seed=42)  # doctest: +SKIP
        >>> features = Features(examples, backbone, recipes.DEFAULT, 42, default_folder())  # doctest: +SKIP
        >>> features.pooled(examples.rows("test"), variants=1).shape  # doctest: +SKIP
        (10, 1, 512)
    """

    examples: Examples
    backbone: Backbone
    recipe: Recipe
    seed: int
    folder: Path
    on_progress: Callable[[int, int], None] | None = None

    def key(self, row: int, variant: int) -> str:
        """Returns all that a file's content depends on, as JSON: image, backbone, scaling, augmentation and seed."""
        about: dict[str, object] = {
            "image": str(self.examples.sha256[row]),
            "weights": self.backbone.sha256,
            "scaling": self.recipe.scaling,
        }
        if self.backbone.precision != "float32":
            about["precision"] = self.backbone.precision
        if variant:
            about |= {"augmentation": asdict(self.recipe.augmentation), "variant": variant, "seed": self.seed}
        return json.dumps(about, sort_keys=True)

    def path(self, row: int, variant: int) -> Path:
        """Returns the file of one forward pass."""
        digest = hashlib.sha256(self.key(row, variant).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.npz"

    def read(self, row: int, variant: int, name: str) -> np.ndarray | None:
        """Returns one array of a file, float32; None if the file is missing, damaged, or of another forward pass.

        Args:
            row: Index of the image.
            variant: 0 for the original, else which augmented copy.
            name: "block5_pool" for a feature map [h, w, c], "block5_pool/max" for a pooled vector [d], or "thumbnail".
        """
        try:
            with self.path(row, variant).open("rb") as file, np.load(file) as stored:
                if str(stored["key"]) == self.key(row, variant):
                    return stored[name]
        except Exception:  # zipfile and NumPy raise many kinds for a damaged file
            return None
        return None

    def write(self, row: int, variant: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes the outputs of one forward pass; the file gets its name when it is complete."""
        path = self.path(row, variant)
        with contextlib.suppress(OSError):  # `atomic` reports it in one line
            path.parent.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {"key": np.asarray(self.key(row, variant)), **arrays}
        with atomic(path) as temporary:
            np.savez(temporary, **content)

    def compute(self, rows: np.ndarray, variants: int) -> None:
        """Computes what is missing.

        Args:
            rows: int [m], indices of images.
            variants: How many are needed of each, the original included.
        """
        missing = {int(row): [v for v in range(variants) if not self.path(row, v).exists()] for row in rows}
        self._compute({row: wanted for row, wanted in missing.items() if wanted})

    def _compute(self, missing: dict[int, list[int]]) -> None:
        """Computes and writes the files of row -> variants, whether they are there or not."""
        if not missing:
            return
        total = sum(map(len, missing.values()))
        if self.on_progress is not None:
            for done in itertools.accumulate(self._passes(missing)):
                self.on_progress(done, total)
            return
        with progress.Line(total, "backbone features", "image") as line:
            for count in self._passes(missing):
                line.advance(count)

    def _passes(self, missing: dict[int, list[int]]) -> Iterator[int]:
        """Computes and writes the files of row -> variants, a batch at a time; yields each batch's size."""
        forward = _forward(self.backbone.network, self.backbone.precision, self.recipe.scaling)

        def write(batch: list, features: dict[str, np.ndarray]) -> int:
            for index, (row, variant, _) in enumerate(batch):
                # Only an original's maps are read (by Grad-CAM), and they are 18 times as large as the rest.
                kept = (name for name in features if "/" in name or variant == 0)
                self.write(row, variant, {name: features[name][index] for name in kept})
            return len(batch)

        # A batch is written while the next one is computed.
        with ThreadPoolExecutor(1) as writer:
            written = None
            for batch in _batches(self._images(missing)):
                features = {name: array.numpy() for name, array in forward(tf.stack([i for _, _, i in batch])).items()}
                if written is not None:
                    yield written.result()
                written = writer.submit(write, batch, features)
            if written is not None:
                yield written.result()

    def _images(self, missing: dict[int, list[int]]) -> Iterator[tuple[int, int, tf.Tensor]]:
        """(row, variant, image float32 [224, 224, 3]) of row -> variants."""
        rows = np.asarray(list(missing))
        augment = _seeded_augmenter(self.recipe)
        with pipelines.naming_undecodable(self.examples.subset(rows)):
            for row, image in zip(missing, pipelines.eval_pipeline(self.examples, rows, 1), strict=True):
                for variant in missing[row]:
                    yield row, variant, augment(image, self.draw_seed(row, variant))[0] if variant else image[0]

    def draw_seed(self, row: int, variant: int) -> int:
        """Returns the seed of one variant's augmentation. It depends on the image's content, not on other images."""
        text = f"{self.examples.sha256[row]}:{variant}:{self.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def maps(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the feature map, float32 [h, w, c], of each unaugmented image of `rows`."""
        return self._arrays(rows, 1, self.recipe.cut)

    def thumbnails(self, rows: np.ndarray) -> np.ndarray:
        """Returns `thumbnails` of the unaugmented images, float32 [len(rows), 32, 32] in 0..255."""
        return np.stack(list(self._arrays(rows, 1, "thumbnail")))

    def pooled(self, rows: np.ndarray, variants: int) -> np.ndarray:
        """Returns the recipe's pooled vector of each image and variant, float32 [len(rows), variants, d]."""
        vectors = self._arrays(rows, variants, f"{self.recipe.cut}/{self.recipe.pooling}")
        flat = np.fromiter(vectors, np.dtype((np.float32, self.pooled_width)), len(rows) * variants)
        return flat.reshape(len(rows), variants, -1)

    def _arrays(self, rows: np.ndarray, variants: int, name: str) -> Iterator[np.ndarray]:
        """One array of every variant of every row, in that order; what is missing or damaged is computed."""
        self.compute(rows, variants)
        for row in rows:
            for variant in range(variants):
                array = self.read(row, variant, name)
                if array is None:
                    print(f"{self.path(row, variant)} is damaged: computed again.", file=sys.stderr)
                    self._compute({int(row): [variant]})
                    array = self.read(row, variant, name)
                if array is None:
                    raise UsageError(
                        f"{self.path(row, variant)} was written and can't be read. Does another process "
                        f"delete files in {self.folder}?"
                    )
                yield array

    def build_head(self) -> keras.Model:
        """Returns an untrained head that reads these features' maps."""
        return heads.build_head(self.recipe, self.map_shape, len(self.examples.class_names), self.seed)

    @property
    def targets(self) -> np.ndarray:
        """One-hot labels, float32 [n, classes]."""
        return heads.one_hot(self.examples.labels, len(self.examples.class_names))

    @property
    def pooled_width(self) -> int:
        """Length d of a pooled vector."""
        return heads.build_pooling(self.recipe.pooling, self.map_shape).output_shape[-1]

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one feature map."""
        return tuple(self.backbone.network.get_layer(self.recipe.cut).output.shape[1:])


def thumbnails(images: tf.Tensor) -> tf.Tensor:
    """Returns the means of 7 x 7 pixels and all channels, float32 [n, 32, 32], of images float32 [n, 224, 224, 3]."""
    block = preprocessing.IMAGE_SIZE // THUMBNAIL_SIDE
    return tf.reduce_mean(tf.reshape(images, (-1, THUMBNAIL_SIDE, block, THUMBNAIL_SIDE, block, 3)), (2, 4, 5))


def _batches(items: Iterator, size: int = BATCH) -> Iterator[list]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# Kept, because tracing takes as long as ten images, and a run calls it again for other rows.
@functools.lru_cache(maxsize=2)
def _forward(network: keras.Model, precision: str, scaling: str):
    """A compiled function from images float32 [n, 224, 224, 3] to the arrays of a file, by name."""
    network = vgg16.convert_precision(network, precision)
    prepare = preprocessing.build_preprocessing(scaling)
    cuts = keras.Model(network.inputs, {cut: network.get_layer(cut).output for cut in CUTS})
    pools = {(cut, how): heads.build_pooling(how, cuts.output[cut].shape[1:]) for cut in CUTS for how in POOLINGS}

    def forward(images):
        maps = {cut: tf.cast(array, tf.float32) for cut, array in cuts(prepare(images), training=False).items()}
        pooled = {f"{cut}/{how}": pool(maps[cut]) for (cut, how), pool in pools.items()}
        return {**maps, **pooled, "thumbnail": thumbnails(images)}

    signature = [tf.TensorSpec((None, preprocessing.IMAGE_SIZE, preprocessing.IMAGE_SIZE, 3))]
    return tf.function(forward, input_signature=signature, autograph=False)


def _seeded_augmenter(recipe: Recipe):
    """A function (images, seed) -> images whose draws depend on `seed` alone."""
    layers = pipelines.augmenter(recipe.augmentation, seed=0)

    @tf.function(reduce_retracing=True, autograph=False)
    def augment(images, seed):
        for index, layer in enumerate(layers.layers):
            layer.generator.state.assign([seed, index])
        return layers(images, training=True)

    return lambda images, seed: augment(images, tf.constant(seed, tf.int64))
