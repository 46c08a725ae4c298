"""Backbone features, computed once for each distinct (image, variant, backbone, scaling, seed) and kept on disk.

VGG16's forward pass is nearly all of the arithmetic (15.5 GMAC per image) and the backbone is frozen, so its outputs
are stored once and read by every head, fold and trial. Kept are the pooled vectors that the recipe reads or, for a
search, those of every cut and pooling; of an unaugmented image also the thumbnail for the shortcut controls, the
averages of the map's quarters for the typicality, and the feature map if it was asked for.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import find_cache_folder
from covid_tfds.examples import Examples
from trainer.features import forward, shards
from trainer.features.forward import POOLED, QUARTERS, THUMBNAIL
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import CUTS, Recipe
from trainer.run_folder.environment import Weights

PASSES_A_SHARD = 96  # 7 s of work, which is what a killed process loses


def default_folder() -> Path:
    """Returns the folder of the features of all runs, in the user's cache folder."""
    return find_cache_folder("features")


@dataclass(frozen=True)
class Backbone:
    """A frozen VGG16.

    Attributes:
        network: All of its layers up to block5_pool.
        sha256: Hash of its weights.
        precision: Of the forward passes, "float32" or "bfloat16".
        name: Of its weights, see `Weights`.
        workers: Forward passes side by side. Changes no bit.
    """

    network: keras.Model
    sha256: str
    precision: str = "float32"
    name: str = "random"
    workers: int = 1

    @classmethod
    def load(cls, weights: str, seed: int, precision: str = "float32", workers: int = 1) -> Backbone:
        """Returns the backbone that --weights names; raises UsageError as `load_backbone` and `choose_precision` do."""
        precision = vgg16.choose_precision(precision)
        network = vgg16.load_backbone(weights, seed)
        digest = vgg16.hash_weights(network)
        return cls(network, digest, precision, vgg16.name_weights(weights, digest), workers)

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
        for_search: Whether to keep what any recipe of a search reads, not this recipe alone.

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
    for_search: bool = False

    def key(self, variant: int) -> str:
        """Returns all that the arrays depend on besides the image, as JSON."""
        about: dict[str, object] = {
            "weights": self.backbone.sha256,
            "scaling": self.recipe.scaling,
            "precision": self.backbone.precision,
            "side": preprocessing.IMAGE_SIZE,
            "interpolation": preprocessing.INTERPOLATION,
        }
        if variant:
            about |= {"augmentation": asdict(self.recipe.augmentation), "variant": variant, "seed": self.seed}
        return json.dumps(about, sort_keys=True)

    def names(self, variant: int) -> tuple[str, ...]:
        """Returns the names of the arrays that are kept of a variant (0: the original), feature maps left out."""
        quarters = [] if variant or self.for_search else [f"{self.recipe.cut}/{QUARTERS}"]
        return tuple(sorted([*self._needed(variant), *quarters]))

    def _needed(self, variant: int) -> list[str]:
        """Names of the arrays without which a variant is computed again: a search keeps no quarters."""
        cuts, poolings = (CUTS, POOLED) if self.for_search else ([self.recipe.cut], self._poolings)
        return [f"{cut}/{how}" for cut in cuts for how in poolings] + ([] if variant else [THUMBNAIL])

    @property
    def _poolings(self) -> list[str]:
        """The poolings whose vectors, one after the other, are the recipe's."""
        return self.recipe.pooling.split("_and_")

    def compute(self, rows: np.ndarray, variants: int) -> int:
        """Computes what is missing.

        Args:
            rows: int [m], indices of images.
            variants: How many are needed of each, the original included.

        Returns:
            How many forward passes that took.
        """
        there = [shards.list_images(self.folder, self.key(v), self._needed(v)) for v in range(variants)]
        missing = {
            row: [v for v in range(variants) if image not in there[v]] for image, row in self._distinct(rows).items()
        }
        return self._compute({row: wanted for row, wanted in missing.items() if wanted})

    def _distinct(self, rows: np.ndarray) -> dict[str, int]:
        """The first row of each distinct image, by the image's hash."""
        result: dict[str, int] = {}
        for row in rows.tolist():
            result.setdefault(str(self.examples.sha256[row]), row)
        return result

    def _compute(self, missing: dict[int, list[int]], maps: bool = False) -> int:
        """Computes and writes the arrays of row -> variants, whether they are there or not; returns the passes.

        With `maps` the feature maps, without it all else.
        """
        total = sum(map(len, missing.values()))
        if not total:
            return 0
        passes = self._write_passes(missing, maps)
        if self.on_progress is not None:
            for done in itertools.accumulate(passes):
                self.on_progress(done, total)
            return total
        with progress.Line(total, "backbone features", "image") as line:
            for count in passes:
                line.advance(count)
        return total

    def _write_passes(self, missing: dict[int, list[int]], maps: bool) -> Iterator[int]:
        """Computes and writes the arrays of row -> variants; yields each batch's size."""
        waiting: dict[int, list[tuple[str, list[np.ndarray]]]] = {}

        def write() -> None:
            for variant, computed in waiting.items():
                columns = zip(*(arrays for _, arrays in computed), strict=True)
                arrays = dict(zip(names[variant], map(np.stack, columns), strict=True))
                shards.write_shard(self.folder, self.key(variant), [image for image, _ in computed], arrays)
            waiting.clear()

        variants = set(itertools.chain(*missing.values()))
        names = {variant: (self.recipe.cut,) if maps else self.names(variant) for variant in variants}
        for batch, arrays in self._run(missing):
            for index, (row, variant) in enumerate(batch):
                computed = str(self.examples.sha256[row]), [arrays[name][index] for name in names[variant]]
                waiting.setdefault(variant, []).append(computed)
            if sum(map(len, waiting.values())) >= PASSES_A_SHARD:
                write()
            yield len(batch)
        write()

    def _run(self, missing: dict[int, list[int]]) -> Iterator[tuple[list[tuple[int, int]], dict[str, np.ndarray]]]:
        backbone = self.backbone
        return forward.compute_passes(
            self.examples, self.recipe, backbone.network, backbone.precision, backbone.workers, missing, self.draw_seed
        )

    def draw_seed(self, row: int, variant: int) -> int:
        """Returns the seed of one variant's augmentation. It depends on the image's content, not on other images."""
        text = f"{self.examples.sha256[row]}:{variant}:{self.seed}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def pooled(self, rows: np.ndarray, variants: int) -> np.ndarray:
        """Returns the recipe's pooled vector of each image and variant, float32 [len(rows), variants, d]."""
        self.compute(rows, variants)
        parts = [f"{self.recipe.cut}/{how}" for how in self._poolings]
        result = np.empty((len(rows), variants, self.pooled_width), np.float32)
        for variant in range(variants):
            np.concatenate([self._read(rows, variant, part) for part in parts], axis=1, out=result[:, variant])
        return result

    def quarters(self, rows: np.ndarray) -> np.ndarray:
        """Returns `heads.average_quarters` of the map at the recipe's cut, of unaugmented images, float32 [m, 4 c]."""
        self.compute(rows, 1)
        return self._read(rows, 0, f"{self.recipe.cut}/{QUARTERS}")

    def thumbnails(self, rows: np.ndarray) -> np.ndarray:
        """Returns `forward.thumbnails` of the unaugmented images, float32 [len(rows), 32, 32] in 0..255."""
        self.compute(rows, 1)
        return self._read(rows, 0, THUMBNAIL)

    def maps(self, rows: np.ndarray) -> np.ndarray:
        """Returns the feature maps of unaugmented images, float32 [len(rows), h, w, c]. They are kept on disk."""
        self.compute_maps(rows)
        return self._read(rows, 0, self.recipe.cut)

    def compute_maps(self, rows: np.ndarray) -> int:
        """Computes the feature maps that are missing; returns how many."""
        there = shards.list_images(self.folder, self.key(0), (self.recipe.cut,))
        return self._compute({row: [0] for image, row in self._distinct(rows).items() if image not in there}, maps=True)

    def stream_maps(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the feature map, float32 [h, w, c], of each unaugmented image of `rows`; nothing is kept."""
        for _, arrays in self._run({int(row): [0] for row in rows}):
            yield from arrays[self.recipe.cut]

    def _read(self, rows: np.ndarray, variant: int, name: str) -> np.ndarray:
        """One array of a variant of every row, float32 [len(rows), ...]; what is damaged is computed again."""
        result, there = self._gather(rows, variant, name)
        if not there.all():
            self._compute({int(row): [variant] for row in rows[~there]}, maps=name == self.recipe.cut)
            result, there = self._gather(rows, variant, name)
        if not there.all():
            raise UsageError(
                f"Features were written to {self.folder} and can't be read. Does another process delete files in it?"
            )
        return result

    def _gather(self, rows: np.ndarray, variant: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One array of a variant of every row that has it, and which rows have it, bool [len(rows)]."""
        images, inverse = np.unique(self.examples.sha256[rows], return_inverse=True)
        result, there = np.empty((len(images), 0), np.float32), np.zeros(len(images), bool)
        for stored, arrays in shards.read_arrays(self.folder, self.key(variant), name):
            if not there.any():
                result = np.empty((len(images), *arrays.shape[1:]), np.float32)
            place = np.minimum(np.searchsorted(images, stored), len(images) - 1)
            wanted = images[place] == stored
            result[place[wanted]], there[place[wanted]] = arrays[wanted], True
        return result[inverse], there[inverse]

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
