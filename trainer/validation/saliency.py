"""Measure and draw the Grad-CAM heat maps of the test images and of the cross-validation's largest mistakes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

import keras
import matplotlib as mpl
import numpy as np
from PIL import Image

from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.features.training_set import MOST_HEAT_MAPS, sample_test
from trainer.models.preprocessing import IMAGE_SIZE
from trainer.run_folder import file_names
from trainer.run_folder.saliency import Mean, Opacities, Saliency, SaliencyImage
from trainer.validation.grad_cam import SCORE, compute_heat_maps, compute_share, enlarge, find_blind_cells
from trainer.validation.lung_rectangle import LUNGS, lung_mask

BATCH = 64
SHOWN = {"test": 12, "mistake": 6}  # images drawn for the report
HEAT_COLOURS = "inferno"


def measure_saliency(
    features: Features, head: keras.Model, p_covid: np.ndarray, p_out_of_fold: np.ndarray, threshold: float
) -> tuple[Saliency, dict[str, bytes]]:
    """Returns saliency.json, and JPEG files of the drawn images by name (see `draw_overlay`).

    All heat maps are the final head's, which has trained on some of the cross-validation's mistakes.

    Args:
        features: Of the final backbone.
        head: The final head.
        p_covid: float [n], its probability of covid for every image.
        p_out_of_fold: float [n], out-of-fold probabilities, mean over repeats.
        threshold: Decides which images are mistakes.
    """
    examples = features.examples
    test = _sort_by_error(examples, sample_test(examples, MOST_HEAT_MAPS), p_covid, threshold)
    mistakes = _find_mistakes(examples, p_out_of_fold, threshold)[: SHOWN["mistake"]]
    rows = np.union1d(test, mistakes)
    heat, blind = _compute_heat(features, head, rows), find_blind_cells(head)
    outside = dict(zip(rows.tolist(), _share_outside_lungs(heat), strict=True))
    opacities = _share_on_opacities(examples, rows, heat)
    shown = np.union1d(test[: SHOWN["test"]], mistakes)
    names = {row: f"{file_names.OVERLAYS}/{number:02d}.jpg" for number, row in enumerate(shown.tolist())}

    def describe(row: int, group: str, drawn: bool, p_out_of_fold: float | None = None) -> SaliencyImage:
        on_opacities, area = opacities.get(row, (None, None))
        return SaliencyImage(
            group=group,
            image_id=str(examples.image_id[row]),
            patient_id=str(examples.groups[row]),
            split=str(examples.split[row]),
            label=examples.class_names[examples.labels[row]],
            license=str(examples.facts["license"][row]),
            p_covid=float(p_covid[row]),
            overlay=names[row] if drawn else None,
            outside_lungs=outside[row],
            p_out_of_fold=p_out_of_fold,
            on_opacities=on_opacities,
            opacities_area=area,
        )

    images = [describe(row, "test", place < SHOWN["test"]) for place, row in enumerate(test.tolist())]
    images += [describe(row, "mistake", True, float(p_out_of_fold[row])) for row in mistakes.tolist()]
    files = _draw_files(examples, shown, heat[np.searchsorted(rows, shown)], blind)
    result = _summarize(images, features.map_shape[:2], float(blind.mean()), has_opacities=_is_phantom(examples))
    return result, dict(zip(names.values(), files, strict=True))


def _sort_by_error(examples: Examples, rows: np.ndarray, p_covid: np.ndarray, threshold: float) -> np.ndarray:
    """The rows decided wrongly, then the others, each by the error of the probability, the largest first."""
    is_positive = examples.is_positive[rows]
    correct = (p_covid[rows] >= threshold) == is_positive
    return rows[np.lexsort((-np.abs(is_positive - p_covid[rows]), correct))]


def _find_mistakes(examples: Examples, p_covid: np.ndarray, threshold: float) -> np.ndarray:
    """The rows decided wrongly, the largest error of the probability first."""
    is_positive = examples.is_positive
    wrong = np.flatnonzero((p_covid >= threshold) != is_positive)
    return wrong[np.argsort(-np.abs(is_positive[wrong] - p_covid[wrong]), kind="stable")]


def _compute_heat(features: Features, head: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Heat maps of the rows, float32 [n, h, w]."""
    batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
    return np.concatenate([compute_heat_maps(head, features.maps(batch)) for batch in batches])


def _share_outside_lungs(heat: np.ndarray) -> list[float | None]:
    """The share of each map's heat outside the lung rectangle; None without heat."""
    outside = ~lung_mask(IMAGE_SIZE, IMAGE_SIZE)
    # By batches: enlarged, all maps at once would need too much memory.
    batches = (heat[start : start + BATCH] for start in range(0, len(heat), BATCH))
    return [_defined(share) for batch in batches for share in compute_share(enlarge(batch, IMAGE_SIZE), outside)]


def _share_on_opacities(
    examples: Examples, rows: np.ndarray, heat: np.ndarray
) -> dict[int, tuple[float | None, float]]:
    """For covid images of `phantom`: the share of the heat on the drawn opacities, and their share of the image."""
    if not _is_phantom(examples):
        return {}
    result = {}
    for row, one in zip(rows.tolist(), heat, strict=True):
        if examples.is_positive[row]:
            mask = _draw_opacities(str(examples.image_id[row]))
            share = compute_share(enlarge(one[None], IMAGE_SIZE), mask)[0]
            result[row] = _defined(share), float(mask.mean())
    return result


def _is_phantom(examples: Examples) -> bool:
    return examples.name.startswith("covid_tfds/phantom")


def _draw_opacities(image_id: str) -> np.ndarray:
    """Where the opacities of a `phantom` image are after resizing, bool [224, 224]."""
    from covid_tfds import phantom

    mask = Image.fromarray(phantom.draw_by_id(image_id).opacity_mask)
    return np.asarray(mask.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST))


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _summarize(
    images: list[SaliencyImage], map_cells: tuple[int, int], area_blind: float, has_opacities: bool
) -> Saliency:
    test = [image for image in images if image.group == "test"]
    shares = [
        (image.on_opacities, image.opacities_area)
        for image in test
        if image.on_opacities is not None and image.opacities_area
    ]
    opacities = Opacities(
        heat=_mean(heat for heat, _ in shares),
        area=_mean(area for _, area in shares),
        ratio=_mean(heat / area for heat, area in shares),
    )
    return Saliency(
        score=SCORE,
        map_cells=map_cells,
        lungs=LUNGS,
        area_outside_lungs=float(1 - lung_mask(IMAGE_SIZE, IMAGE_SIZE).mean()),
        area_blind=area_blind,
        outside_lungs=_mean(image.outside_lungs for image in test if image.outside_lungs is not None),
        opacities=opacities if has_opacities else None,
        images=tuple(images),
    )


def _mean(values: Iterable[float]) -> Mean:
    values = list(values)
    return Mean(float(np.mean(values)) if values else None, len(values))


def _draw_files(examples: Examples, rows: np.ndarray, heat: np.ndarray, blind: np.ndarray) -> Iterator[bytes]:
    images = (image for batch in pipelines.eval_pipeline(examples, rows, 8) for image in batch.numpy())
    for image, one in zip(images, heat, strict=True):
        buffer = io.BytesIO()
        overlay = draw_overlay(image, enlarge(one[None], IMAGE_SIZE)[0], blind)
        Image.fromarray(overlay).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def draw_overlay(image: np.ndarray, heat: np.ndarray, blind: np.ndarray) -> np.ndarray:
    """Returns an image and, to its right, the same image under its heat map, uint8 [size, 2 * size, 3].

    The hotter, the less of the image shines through. A dashed frame marks the lung rectangle.

    Args:
        image: float [size, size, 3] in 0..255.
        heat: float [size, size] in 0..1.
        blind: bool [h, w], cells of the feature map that the head does not read; they are hatched.
    """
    size = len(image)
    opacity = 0.7 * np.sqrt(np.clip(heat, 0, 1))[..., None]
    colours = 255 * mpl.colormaps[HEAT_COLOURS](heat)[..., :3]
    hot = image * (1 - opacity) + colours * opacity
    y, x = np.indices((size, size))
    unseen = np.asarray(Image.fromarray(blind).resize((size, size), Image.Resampling.NEAREST))
    hot[unseen] = 0.5 * hot[unseen] + 64
    hot[unseen & ((x + y) % 10 < 2)] = 200
    lungs = lung_mask(size, size)
    edge = lungs ^ (lungs & np.roll(lungs, 1, 0) & np.roll(lungs, -1, 0) & np.roll(lungs, 1, 1) & np.roll(lungs, -1, 1))
    hot[edge & ((x + y) % 8 < 4)] = (120, 220, 255)
    return np.clip(np.concatenate([image, hot], axis=1).round(), 0, 255).astype(np.uint8)
