"""typicality.npz: features of the training images, and how typical of them another image is. NumPy only.

The features of an image are the averages of the four quarters of its feature map, and the image itself at 16 x 16 grey
pixels; the second counts a tenth (see `join_features`). Its distance is the mean distance to the 3 nearest training
images (Sun et al. 2022, Out-of-Distribution Detection with Deep Nearest Neighbors). Its typicality is a full conformal
p-value (Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, chapter 2) in which each patient has
the weight 1:

    t = (1 + sum of w_i over training images with s_i >= s) / (1 + sum of w_i),    w_i = 1 / images of that patient

where s is the image's distance and s_i the distance of training image i to the nearest images of other patients, the
new image among them. With one image per patient, P(t <= a) <= a exactly if the new image is exchangeable with the
training images; with several it is an approximation. The smallest possible t is 1 / (patients + 1).
"""

from __future__ import annotations

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic

NEIGHBOURS = 3
FARTHEST = 1.0  # distance of images without features in common
THUMBNAIL_SIDE = 16  # pixels
THUMBNAIL_SHARE = 0.1  # of the thumbnail in the distance
FLAT = 16.0  # length of a thumbnail whose standard deviation is one grey level: a flatter one shows little but rounding
TIE = 1e-3  # relative: a difference that rounding could make counts as none
LEAST_LEVEL = 0.01
ROUNDING = 1e-4  # relative: in float32 the smallest typicality may lie just above the level
KINDS = {"features": "f2", "patient": "i1", "image_id": "U1"}  # kind of values and number of axes of each array


@dataclass(frozen=True)
class Reference:
    """The training images that others are compared with.

    Attributes:
        features: float16 [n, d], vectors of `join_features`.
        patient: int64 [n], number of the image's patient; an unknown patient has a number of its own.
        image_id: str [n], keys of the images in the dataset.

    Example:
        >>> reference = Reference(np.eye(4, dtype=np.float16), np.arange(4), np.array(list("abcd")))
        >>> distance, typicality = reference.measure(np.array([[0.5, 0.5, 0.5, 0.5]]))
        >>> distance.round(2).tolist(), typicality.tolist(), reference.level
        ([0.5], [1.0], 0.2)
    """

    features: np.ndarray
    patient: np.ndarray
    image_id: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """1 / number of images of the image's patient, float64 [n]."""
        _, index, counts = np.unique(self.patient, return_inverse=True, return_counts=True)
        return 1 / counts[index]

    @functools.cached_property
    def nearest(self) -> np.ndarray:
        """Distances of each image to the nearest 3 of other patients, ascending, float64 [n, 3]."""
        features = self.features.astype(np.float64)
        distances = np.maximum(1 - features @ features.T, 0)
        distances[self.patient[:, None] == self.patient] = FARTHEST
        return np.sort(np.pad(distances, ((0, 0), (0, NEIGHBOURS)), constant_values=FARTHEST))[:, :NEIGHBOURS]

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(np.unique(self.patient))

    @property
    def level(self) -> float:
        """Decline an image whose typicality is at most this, but for rounding; see `is_declined`."""
        return max(LEAST_LEVEL, 1 / (self.patients + 1))

    def measure(self, vectors: np.ndarray, slack: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Returns distance and typicality, float64 [m] each, of images.

        Args:
            vectors: float [m, d], as `join_features` returns them.
            slack: Added to their distances before they are compared with the training images' own.
        """
        distances = self.measure_distances(vectors)
        distance = np.sort(distances)[:, :NEIGHBOURS].mean(1)
        own = (self.nearest[:, :-1].sum(1) + np.minimum(self.nearest[:, -1], distances)) / NEIGHBOURS
        at_least = own >= (distance + slack)[:, None] * (1 - TIE)
        return distance, (1 + at_least @ self.weights) / (1 + self.weights.sum())

    def measure_distances(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the distance of each image to each training image, float64 [m, n] in [0, 1]."""
        return np.maximum(1 - vectors @ self.features.T.astype(np.float64), 0)


def join_features(quarters: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns the vectors by which images are compared, float64 [n, d] of length 1: 1 - a @ b is the distance of two.

    That is 0.9 times the cosine distance of the quarters, which tells what is shown, and 0.1 times (1 - r) / 2, where r
    is the correlation of the images at 16 x 16 pixels, which tells an inverted image from one that is not.

    Args:
        quarters: float [n, 4 c], the averages of the quarters of their feature maps.
        images: float [n, s, s], the images in grey levels; s is a multiple of 16.

    Example:
        >>> ramp = np.arange(256.0).reshape(1, 16, 16)
        >>> a, b = join_features(np.ones((1, 4)), ramp), join_features(np.ones((1, 4)), 255 - ramp)
        >>> (1 - a @ a.T).round(3).tolist(), (1 - a @ b.T).round(3).tolist()
        ([[0.0]], [[0.1]])
    """
    block = images.shape[1] // THUMBNAIL_SIDE
    cells = images.reshape(-1, THUMBNAIL_SIDE, block, THUMBNAIL_SIDE, block).mean((2, 4), dtype=np.float64)
    pattern = (cells - cells.mean((1, 2), keepdims=True)).reshape(len(images), -1)
    tiny = np.finfo(np.float32).tiny
    parts = [
        np.sqrt(1 - THUMBNAIL_SHARE) * quarters / np.maximum(np.linalg.norm(quarters, axis=1, keepdims=True), tiny),
        np.sqrt(THUMBNAIL_SHARE / 2) * pattern / np.maximum(np.linalg.norm(pattern, axis=1, keepdims=True), FLAT),
        np.full((len(images), 1), np.sqrt(THUMBNAIL_SHARE / 2)),
    ]
    return np.concatenate(parts, axis=1)


def is_declined(typicality: np.ndarray, level: float) -> np.ndarray:
    """Returns bool [n]: whether images of these typicalities, float [n], are declined at a level."""
    return typicality <= level * (1 + ROUNDING)


@functools.lru_cache
def quarter_weights(height: int, width: int) -> np.ndarray:
    """Returns what averages the quarters of a feature map, float32 [4, height * width].

    Quarters in order: upper left, upper right, lower left, lower right. The middle row and column of a map with odd
    sides belong to both halves.

    Example:
        >>> (quarter_weights(3, 3) > 0).astype(int).reshape(4, 3, 3)[1].tolist()
        [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    """
    low, high = (np.arange(height) < (height + 1) // 2), (np.arange(height) >= height // 2)
    left, right = (np.arange(width) < (width + 1) // 2), (np.arange(width) >= width // 2)
    masks = np.stack([np.outer(rows, columns).ravel() for rows in (low, high) for columns in (left, right)])
    return (masks / masks.sum(1, keepdims=True)).astype(np.float32)


def save_reference(path: Path, reference: Reference) -> None:
    """Writes typicality.npz."""
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **{name: getattr(reference, name) for name in KINDS})


def load_reference(path: Path) -> Reference:
    """Returns what `save_reference` wrote.

    Raises:
        UsageError: If the file is missing, damaged or of another version.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in KINDS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} can't be read: {error}. Restore it or train again.") from error
    kinds = {name: f"{array.dtype.kind}{array.ndim}" for name, array in arrays.items()}
    if kinds != KINDS or len({len(array) for array in arrays.values()}) != 1:
        raise UsageError(f"{path} holds {kinds}, not the features of training images. Restore it or train again.")
    width = arrays["features"].shape[1]
    if (width - THUMBNAIL_SIDE**2 - 1) % 4 or width < THUMBNAIL_SIDE**2 + 5:
        raise UsageError(f"{path} is of another version: it holds {width} features an image. Train again.")
    return Reference(**arrays)
