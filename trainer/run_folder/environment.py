"""environment.json: what a run's numbers depend on besides its flags."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from covid_tfds.common.files import to_json
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.run_folder.caveats import NOT_VALID, list_caveats
from trainer.run_folder.results import DatasetId

IMAGENET = "ImageNet"
VGG16_ATTRIBUTION = (
    "The backbone's weights are VGG16 by Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of "
    "Oxford (https://www.robots.ox.ac.uk/~vgg/research/very_deep/), licensed CC BY 4.0 "
    "(https://creativecommons.org/licenses/by/4.0/); here without their dense layers, under a new head."
)
PACKAGES = (
    "covid-tfds",
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "keras-tuner",
    "numpy",
    "scikit-learn",
    "scipy",
    "matplotlib",
    "pillow",
)


@dataclass(frozen=True)
class Weights:
    """The backbone's weights.

    Attributes:
        name: IMAGENET, also where a file holds these weights; "random"; or the name of a weights file.
        sha256: SHA-256 of the weights.
        trained: False for random weights.
    """

    name: str
    sha256: str
    trained: bool

    @property
    def attribution(self) -> str | None:
        """Author and licence of trained weights, for whatever contains them; None for random ones."""
        return VGG16_ATTRIBUTION if self.trained else None


@dataclass(frozen=True)
class Precision:
    """The precision of the backbone's forward passes.

    Attributes:
        name: "float32" or "bfloat16".
        images: Test images on which it was compared with float32.
        largest_probability_change: Largest difference of one of their probabilities.
        flipped: How many of them are decided otherwise by one of the two rules.
    """

    name: str
    images: int = 0
    largest_probability_change: float = 0.0
    flipped: int = 0


@dataclass(frozen=True)
class Environment:
    """All of a run's environment.json.

    Attributes:
        schema: Version of the run folder's files.
        seed: The run's seed.
        recipe: The recipe that was trained; with --tune the best one found.
        weights: The backbone's weights.
        dataset: The dataset, as it was.
        notes: Caveats to show beside every metric.
        run_id: Short hash of all the above.
        versions: Version of Python and of each package that numbers depend on.
        platform: Operating system and machine.
        precision: None until it is measured, at the end of the run.
        device: "CPU", or the name of the GPU that TensorFlow computed on; None until the end of the run.
    """

    schema: int
    seed: int
    recipe: Recipe
    weights: Weights
    dataset: DatasetId
    notes: tuple[str, ...]
    run_id: str
    versions: dict[str, str]
    platform: str
    precision: Precision | None = None
    device: str | None = None

    @property
    def invalid(self) -> tuple[str, ...]:
        """Those notes that make every metric invalid."""
        return tuple(note for note in self.notes if note.startswith(NOT_VALID))


def describe_environment(config: Config, examples: Examples, recipe: Recipe, weights: Weights) -> Environment:
    """Returns what the numbers of a run with this recipe depend on; without what is measured at its end."""
    inputs: dict[str, Any] = {
        "schema": file_names.SCHEMA,
        "seed": config.seed,
        "recipe": recipe,
        "weights": weights,
        "dataset": identify_dataset(examples),
        "notes": list_caveats(config, examples),
    }
    run_id = hashlib.sha256(json.dumps(to_json(inputs), sort_keys=True).encode()).hexdigest()[:12]
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return Environment(**inputs, run_id=run_id, versions=versions, platform=platform.platform())


def identify_dataset(examples: Examples) -> DatasetId:
    """Returns which dataset `examples` are."""
    return DatasetId(
        examples.name, examples.version, examples.fingerprint, tuple(examples.class_names), examples.patients_known
    )
