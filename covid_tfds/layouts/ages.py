"""Ages as tables and DICOM headers write them."""

from __future__ import annotations

import re

YEARS = {"": 1, "Y": 1, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def parse_age(text: str) -> float | None:
    """Returns an age in years: of "63", "63.5", DICOM's "063Y" or "006M"; None for other text.

    Example:
        >>> [parse_age(text) for text in ("63", "063Y", "006M", "", "old")]
        [63.0, 63.0, 0.5, None, None]
    """
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*([YMWD]?)", text.strip().upper())
    return float(match[1]) * YEARS[match[2]] if match else None
