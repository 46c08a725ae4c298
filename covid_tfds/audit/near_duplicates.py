"""Find the same radiograph again: re-encoded, resized, brightened, a little turned or trimmed.

Chest radiographs all look alike: with the usual 64-bit hashes, those of two patients can be closer than an image and
its own copy turned by two degrees. Two measures make room for a threshold: a finer hash, and a comparison of every
image with turned and trimmed versions of the others.

The hash is the difference hash (dHash) in both directions: one bit a pair of neighbouring cells, set where the second
is brighter. The cells of all trims are one matrix product with Pillow's own weights; what ImageHash would add is a
dependency on PyWavelets.
"""

import itertools

import numpy as np
from PIL import Image

from covid_tfds.audit import hash_tables

CELLS = 32  # along each side of the grid
BITS = 2 * CELLS * CELLS
# Less than half a grey level is no edge: so the black around a radiograph hashes alike, whatever its noise.
EDGE = 0.5
# Of the bits. Measured on the 146 real images of the three published configs: those of two patients differ in 24 % or
# more, follow-ups of one patient in 19 % or more. A copy turned by two degrees differs in 5 % (median; at most 10), one
# re-encoded at JPEG quality 30 in 4 % (7), one trimmed by 13 % of one side in 6 % (8). Drawn images are more alike
# than real ones: of 1000 no two differ in less than 14.7 %. Missed are mirrored and negative copies, most turns by 5
# degrees and more, and one in seven of those brightened by 30 %, which turns what was bright into plain white.
THRESHOLD = 0.14

SIDE = 128  # pixels; every image is made square first, as trims change its shape anyway
KEPT = (1, 0.97, 0.94, 0.91, 0.88, 0.85)  # shares of width and height that a trimmed copy may have left
DEGREES = (-3, -1.5, 1.5, 3)
BLOCK = 4096  # versions compared at once: bounds the memory
MANY_IMAGES = 1000  # above, not all pairs are compared


def fingerprint(image: Image.Image) -> np.ndarray:
    """Hash an image and its versions; about 4 ms.

    Args:
        image: Grey (mode "L"), of any size.

    Returns:
        uint8 [versions, BITS / 8], packed bits. The first is of the image as it is, the others of it trimmed by up to
        15 % of its width and height, on either or both sides, or turned by up to 3 degrees and trimmed evenly.
    """
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    upright = _cells(small, UPRIGHT).reshape(-1, CELLS + 1, CELLS + 1)
    even = np.arange(len(KEPT))
    turned = [_cells(small.rotate(each, Image.Resampling.BILINEAR), CENTRED)[even, even] for each in DEGREES]
    grey = np.concatenate([upright, *turned])
    across = grey[:, :-1, 1:] - grey[:, :-1, :-1] > EDGE
    down = grey[:, 1:, :-1] - grey[:, :-1, :-1] > EDGE
    return np.packbits(np.stack([across, down], 1).reshape(len(grey), BITS), axis=1)


def find_pairs(fingerprints: np.ndarray, threshold: float = THRESHOLD) -> dict[tuple[int, int], float]:
    """Find the images that are near-duplicates of each other.

    Two images differ by the smallest share of bits in which one of them as it is and any version of the other differ.
    Up to MANY_IMAGES images all pairs are compared, above those that `hash_tables` finds.

    Args:
        fingerprints: uint8 [n, versions, BITS / 8], of `fingerprint`.
        threshold: The largest share of differing bits, 0 to 1, at which two images count as one.

    Returns:
        `{(first, second): share}` with `first < second`, indices into `fingerprints`.
    """
    compare = compare_all if len(fingerprints) <= MANY_IMAGES else hash_tables.compare_likely
    pairs: dict[tuple[int, int], float] = {}
    for images, others, shares in compare(fingerprints, threshold):
        for image, other, share in zip(images.tolist(), others.tolist(), shares.tolist(), strict=True):
            pair = min(image, other), max(image, other)
            pairs[pair] = min(share, pairs.get(pair, 1.0))
    return dict(sorted(pairs.items()))


def compare_all(fingerprints: np.ndarray, threshold: float) -> hash_tables.Matches:
    """Compares every image with every version of every other; the time is quadratic in the number of images."""
    count, versions, width = fingerprints.shape
    as_they_are = _signs(fingerprints[:, 0])
    all_versions = fingerprints.reshape(count * versions, width)
    for start in range(0, len(all_versions), BLOCK):
        # Of two rows of +1 and -1 the product is the number of equal bits minus that of differing ones.
        agreement = as_they_are @ _signs(all_versions[start : start + BLOCK]).T
        differing = (1 - agreement / BITS) / 2
        images, found = np.nonzero(differing <= threshold)
        others, shares = (start + found) // versions, differing[images, found]
        different = images != others
        yield images[different], others[different], shares[different]


def _signs(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def _cells(image: Image.Image, weights: np.ndarray) -> np.ndarray:
    """The cells of every combination of a vertical and a horizontal span: float32 [spans, spans, cells, cells]."""
    grid = weights @ np.asarray(image, np.float32) @ weights.T
    spans = len(weights) // (CELLS + 1)
    levels = np.clip(np.rint(grid), 0, 255).reshape(spans, CELLS + 1, spans, CELLS + 1)
    return levels.transpose(0, 2, 1, 3)


def _weights(spans: list[tuple[float, float]]) -> np.ndarray:
    """Pillow's weights of SIDE pixels in the cells of each span, float32 [spans * (CELLS + 1), SIDE]."""
    unit = Image.fromarray(np.eye(SIDE, dtype=np.float32))
    size, how = (CELLS + 1, SIDE), Image.Resampling.LANCZOS
    return np.concatenate([np.asarray(unit.resize(size, how, (low, 0, high, SIDE))).T for low, high in spans])


def _spans(kept: float, starts: tuple[float, ...]) -> list[tuple[float, float]]:
    return [(SIDE * start * (1 - kept), SIDE * (start * (1 - kept) + kept)) for start in starts]


UPRIGHT = _weights(list(itertools.chain(_spans(1, (0,)), *(_spans(kept, (0, 0.5, 1)) for kept in KEPT[1:]))))
CENTRED = _weights([span for kept in KEPT for span in _spans(kept, (0.5,))])
SHAPE = (len(UPRIGHT) ** 2 // (CELLS + 1) ** 2 + len(DEGREES) * len(KEPT), BITS // 8)  # of a fingerprint
