"""Backbone features, computed once for each distinct (image, variant, backbone, scaling, seed) and kept on disk.

VGG16's forward pass is nearly all the arithmetic there is (15.5 GMAC an image) and the backbone is frozen, so what a
head can ask for is kept and every head, fold and trial reads it. One .npz file is one forward pass: the pooled vectors
of every cut and pooling and, of an unaugmented image, the feature maps and the thumbnail that the shortcut controls
look at. Its zip checksum finds damage, the key stored inside finds a foreign file, and either is computed again.
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

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic
from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.models import heads, vgg16
from trainer.recipes import CUTS, POOLINGS, Recipe

BATCH = 8
THUMBNAIL_SIDE = 32


def default_folder() -> Path:
    """covid_tfds/features in the user's cache folder ($XDG_CACHE_HOME or ~/.cache); safe to delete at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "covid_tfds" / "features"


@dataclass(frozen=True)
class Backbone:
    """A whole frozen VGG16, the hash of its weights, and the precision that its forward passes are computed in."""

    network: object
    sha256: str
    precision: str = "float32"

    @classmethod
    def load(cls, weights: str, seed: int, precision: str = "float32") -> Backbone:
        """The backbone that --weights names; raises UsageError as `load_backbone` and `check_precision` do."""
        vgg16.check_precision(precision)
        network = vgg16.load_backbone(weights, seed)
        return cls(network, vgg16.hash_weights(network), precision)


@dataclass(frozen=True)
class Features:
    """Where the features of a dataset's images under one recipe are, and how to read them.

    on_progress: told (done, total) of what is being computed, by a caller with a progress line of its own.
    """

    examples: Examples
    backbone: Backbone
    recipe: Recipe
    seed: int
    folder: Path
    on_progress: Callable[[int, int], None] | None = None

    def key(self, row: int, variant: int) -> str:
        """What decides a file's content, as JSON: image, backbone, scaling, and how a variant was drawn."""
        about = {
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
        """The file of one forward pass."""
        digest = hashlib.sha256(self.key(row, variant).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest}.npz"

    def read(self, row: int, variant: int, name: str) -> np.ndarray | None:
        """One array of a file, float32: a pooled vector [d] ("block5_pool/max") or a map [h, w, c] ("block5_pool").

        None when it is not there, damaged, or another's.
        """
        try:
            with np.load(self.path(row, variant)) as stored:
                if str(stored["key"]) == self.key(row, variant):
                    return stored[name]
        except Exception:  # zipfile and NumPy raise many kinds for a damaged file
            return None
        return None

    def write(self, row: int, variant: int, arrays: dict[str, np.ndarray]) -> None:
        """Keep what one forward pass gave, under its final name in one step."""
        path = self.path(row, variant)
        with contextlib.suppress(OSError):  # writing says it better
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            np.savez(temporary, key=np.asarray(self.key(row, variant)), **arrays)

    def compute(self, rows: np.ndarray, variants: int) -> None:
        """Make sure that files of `rows` (ascending) exist for variants 0 (the original) to variants - 1."""
        missing = {int(row): [v for v in range(variants) if not self.path(row, v).exists()] for row in rows}
        self._compute({row: wanted for row, wanted in missing.items() if wanted})

    def _compute(self, missing: dict[int, list[int]]) -> None:
        """Compute and write the files of row -> variants, whether they are there or not."""
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
        """Compute and write what is missing (row -> variants), a batch at a time; gives each batch's size."""
        forward = _forward(self.backbone.network, self.backbone.precision, self.recipe.scaling)

        def write(batch: list, features: dict[str, np.ndarray]) -> int:
            for index, (row, variant, _) in enumerate(batch):
                # Only an original's maps are looked at (by Grad-CAM), and they are 18 times the size of the rest.
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
        rows = np.asarray(list(missing))
        augment = _seeded_augmenter(self.recipe)
        with pipelines.naming_undecodable(self.examples.subset(rows)):
            for row, image in zip(missing, pipelines.eval_pipeline(self.examples, rows, 1), strict=True):
                for variant in missing[row]:
                    yield row, variant, augment(image, self.draw_seed(row, variant))[0] if variant else image[0]

    def draw_seed(self, row: int, variant: int) -> int:
        """The seed of one variant's random draws: of the image's content, so that no other image's presence matters."""
        text = f"{self.examples.sha256[row]}:{variant}:{self.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def maps(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The feature map, float32 [h, w, c], of each unaugmented image of `rows`, one at a time."""
        return (feature_map for _, _, feature_map in self._arrays(rows, 1, self.recipe.cut))

    def thumbnails(self, rows: np.ndarray) -> np.ndarray:
        """`thumbnails` of the unaugmented images, float32 [len(rows), 32, 32] in 0..255."""
        return np.stack([thumbnail for _, _, thumbnail in self._arrays(rows, 1, "thumbnail")])

    def pooled(self, rows: np.ndarray, variants: int) -> np.ndarray:
        """The head's pooling of each image and variant, float32 [len(rows), variants, d]."""
        result = np.empty((len(rows), variants, self.pooled_width), dtype=np.float32)
        flat = result.reshape(-1, result.shape[-1])
        for index, (_, _, vector) in enumerate(
            self._arrays(rows, variants, f"{self.recipe.cut}/{self.recipe.pooling}")
        ):
            flat[index] = vector
        return result

    def _arrays(self, rows: np.ndarray, variants: int, name: str) -> Iterator[tuple[int, int, np.ndarray]]:
        """(row, variant, array) for every one asked for, computing what is missing or damaged."""
        self.compute(rows, variants)
        for row in rows:
            for variant in range(variants):
                array = self.read(row, variant, name)
                if array is None:
                    print(f"{self.path(row, variant)} is damaged: computed again.", file=sys.stderr)
                    self._compute({int(row): [variant]})
                    array = self.read(row, variant, name)
                if array is None:
                    raise UsageError(f"{self.path(row, variant)} can't be read back. Is {self.folder} being emptied?")
                yield int(row), variant, array

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
    """Grey means of 7 x 7 pixels of images float32 [n, 224, 224, 3]: float32 [n, 32, 32]."""
    block = vgg16.IMAGE_SIZE // THUMBNAIL_SIDE
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


# Tracing takes as long as ten images, and a run comes back for other rows of the same network.
@functools.lru_cache(maxsize=2)
def _forward(network: keras.Model, precision: str, scaling: str):
    """A compiled function from images float32 [n, 224, 224, 3] to all that a file holds, by name."""
    network = vgg16.convert_precision(network, precision)
    prepare = vgg16.build_preprocessing(scaling)
    cuts = keras.Model(network.inputs, {cut: network.get_layer(cut).output for cut in CUTS})
    pools = {(cut, how): heads.build_pooling(how, cuts.output[cut].shape[1:]) for cut in CUTS for how in POOLINGS}

    def forward(images):
        maps = {cut: tf.cast(array, tf.float32) for cut, array in cuts(prepare(images), training=False).items()}
        pooled = {f"{cut}/{how}": pool(maps[cut]) for (cut, how), pool in pools.items()}
        return {**maps, **pooled, "thumbnail": thumbnails(images)}

    signature = [tf.TensorSpec((None, vgg16.IMAGE_SIZE, vgg16.IMAGE_SIZE, 3))]
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
