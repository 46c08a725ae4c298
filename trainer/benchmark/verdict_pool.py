"""A pool of drawn patients, each with and without a marker in a corner of the image."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

import numpy as np

from covid_tfds import phantom
from covid_tfds.common import progress
from covid_tfds.examples import FACTS, UNKNOWN, Examples
from trainer import recipes
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.validation.controls import Control, build_controls

PATIENTS = 800
# Fractions of the image's sides: top, bottom, left, right. White, in the lower right corner, outside the lungs.
MARKER = (0.905, 0.965, 0.905, 0.965)
# Without augmentation an image needs one forward pass. Without a hidden layer a head costs a fifth, and separates these
# classes as well.
RECIPE = dataclasses.replace(recipes.DEFAULT, augmentation=recipes.Augmentation(), depth=0)


@dataclass(frozen=True)
class Pool:
    """Inputs of the model and the controls: the images of all patients without the marker, then the same with it.

    Attributes:
        is_ill: bool [patients].
        pooled: float32 [2 * patients, 1, d], the backbone's pooled features.
        controls: Those that cannot see the lungs, with inputs of 2 * patients rows.
        weights: SHA-256 of the backbone.
    """

    is_ill: np.ndarray
    pooled: np.ndarray
    controls: list[Control]
    weights: str


def make_pool(weights: str, patients: int = PATIENTS) -> Pool:
    """Draws the patients and computes the features, or reads them from the feature cache.

    Args:
        weights: As --weights of `python -m trainer`.
        patients: Number of patients, even.
    """
    examples = draw_patients(patients)
    features = Features(examples, Backbone.load(weights, seed=42), RECIPE, 42, default_folder())
    everyone = np.arange(len(examples))
    pooled = features.pooled(everyone, 1)
    # The verdict reads only controls that cannot see the lungs: the others' inputs do not matter.
    controls = build_controls(examples, features.thumbnails(everyone), pooled[:, 0], pooled[:, 0])
    return Pool(
        examples.is_class(phantom.LABELS[0])[:patients],
        pooled,
        [control for control in controls if not control.sees_lungs],
        features.backbone.sha256,
    )


def draw_patients(patients: int) -> Examples:
    """Returns the images without the marker, those of ill patients first, then the same ones with it."""
    drawn = []
    with progress.Line(patients, "drawn patients", "image") as line:
        for index in (*range(0, patients, 2), *range(1, patients, 2)):  # even ones are ill
            drawn.append(phantom.draw(index))
            line.advance()
    encoded = [phantom.encode_png(one.image) for one in drawn]
    encoded += [phantom.encode_png(plant_marker(one.image)) for one in drawn]
    twice = [*drawn, *drawn]
    facts = {name: np.full(len(twice), UNKNOWN) for name in FACTS}
    facts |= {name: np.asarray([getattr(one, name) for one in twice]) for name in ("age", "sex", "view")}
    return Examples(
        name="pool of drawn patients",
        version="1",
        description="",
        class_names=phantom.LABELS,
        image_id=np.asarray([f"{one.image_id}{kind}" for kind in ("", "-marked") for one in drawn]),
        patient_id=np.asarray([one.image_id for one in twice]),
        labels=np.asarray([phantom.LABELS.index(one.label) for one in twice]),
        split=np.full(len(twice), "train"),
        sha256=np.asarray([hashlib.sha256(image).hexdigest() for image in encoded]),
        facts=facts,
        read=lambda rows: (encoded[row] for row in rows),
    )


def plant_marker(image: np.ndarray) -> np.ndarray:
    """Returns the image, uint8 [height, width], with a white square in the lower right corner."""
    height, width = image.shape
    top, bottom = (round(height * share) for share in MARKER[:2])
    left, right = (round(width * share) for share in MARKER[2:])
    marked = image.copy()
    marked[top:bottom, left:right] = 255
    return marked
