"""Choose the number of repeats of cross-validation and bootstrap: fewer where there are many images.

With thousands of images the spread over repeats is far below the width of the intervals, and 500 replicates place the
limits of an interval as well as 2,000 do for a few dozen images.
"""

from __future__ import annotations

MANY_IMAGES = 2_000
REPEATS, REPEATS_OF_MANY = 5, 1
REPLICATES, REPLICATES_OF_MANY = 2_000, 500


def choose_repeats(images: int) -> int:
    """Returns the number of repeats of a cross-validation of so many images."""
    return REPEATS if images <= MANY_IMAGES else REPEATS_OF_MANY


def choose_replicates(images: int) -> int:
    """Returns the number of bootstrap replicates for so many images."""
    return REPLICATES if images <= MANY_IMAGES else REPLICATES_OF_MANY
