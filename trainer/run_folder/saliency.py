"""Result types of saliency.json: where the heat of Grad-CAM lies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """The mean of a measure over the images that have it; value is None if none has."""

    value: float | None
    n: int


@dataclass(frozen=True)
class Opacities:
    """Heat on the drawn opacities of `phantom`, means over the covid images of the test split.

    Attributes:
        heat: Share of an image's heat on its opacities.
        area: Share of the image that the opacities cover.
        ratio: Heat divided by area; 1 if the heat has no preference.
    """

    heat: Mean
    area: Mean
    ratio: Mean


@dataclass(frozen=True)
class SaliencyImage:
    """One image and its heat.

    Attributes:
        group: "test" for the test split, "mistake" for the largest mistakes of the cross-validation.
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        split: "train" or "test".
        label: Name of the class.
        license: Licence of the image; empty where none is stated.
        p_covid: The final model's probability of covid.
        overlay: File of the run folder with the image and its heat map; None if it was not drawn.
        outside_lungs: Share of the heat outside the lung rectangle; None without heat.
        p_out_of_fold: Mean out-of-fold probability; "mistake" only.
        on_opacities: Share of the heat on the drawn opacities; covid images of `phantom` only.
        opacities_area: Share of the image that the opacities cover; as above.
    """

    group: str
    image_id: str
    patient_id: str
    split: str
    label: str
    license: str
    p_covid: float
    overlay: str | None
    outside_lungs: float | None
    p_out_of_fold: float | None = None
    on_opacities: float | None = None
    opacities_area: float | None = None


@dataclass(frozen=True)
class Saliency:
    """All of a run's saliency.json.

    Attributes:
        score: The score whose gradient Grad-CAM takes, in words.
        map_cells: Height and width of the feature map.
        lungs: Top, bottom, left and right of the lung rectangle, as fractions of the image's sides.
        area_outside_lungs: Share of the image outside it.
        area_blind: Share of the image that the head's pooling does not read.
        outside_lungs: Mean of the test images.
        opacities: None unless the dataset is `phantom`.
        images: Every image of the test split, those decided wrongly first; then the largest mistakes.
    """

    score: str
    map_cells: tuple[int, int]
    lungs: tuple[float, float, float, float]
    area_outside_lungs: float
    area_blind: float
    outside_lungs: Mean
    opacities: Opacities | None
    images: tuple[SaliencyImage, ...]
