"""Choose the training images that others are compared with, and measure how typical of them the test images are."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from covid_tfds.examples import Examples
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.run_folder import file_names
from trainer.run_folder.typicality import Reference, is_declined, join_features
from trainer.run_folder.typicality_results import ImageTypicality, NearestImage, Typicality

MOST_IMAGES = 214  # of 2305 features in 16 bits: 1 MB with all else that the typicality adds to a model
SHOWN = 4  # test images drawn for the report, each beside the nearest training image
GAP = 6  # pixels between the two


def build_reference(features: Features) -> Reference:
    """Returns the features of the training images, at the run's cut of its final backbone.

    Args:
        features: Of the final backbone.
    """
    examples = features.examples
    rows = choose_rows(examples.groups, examples.rows("train"), features.seed)
    _, patient = np.unique(examples.groups[rows], return_inverse=True)
    vectors = _get_vectors(features, rows)
    return Reference(vectors.astype(np.float16), patient.astype(np.int64), examples.image_id[rows].astype(str))


def _get_vectors(features: Features, rows: np.ndarray) -> np.ndarray:
    return join_features(features.quarters(rows), features.thumbnails(rows))


def choose_rows(groups: np.ndarray, rows: np.ndarray, seed: int) -> np.ndarray:
    """Returns `rows`, or MOST_IMAGES of them drawn at random: one of each patient before a second of any.

    Args:
        groups: str [n], the patient of each image.
        rows: int [m], the training images, ascending.
        seed: Of the draw.

    Example:
        >>> len(choose_rows(np.arange(1000).astype(str), np.arange(900), seed=42))
        214
    """
    drawn = np.random.default_rng(seed).permutation(rows)
    seen: dict[str, int] = {}
    turn = []
    for group in groups[drawn]:
        turn.append(seen.get(group, 0))
        seen[group] = turn[-1] + 1
    return np.sort(drawn[np.argsort(turn, kind="stable")][:MOST_IMAGES])


def measure_typicality(features: Features, reference: Reference) -> tuple[Typicality, dict[str, bytes]]:
    """Returns typicality.json, and JPEG files of the least typical test images, by name (see `ImageTypicality.pair`).

    Args:
        features: Of the final backbone.
        reference: As `build_reference` returns it.
    """
    examples = features.examples
    rows = examples.rows("test")
    vectors = _get_vectors(features, rows)
    distance, typicality = reference.measure(vectors)
    declined = is_declined(typicality, reference.level)
    distances = reference.measure_distances(vectors)
    row_of = {name: row for row, name in enumerate(examples.image_id)}
    nearest = np.asarray([row_of[name] for name in reference.image_id[distances.argmin(1)]])
    order = np.argsort(-distance, kind="stable")
    pairs = {f"{file_names.PAIRS}/{place:02d}.jpg": number for place, number in enumerate(order[:SHOWN].tolist())}
    name_of = {number: name for name, number in pairs.items()}
    images = tuple(
        ImageTypicality(
            *_describe(examples, rows[number]),
            distance=float(distance[number]),
            typicality=float(typicality[number]),
            declined=bool(declined[number]),
            nearest=NearestImage(*_describe(examples, nearest[number]), float(distances[number].min())),
            pair=name_of.get(number),
        )
        for number in order.tolist()
    )
    result = Typicality(
        declined_at=reference.level,
        patients=reference.patients,
        reference_images=len(reference),
        reference_distances=tuple(reference.nearest.mean(1).tolist()),
        declined=int(declined.sum()),
        images=images,
    )
    shown = [(int(rows[number]), int(nearest[number])) for number in pairs.values()]
    return result, dict(zip(pairs, _draw_pairs(examples, shown), strict=True))


def _describe(examples: Examples, row: int) -> tuple[str, str, str]:
    """Key, class and licence of an image."""
    return str(examples.image_id[row]), examples.class_names[examples.labels[row]], str(examples.facts["license"][row])


def _draw_pairs(examples: Examples, shown: list[tuple[int, int]]) -> Iterator[bytes]:
    """A JPEG file of each two rows' images side by side, as the network gets them."""
    rows = np.asarray(shown).ravel()
    images = pipelines.read_images(examples, rows)
    for left, right in zip(images[::2], images[1::2], strict=True):
        gap = np.full((len(left), GAP, 3), 255.0)
        buffer = io.BytesIO()
        pair = np.concatenate([left, gap, right], axis=1).round().astype(np.uint8)
        Image.fromarray(pair).save(buffer, "JPEG", quality=70, optimize=True)
        yield buffer.getvalue()
