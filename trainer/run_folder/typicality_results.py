"""Result types of typicality.json: how typical the test images are of the training images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearestImage:
    """The training image nearest to another one: its key, class and licence, and its distance in [0, 1]."""

    image_id: str
    label: str
    license: str
    distance: float


@dataclass(frozen=True)
class ImageTypicality:
    """One test image and the training image nearest to it.

    Attributes:
        image_id: Key of the image in the dataset.
        label: Name of the class.
        license: Licence of the image; empty where none is stated.
        distance: Mean distance to the 3 nearest training images, in [0, 1].
        typicality: Full conformal p-value of the distance, in (0, 1].
        declined: Whether a predictor declines it.
        nearest: The nearest training image.
        pair: File of the run folder with the image and, to its right, the nearest one; None if it was not drawn.
    """

    image_id: str
    label: str
    license: str
    distance: float
    typicality: float
    declined: bool
    nearest: NearestImage
    pair: str | None


@dataclass(frozen=True)
class Typicality:
    """All of a run's typicality.json.

    Attributes:
        declined_at: An image is declined when its typicality is at most this.
        patients: Number of patients of the training images that others are compared with.
        reference_images: Number of these images.
        reference_distances: Mean distance of each to the 3 nearest of other patients.
        declined: Number of test images declined.
        images: Every image of the test split, the least typical first.
    """

    declined_at: float
    patients: int
    reference_images: int
    reference_distances: tuple[float, ...]
    declined: int
    images: tuple[ImageTypicality, ...]
