"""Compute the backbone features that a training reads, in parts: in this process or on a Dask cluster.

The arithmetic and the files are those of `backbone_features.Features`. Images are read where they are computed.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.parts import run_parts
from covid_tfds.examples import Examples
from covid_tfds.layouts.dicom_facts import PSEUDONYM, secret_file
from trainer.config import Config
from trainer.features import pipelines
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.features.training_set import MOST_HEAT_MAPS, load_training_set, sample_test
from trainer.models.devices import configure_devices
from trainer.recipes import AUGMENTATIONS, SCALINGS, TUTORIAL, Recipe, choose_recipe

IMAGES_A_PART = 32


@dataclass(frozen=True)
class ExtractPart:
    """Computes the features of some images when called; picklable, so that a Dask worker can do it.

    Attributes:
        config: Of the training that will read the features.
        recipe: Its recipe.
        fingerprint: Of its dataset: a worker whose dataset has another one is refused.
        folder: The feature cache.
        rows: Indices of the images.
    """

    config: Config
    recipe: Recipe
    fingerprint: str
    folder: Path
    rows: tuple[int, ...]

    def __call__(self) -> dict:
        """Computes what is missing.

        Returns:
            "passes": forward passes that were needed; "undecodable": "name: reason" of images that can't be decoded.

        Raises:
            UsageError: If this process reads another dataset than the command does, or can't write the cache.
        """
        examples = _load_examples(self.config, self.fingerprint)
        if examples.fingerprint != self.fingerprint:
            named_here = any(patient.startswith(PSEUDONYM) for patient in examples.patient_id)
            or_secret = f", or {secret_file()} is another one" if named_here else ""
            raise UsageError(f"{examples.name} is another dataset on this worker than in the command{or_secret}")
        if not self.folder.is_dir():
            raise UsageError(f"--features {self.folder}: no such folder on this worker")
        rows, bad = np.asarray(self.rows), dict[str, str]()
        try:
            passes = self._compute(examples, rows)
        except UsageError:
            bad = pipelines.undecodable(examples.subset(rows))
            if not bad:
                raise
            passes = self._compute(examples, rows[~np.isin(examples.image_id[rows], list(bad))])
        return {"passes": passes, "undecodable": [f"{name}: {reason}" for name, reason in bad.items()]}

    def _compute(self, examples: Examples, rows: np.ndarray) -> int:
        passes = 0
        for wanted in list_wanted(self.config, self.recipe):
            backbone = _load_backbone(self.config, wanted.weights, _get_time(wanted.weights))
            # No line of its own: parts are counted, not passes.
            features = Features(
                examples, backbone, wanted.recipe, self.config.seed, self.folder, lambda *_: None, self.config.tune
            )
            passes += features.compute(rows, wanted.variants)
            if wanted.maps:
                passes += features.compute_maps(np.intersect1d(rows, sample_test(examples, MOST_HEAT_MAPS)))
        return passes


def extract_features(config: Config, folder: Path | None, scheduler: str | None, patience: float) -> str:
    """Compute the features that a training with `config` reads and that are not there yet.

    Args:
        config: Of the training; what features do not depend on is ignored.
        folder: The feature cache; None for the trainer's own.
        scheduler: Address of a Dask scheduler; None to compute in this process.
        patience: Seconds to wait for a worker of the scheduler.

    Returns:
        What was done, in one line.

    Raises:
        UsageError: The dataset, the weights, the folder or the scheduler is unusable, or images can't be decoded; the
            others' features are there.
    """
    folder = (folder or default_folder()).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--features {folder} can't be made: {error.strerror}.") from error
    examples = load_training_set(config)
    recipe = choose_recipe(config, len(examples.rows("train")))
    if scheduler:  # else each worker of a machine would take all of its cores
        config = dataclasses.replace(config, threads=config.threads or 1)
    rows = np.array_split(np.arange(len(examples)), -(-len(examples) // IMAGES_A_PART))
    parts = {
        number: ExtractPart(config, recipe, examples.fingerprint, folder, tuple(some.tolist()))
        for number, some in enumerate(rows)
    }
    passes, undecodable, failed = 0, [], []
    with progress.Line(len(examples), "backbone features", "image") as line:
        for result in run_parts(parts, scheduler, patience):
            line.advance(len(parts[result.number].rows))
            if result.error is not None:
                failed.append(result.error)
                continue
            passes += result.values["passes"]
            undecodable += result.values["undecodable"]
    if failed:
        raise UsageError(f"{len(failed)} of {len(parts)} parts failed: {failed[0]}. The same command tries them again.")
    if undecodable:
        raise UsageError(
            f"{len(undecodable)} images can't be decoded. Repair or remove: {pipelines.listed(undecodable)}. "
            f"The features of the others are in {folder}."
        )
    total = len(examples) * sum(wanted.variants for wanted in list_wanted(config, recipe))
    return f"Complete: features of {total} images and variants in {folder}, {passes} of them computed now."


@dataclass(frozen=True)
class Wanted:
    """Forward passes of each image.

    Attributes:
        weights: Of the backbone.
        recipe: Decides scaling and augmentation.
        variants: How many of each image, the original included.
        maps: Whether Grad-CAM shows the feature maps of test images.
    """

    weights: str
    recipe: Recipe
    variants: int
    maps: bool = False


def list_wanted(config: Config, recipe: Recipe) -> list[Wanted]:
    """Returns the forward passes of a training: of its recipe, or with --tune of every recipe that a search may try.

    The cross-validation reads the variants of all images, those of the test split too; the control with an untrained
    backbone reads the originals.
    """
    changes = itertools.product(SCALINGS, AUGMENTATIONS.values()) if config.tune else []
    tried = [dataclasses.replace(TUTORIAL, scaling=one, augmentation=other) for one, other in changes] or [recipe]
    own = [Wanted(config.weights, one, one.variants, maps=not config.tune) for one in tried]
    scalings = {one.scaling: one for one in tried}
    untrained = [] if config.weights == "random" else [Wanted("random", one, 1) for one in scalings.values()]
    return own + untrained


@functools.lru_cache(maxsize=1)  # a worker keeps it from part to part, and reads one again that has changed since
def _load_examples(config: Config, fingerprint: str) -> Examples:
    return load_training_set(config)


@functools.lru_cache(maxsize=2)  # the run's own and the untrained one
def _load_backbone(config: Config, weights: str, changed_at: int) -> Backbone:
    return Backbone.load(weights, config.seed, config.precision, configure_devices(config))


def _get_time(weights: str) -> int:
    """When a file of weights was last written, in ns; 0 for weights that are no file."""
    return Path(weights).stat().st_mtime_ns if Path(weights).is_file() else 0
