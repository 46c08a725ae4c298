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
    """Heat on the drawn opacities of `phantom`, means over the positive images of the test split.

    Attributes:
        heat: Share of an image's heat on its opacities.
        area: Share of the image that the opacities cover.
        ratio: Heat divided by area; 1 for a uniform heat map.
    """

    heat: Mean
    area: Mean
    ratio: Mean


@dataclass(frozen=True)
class SaliencyImage:
    """One image and its heat: by the final model, or by the folds' models that were not trained on its patient.

    Attributes:
        group: "test" for the test split, "mistake" for the largest mistakes of the cross-validation.
        image_id: Key of the image in the dataset.
        patient_id: The patient, or the image itself where patients are unknown.
        split: "train" or "test".
        label: Name of the class.
        finding: What the publisher states; empty where nothing is stated.
        license: Licence of the image; empty where none is stated.
        probabilities: By class, of the models whose heat this is: "test" the final one, "mistake" the mean over the
            repeats of the cross-validation.
        decision: At the run's operating point.
        decision_argmax: The class with the highest probability.
        overlay: File of the run folder with the image and its heat map; None if it was not drawn.
        peak: Largest heat of the positive class in a map cell, in units of its logit.
        outside_lungs: Share of that heat outside the lungs; None without heat.
        decision_peak: Largest heat of the class in `decision`, where that is drawn, too.
        on_opacities: Share of the heat on the drawn opacities; positive images of `phantom` only.
        opacities_area: Share of the image that the opacities cover; as above.
    """

    group: str
    image_id: str
    patient_id: str
    split: str
    label: str
    finding: str
    license: str
    probabilities: dict[str, float]
    decision: str
    decision_argmax: str
    overlay: str | None
    peak: float
    outside_lungs: float | None
    decision_peak: float | None = None
    on_opacities: float | None = None
    opacities_area: float | None = None


@dataclass(frozen=True)
class Saliency:
    """All of a run's saliency.json.

    Attributes:
        score: The score whose gradient Grad-CAM takes, in words.
        map_cells: Height and width of the feature map.
        lungs: What was taken for the lungs, in words: the dataset's masks, or the lung rectangle.
        area_outside_lungs: Share of a test image outside them, the mean.
        area_blind: Share of the image that the head's pooling does not read.
        highest: Heat of the brightest colour in all drawn images, in units of the logit.
        outside_lungs: Mean of the test images.
        opacities: None unless the dataset is `phantom`.
        images: Every image of the test split, those decided wrongly first; then the largest mistakes.
    """

    score: str
    map_cells: tuple[int, int]
    lungs: str
    area_outside_lungs: float
    area_blind: float
    highest: float
    outside_lungs: Mean
    opacities: Opacities | None
    images: tuple[SaliencyImage, ...]
