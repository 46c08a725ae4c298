"""Measure and draw the Grad-CAM heat maps of the test images and of the cross-validation's largest mistakes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from PIL import Image

from covid_tfds.examples import Examples
from covid_tfds.imaging.overlay import paint_heat
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.features.training_set import MOST_HEAT_MAPS, sample_test
from trainer.models.preprocessing import IMAGE_SIZE
from trainer.run_folder import file_names
from trainer.run_folder.predictions import decide
from trainer.run_folder.saliency import Mean, Opacities, Saliency, SaliencyImage
from trainer.validation.fold_heads import FoldHeads
from trainer.validation.grad_cam import SCORE, compute_heat_maps, compute_share, enlarge, find_blind_cells
from trainer.validation.lung_regions import LungRegions, find_lungs

BATCH = 64
SHOWN = {"test": 12, "mistake": 6}  # images drawn for the report
LUNG_LINE = (255, 255, 255)


@dataclass(frozen=True)
class _Group:
    """The images of one group with the probabilities and heat maps that are shown of them.

    Attributes:
        name: "test" or "mistake".
        rows: int [m].
        probabilities: float [m, classes].
        decisions: int [m], classes at the run's operating point.
        heat: float32 [m, h, w], of the positive class.
        lungs: Of each image, as it is resized for the network.
        drawn: How many of the images are drawn, from the front.
        decided_heat: Of the class in `decisions`, float32 [h, w], by place: of the drawn images that are not decided
            for the positive class, where there are more than two classes.
    """

    name: str
    rows: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray
    heat: np.ndarray
    lungs: LungRegions
    drawn: int
    decided_heat: dict[int, np.ndarray]


def measure_saliency(
    features: Features,
    head: keras.Model,
    probabilities: np.ndarray,
    fold_heads: FoldHeads,
    out_of_fold: np.ndarray,
    threshold: float,
) -> tuple[Saliency, dict[str, bytes]]:
    """Returns saliency.json, and JPEG files of the drawn images by name.

    A test image shows the final head's heat. A mistake of the cross-validation shows that of the heads that made it.

    Args:
        features: Of the final backbone.
        head: The final head.
        probabilities: float [n, classes], its probabilities for every image.
        fold_heads: The heads of the cross-validation.
        out_of_fold: float [n, classes], their probabilities for the images they held out, mean over repeats.
        threshold: Decides which images are mistakes.
    """
    examples, blind = features.examples, find_blind_cells(head)
    test = _sort_by_error(examples, sample_test(examples, MOST_HEAT_MAPS), probabilities, threshold)

    def explain(rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        return _compute_heat(features, head, rows, classes)

    groups = [_describe_group(examples, "test", test, probabilities, threshold, explain)]
    everyone = _sort_by_error(examples, np.arange(len(examples)), out_of_fold, threshold)
    wrong = everyone[decide(out_of_fold[everyone], threshold) != examples.labels[everyone]][: SHOWN["mistake"]]
    groups.append(_describe_group(examples, "mistake", wrong, out_of_fold, threshold, fold_heads.compute_heat_maps))

    shown = [heat for group in groups for heat in (*group.heat[: group.drawn], *group.decided_heat.values())]
    highest = max((float(heat.max()) for heat in shown), default=0.0)
    files: dict[str, bytes] = {}
    images = []
    for group in groups:
        names = [f"{file_names.OVERLAYS}/{len(files) + place:02d}.jpg" for place in range(group.drawn)]
        files |= zip(names, _draw_files(examples, group, blind, highest), strict=True)
        images += _describe_images(examples, group, names)
    result = Saliency(
        score=SCORE,
        map_cells=features.map_shape[:2],
        lungs=groups[0].lungs.describe(),
        area_outside_lungs=float(1 - groups[0].lungs.lungs.mean()),
        area_blind=float(blind.mean()),
        highest=highest,
        **_average(images),
        images=tuple(images),
    )
    return result, files


def _sort_by_error(examples: Examples, rows: np.ndarray, probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """The rows decided wrongly, then the others, each by the probability of their own class, the lowest first."""
    labels = examples.labels[rows]
    correct = decide(probabilities[rows], threshold) == labels
    return rows[np.lexsort((probabilities[rows, labels], correct))]


def _describe_group(
    examples: Examples, name: str, rows: np.ndarray, probabilities: np.ndarray, threshold: float, explain: Callable
) -> _Group:
    """A group with its heat. explain: (rows, classes of their heat maps) -> heat maps."""
    decisions, drawn = decide(probabilities[rows], threshold), min(SHOWN[name], len(rows))
    heat = explain(rows, np.zeros(len(rows), int))
    others = np.flatnonzero(decisions[:drawn]) if probabilities.shape[1] > 2 else np.empty(0, int)
    decided_heat = dict(zip(others.tolist(), explain(rows[others], decisions[others]), strict=True))
    lungs = find_lungs(examples, rows, IMAGE_SIZE)
    return _Group(name, rows, probabilities[rows], decisions, heat, lungs, drawn, decided_heat)


def _describe_images(examples: Examples, group: _Group, names: list[str]) -> list[SaliencyImage]:
    outside = _share_outside_lungs(group.heat, group.lungs.lungs)
    opacities = _share_on_opacities(examples, group.rows, group.heat)
    result = []
    for place, row in enumerate(group.rows.tolist()):
        on_opacities, area = opacities.get(row, (None, None))
        image = SaliencyImage(
            group=group.name,
            image_id=str(examples.image_id[row]),
            patient_id=str(examples.groups[row]),
            split=str(examples.split[row]),
            label=examples.class_names[examples.labels[row]],
            finding=str(examples.facts["finding"][row]),
            license=str(examples.facts["license"][row]),
            probabilities=dict(zip(examples.class_names, group.probabilities[place].tolist(), strict=True)),
            decision=examples.class_names[group.decisions[place]],
            decision_argmax=examples.class_names[group.probabilities[place].argmax()],
            overlay=names[place] if place < group.drawn else None,
            peak=float(group.heat[place].max()),
            outside_lungs=outside[place],
            decision_peak=float(group.decided_heat[place].max()) if place in group.decided_heat else None,
            on_opacities=on_opacities,
            opacities_area=area,
        )
        result.append(image)
    return result


def _compute_heat(features: Features, head: keras.Model, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Heat maps of the rows, float32 [n, h, w]."""
    result = np.zeros((len(rows), *features.map_shape[:2]), np.float32)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        result[part] = compute_heat_maps(head, features.maps(rows[part]), classes[part])
    return result


def _share_outside_lungs(heat: np.ndarray, lungs: np.ndarray) -> list[float | None]:
    """The share of each map's heat outside the lungs, bool [m, side, side]; None without heat."""
    shares: list[float | None] = []
    # By batches: enlarged, all maps at once would need too much memory.
    for start in range(0, len(heat), BATCH):
        part = slice(start, start + BATCH)
        shares += map(_defined, compute_share(enlarge(heat[part], IMAGE_SIZE), ~lungs[part]))
    return shares


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


def _average(images: list[SaliencyImage]) -> dict[str, Any]:
    """The fields of `Saliency` that are means over the test images."""
    test = [image for image in images if image.group == "test"]
    shares = [(one.on_opacities, one.opacities_area) for one in test if one.on_opacities is not None]
    opacities = Opacities(
        heat=_mean(heat for heat, area in shares if area),
        area=_mean(area for _, area in shares if area),
        ratio=_mean(heat / area for heat, area in shares if area),
    )
    return {
        "outside_lungs": _mean(one.outside_lungs for one in test if one.outside_lungs is not None),
        "opacities": opacities if any(one.opacities_area is not None for one in test) else None,
    }


def _mean(values: Iterable[float]) -> Mean:
    values = list(values)
    return Mean(float(np.mean(values)) if values else None, len(values))


def _draw_files(examples: Examples, group: _Group, blind: np.ndarray, highest: float) -> Iterator[bytes]:
    rows = group.rows[: group.drawn]
    images = pipelines.read_images(examples, rows) if rows.size else ()
    for place, image in enumerate(images):
        maps = [group.heat[place], *([group.decided_heat[place]] if place in group.decided_heat else [])]
        buffer = io.BytesIO()
        draw_overlay(image, maps, group.lungs.lungs[place], blind, highest).save(
            buffer, "JPEG", quality=70, optimize=True
        )
        yield buffer.getvalue()


def draw_overlay(
    image: np.ndarray, maps: Sequence[np.ndarray], lungs: np.ndarray, blind: np.ndarray, highest: float
) -> Image.Image:
    """Returns an image and, to its right, the same image under each heat map, an RGB image of size x (1 + maps) size.

    A dashed frame marks what the head reads, a thin line the lungs.

    Args:
        image: float [size, size, 3] in 0..255.
        maps: float [h, w] >= 0 each.
        lungs: bool [size, size].
        blind: bool [h, w], cells of the feature map that the head does not read.
        highest: Heat of the brightest colour.
    """
    size = len(image)
    radiograph = Image.fromarray(np.clip(image.round(), 0, 255).astype(np.uint8))
    row, column = (~blind).any(1), (~blind).any(0)
    region = [0.0, 0.0, float(row.mean()), float(column.mean())]  # the pooling reads from the upper left corner
    result = Image.new("RGB", (size * (1 + len(maps)), size))
    result.paste(radiograph, (0, 0))
    inside = np.pad(lungs, 1)
    inner = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    for place, heat in enumerate(maps, start=1):
        painted = np.array(paint_heat(radiograph, heat, region, highest))
        painted[lungs & ~inner] = LUNG_LINE
        result.paste(Image.fromarray(painted), (place * size, 0))
    return result
