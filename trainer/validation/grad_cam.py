"""Grad-CAM: where in an image the head's evidence for covid comes from, in numbers and in pictures.

    heat = grad_cam(head, maps)      # float32 [n, h, w] from backbone feature maps float32 [n, h, w, c]

Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization. The feature
maps are the cached ones, so no image runs through the backbone again. A heat map says where a network that can be
wrong has looked; it proves nothing about disease.
"""

from __future__ import annotations

from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import tensorflow as tf
from PIL import Image

from covid_tfds.common.files import atomic, read_csv, write_json
from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.metrics.classification import POSITIVE, POSITIVE_CLASS
from trainer.models.vgg16 import IMAGE_SIZE
from trainer.run_folder import file_names
from trainer.validation import regions

SCORE = "logit of covid before the softmax"
BATCH = 64
SHOWN = {"test": 12, "mistake": 6}  # pictures in the report
HEAT_COLOURS = "inferno"


def grad_cam(head: keras.Model, maps: np.ndarray) -> np.ndarray:
    """Grad-CAM of the covid class, float32 [n, h, w] >= 0, each image's largest value 1 (all 0 where nothing is).

    head: a `model.head` (pooling, dense layers, softmax). maps: float32 [n, h, w, c], the backbone's feature maps A.
    The class score is z, the logit of covid that goes into the softmax, and not the probability, whose gradient
    vanishes where the head is sure: relu(sum_k A_k mean_ij(dz / dA_ijk)), and 0 in `blind_cells`. A temperature or a
    positive factor on the logits changes nothing. What a head concludes from a channel's absence makes no heat.
    """
    last = [layer for layer in head.layers if isinstance(layer, keras.layers.Dense)][-1]
    before_softmax = keras.Model(head.inputs, last.input)
    kernel, bias = (tf.convert_to_tensor(weight) for weight in last.weights)
    maps = tf.convert_to_tensor(maps, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = before_softmax(maps, training=False) @ kernel[:, POSITIVE : POSITIVE + 1] + bias[POSITIVE]
    weight_of_channel = tf.reduce_mean(tape.gradient(logit, maps), axis=(1, 2))
    heat = tf.nn.relu(tf.einsum("nhwc,nc->nhw", maps, weight_of_channel)).numpy()
    # Grad-CAM gives each channel one weight for the whole map and so would heat cells that the head never reads.
    heat[:, blind_cells(head)] = 0
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)


def blind_cells(head: keras.Model) -> np.ndarray:
    """Bool [h, w]: cells of the feature map that the head's pooling does not read.

    The tutorial's AveragePooling2D((4, 4)) reads whole windows from the upper left and drops what is left over: of
    7 x 7 cells it reads 4 x 4, of 14 x 14 it reads 12 x 12. The other poolings read the whole map.
    """
    height, width = head.input_shape[1:3]
    blind = np.zeros((height, width), dtype=bool)
    for layer in head.layers:
        if isinstance(layer, keras.layers.AveragePooling2D):
            blind[height - height % layer.pool_size[0] :] = True
            blind[:, width - width % layer.pool_size[1] :] = True
    return blind


def enlarge(heat: np.ndarray, size: int = IMAGE_SIZE) -> np.ndarray:
    """Bilinear resize of heat maps float [n, h, w] to [n, size, size], as they are shown and measured."""
    return tf.image.resize(heat[..., None], (size, size), method="bilinear").numpy()[..., 0]


def share(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of each heat map [n, h, w] that lies where mask (bool [h, w] or [n, h, w]) is True: float [n] in [0, 1].

    NaN (undefined) where the map is 0 everywhere.
    """
    total = heat.sum(axis=(1, 2), dtype=np.float64)
    inside = (heat * mask).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.full(len(heat), np.nan), where=total > 0)


def write(folder: Path, cached: Features, head: keras.Model, p_covid: np.ndarray, threshold: float) -> None:
    """Write saliency.json and saliency/*.jpg: every test image, and the images that cross-validation got most wrong.

    p_covid: the head's probabilities, float [n] of all images. The mistakes are read from out_of_fold.csv when it is
    there; their heat maps, too, are this head's, which has seen some of them in training.
    """
    examples = cached.examples
    test = examples.rows("test")
    wrong = _worst_mistakes(folder, examples, threshold)
    entries = [_entry(examples, int(row), "test", p_covid) for row in _worst_first(examples, test, p_covid, threshold)]
    entries += [_entry(examples, row, "mistake", p_covid) | {"p_out_of_fold": p} for row, p in wrong]
    rows = np.unique([entry["row"] for entry in entries])
    heat = _heat_maps(cached, head, rows)
    blind = blind_cells(head)
    _measure(entries, rows, heat, examples)
    _draw(folder, entries, rows, heat, blind, examples)
    write_json(folder / file_names.SALIENCY, _summary(entries, blind, cached))


def _heat_maps(cached: Features, head: keras.Model, rows: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(rows), BATCH):
        maps = np.stack(list(cached.maps(rows[start : start + BATCH])))
        parts.append(grad_cam(head, maps))
    return np.concatenate(parts)


def _worst_first(examples: Examples, rows: np.ndarray, p_covid: np.ndarray, threshold: float) -> np.ndarray:
    is_covid = examples.labels[rows] == POSITIVE
    right = (p_covid[rows] >= threshold) == is_covid
    return rows[np.lexsort((-np.abs(is_covid - p_covid[rows]), right))]


def _worst_mistakes(folder: Path, examples: Examples, threshold: float) -> list[tuple[int, float]]:
    """(row, mean out-of-fold probability) of the images decided wrongly, the surest mistake first."""
    path = folder / file_names.OUT_OF_FOLD
    if not path.is_file():
        return []
    held_out: dict[str, list[float]] = {}
    for line in read_csv(path):
        held_out.setdefault(line["image_id"], []).append(float(line["p_covid"]))
    mean = np.asarray([np.mean(held_out.get(str(name), np.nan)) for name in examples.image_id])
    is_covid = examples.labels == POSITIVE
    wrong = np.flatnonzero(np.isfinite(mean) & ((mean >= threshold) != is_covid))
    order = wrong[np.argsort(-np.abs(is_covid[wrong] - mean[wrong]), kind="stable")]
    return [(int(row), float(mean[row])) for row in order[: SHOWN["mistake"]]]


def _entry(examples: Examples, row: int, group: str, p_covid: np.ndarray) -> dict:
    return {
        "row": row,
        "group": group,
        "image_id": str(examples.image_id[row]),
        "patient_id": str(examples.groups[row]),
        "split": str(examples.split[row]),
        "label": examples.class_names[examples.labels[row]],
        "license": str(examples.facts["license"][row]),
        "p_covid": float(p_covid[row]),
        "picture": None,
    }


def _measure(entries: list[dict], rows: np.ndarray, heat: np.ndarray, examples: Examples) -> None:
    """Add each image's shares of heat, None where undefined. heat: float [n, h, w]; enlarged, it would be too much."""
    not_lungs = ~regions.lung_mask(IMAGE_SIZE, IMAGE_SIZE)
    parts = (heat[start : start + BATCH] for start in range(0, len(heat), BATCH))
    outside = np.concatenate([share(enlarge(part), not_lungs) for part in parts])
    for entry in entries:
        at = np.searchsorted(rows, entry["row"])
        entry["outside_lungs"] = _defined(outside[at])
        if examples.name.startswith("covid_tfds/phantom") and entry["label"] == POSITIVE_CLASS:
            mask = _opacities(entry["image_id"])
            entry["on_opacities"] = _defined(share(enlarge(heat[at : at + 1]), mask)[0])
            entry["opacities_area"] = float(mask.mean())


def _opacities(image_id: str) -> np.ndarray:
    """Where the phantom's opacities are in the resized image, bool [224, 224]."""
    from covid_tfds import phantom

    mask = Image.fromarray(phantom.draw_by_id(image_id).opacity_mask)
    return np.asarray(mask.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.NEAREST))


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(entries: list[dict], name: str) -> dict:
    values = [entry[name] for entry in entries if entry.get(name) is not None]
    return {"value": float(np.mean(values)) if values else None, "n": len(values)}


def _summary(entries: list[dict], blind: np.ndarray, cached: Features) -> dict:
    """saliency.json: what was measured, means over the test images, and one entry an image."""
    test = [entry for entry in entries if entry["group"] == "test"]
    lungs = regions.lung_mask(IMAGE_SIZE, IMAGE_SIZE)
    result = {
        "score": SCORE,
        "map_cells": list(cached.map_shape[:2]),
        "lungs": list(regions.LUNGS),
        "area_outside_lungs": float(1 - lungs.mean()),
        "area_blind": float(blind.mean()),
        "outside_lungs": _mean(test, "outside_lungs"),
        "opacities": None,
    }
    if cached.examples.name.startswith("covid_tfds/phantom"):
        drawn = [entry for entry in test if entry.get("on_opacities") is not None and entry["opacities_area"] > 0]
        ratios = [{"ratio": entry["on_opacities"] / entry["opacities_area"]} for entry in drawn]
        result["opacities"] = {
            "heat": _mean(drawn, "on_opacities"),
            "area": _mean(drawn, "opacities_area"),
            "ratio": _mean(ratios, "ratio"),
        }
    return result | {"images": [{k: v for k, v in entry.items() if k != "row"} for entry in entries]}


def _draw(folder: Path, entries: list[dict], rows: np.ndarray, heat: np.ndarray, blind: np.ndarray, examples) -> None:
    """One picture for each of the first images of each group: the radiograph, and beside it the same under its heat."""
    wanted: dict[int, list[dict]] = {}
    left = dict(SHOWN)
    for entry in entries:
        if left[entry["group"]]:
            left[entry["group"]] -= 1
            wanted.setdefault(entry["row"], []).append(entry)
    (folder / file_names.SALIENCY_PICTURES).mkdir(exist_ok=True)
    shown = np.asarray(sorted(wanted))
    images = (image for batch in pipelines.eval_pipeline(examples, shown, 8) for image in batch.numpy())
    for number, (row, image) in enumerate(zip(shown, images, strict=True)):
        name = f"{file_names.SALIENCY_PICTURES}/{number:02d}.jpg"
        at = np.searchsorted(rows, row)
        picture = overlay(image, enlarge(heat[at : at + 1])[0], blind)
        with atomic(folder / name) as temporary:
            Image.fromarray(picture).save(temporary, quality=85)
        for entry in wanted[int(row)]:
            entry["picture"] = name


def overlay(image: np.ndarray, heat: np.ndarray, blind: np.ndarray) -> np.ndarray:
    """An image float [size, size, 3] in 0..255 and, to its right, the same under heat float [size, size] in 0..1.

    The hotter, the less of the image shines through. A dashed frame marks the lung region; hatching marks blind cells
    (bool [h, w]). Returns uint8 [size, 2 * size, 3].
    """
    size = len(image)
    opacity = 0.7 * np.sqrt(np.clip(heat, 0, 1))[..., None]
    colours = 255 * mpl.colormaps[HEAT_COLOURS](heat)[..., :3]
    hot = image * (1 - opacity) + colours * opacity
    y, x = np.indices((size, size))
    unseen = np.asarray(Image.fromarray(blind).resize((size, size), Image.Resampling.NEAREST))
    hot[unseen] = 0.5 * hot[unseen] + 64
    hot[unseen & ((x + y) % 10 < 2)] = 200
    lungs = regions.lung_mask(size, size)
    edge = lungs ^ (lungs & np.roll(lungs, 1, 0) & np.roll(lungs, -1, 0) & np.roll(lungs, 1, 1) & np.roll(lungs, -1, 1))
    hot[edge & ((x + y) % 8 < 4)] = (120, 220, 255)
    return np.clip(np.concatenate([image, hot], axis=1).round(), 0, 255).astype(np.uint8)
