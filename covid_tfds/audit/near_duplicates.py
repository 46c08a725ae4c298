"""Find the same radiograph again: re-encoded, resized, brightened, a little turned or trimmed.

Chest radiographs all look alike: with the usual 64-bit hashes, those of two patients can be closer than an image and
its own copy turned by two degrees. Two measures make room for a threshold: a finer hash, and a comparison of every
image with turned and trimmed versions of the others.

The hash is the difference hash (dHash) in both directions: one bit a pair of neighbouring cells, set where the second
is brighter. Pillow does all the work of it; what ImageHash would add beyond that is a dependency on PyWavelets.
"""

import itertools

import numpy as np
from PIL import Image
from tqdm import tqdm

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


def fingerprint(image: Image.Image) -> np.ndarray:
    """Hash an image and its versions; about 30 ms.

    Args:
        image: Grey (mode "L"), of any size.

    Returns:
        uint8 [versions, BITS / 8], packed bits. The first is of the image as it is, the others of it trimmed by up to
        15 % of its width and height, on either or both sides, or turned by up to 3 degrees and trimmed evenly.
    """
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    hashes = [_hash(small, window) for window in UPRIGHT]
    for degrees in DEGREES:
        turned = small.rotate(degrees, Image.Resampling.BILINEAR)
        hashes += [_hash(turned, window) for window in CENTRED]
    return np.packbits(hashes, axis=1)


def find_pairs(fingerprints: np.ndarray, threshold: float = THRESHOLD) -> dict[tuple[int, int], float]:
    """Find the images that are near-duplicates of each other.

    Two images differ by the smallest share of bits in which one of them as it is and any version of the other differ.

    Args:
        fingerprints: uint8 [n, versions, BITS / 8], of `fingerprint`.
        threshold: The largest share of differing bits, 0 to 1, at which two images count as one.

    Returns:
        `{(first, second): share}` with `first < second`, indices into `fingerprints`.
    """
    count, versions, width = fingerprints.shape
    as_they_are = _signs(fingerprints[:, 0])
    all_versions = fingerprints.reshape(count * versions, width)
    pairs: dict[tuple[int, int], float] = {}
    for start in tqdm(range(0, len(all_versions), BLOCK), desc="near-duplicates", leave=False, disable=None):
        # Of two rows of +1 and -1 the product is the number of equal bits minus that of differing ones.
        agreement = as_they_are @ _signs(all_versions[start : start + BLOCK]).T
        differing = (1 - agreement / BITS) / 2
        for image, version in np.argwhere(differing <= threshold):
            other = (start + int(version)) // versions
            if image != other:
                pair = min(int(image), other), max(int(image), other)
                pairs[pair] = min(float(differing[image, version]), pairs.get(pair, 1.0))
    return dict(sorted(pairs.items()))


def _signs(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


def _hash(image: Image.Image, window: tuple[float, float, float, float]) -> np.ndarray:
    cells = image.resize((CELLS + 1, CELLS + 1), Image.Resampling.LANCZOS, box=window)
    grey = np.asarray(cells, np.float32)
    across = grey[:-1, 1:] - grey[:-1, :-1] > EDGE
    down = grey[1:, :-1] - grey[:-1, :-1] > EDGE
    return np.concatenate([across.ravel(), down.ravel()])


def _spans(kept: float) -> list[tuple[float, float]]:
    starts = (0, 0.5, 1) if kept < 1 else (0,)
    return [(SIDE * start * (1 - kept), SIDE * (start * (1 - kept) + kept)) for start in starts]


SPANS = [span for kept in KEPT for span in _spans(kept)]
UPRIGHT = [(left, top, right, bottom) for (left, right), (top, bottom) in itertools.product(SPANS, SPANS)]
CENTRED = [(SIDE * (1 - kept) / 2,) * 2 + (SIDE * (1 + kept) / 2,) * 2 for kept in KEPT]
