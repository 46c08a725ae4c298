"""Read the manifests: one row an image, with everything that is known about it except its pixels.

The `split` column was made once, by rules that `tests/covid_tfds/sources/test_manifests.py` applies again and compares:
pinned here, no change of a library can move an image.
"""

import csv
import dataclasses
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "manifests"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of `manifests/<config>.csv`; text is `""` and a number NaN where the publisher does not say.

    Attributes:
        image_id: Unique within a config.
        label: The class.
        split: `train` or `test`.
        source: The repository.
        revision: Git commit; empty for the set that has no versions.
        path: Inside the source at that revision.
        bytes: Size of the file.
        crc32: Eight hexadecimal digits, as in a zip's directory: finds the image under another name.
        sha256: Of the file, in hex.
        width, height: In pixels.
        mode: Pillow's name for the kind of pixels: `L`, `RGB`, ...
        patient_id: With a prefix for the source.
        finding: In the publisher's words.
        view: `PA`, `AP`, or as published.
        sex: `F` or `M`.
        age: Years.
        offset_days: Days since the onset of symptoms or admission.
        location: Where the image was taken.
        license: Of this image.
        doi: Of the publication.
        url: The page of the image or its case.
    """

    image_id: str
    label: str
    split: str
    source: str
    revision: str
    path: str
    bytes: int
    crc32: str
    sha256: str
    width: int
    height: int
    mode: str
    patient_id: str
    finding: str
    view: str
    sex: str
    age: float
    offset_days: float
    location: str
    license: str
    doi: str
    url: str

    @property
    def file_name(self) -> str:
        """The publisher's file name: unlike its stem, never shared by two images of one manifest."""
        return self.path.rpartition("/")[2]


def read_manifest(config_name: str) -> list[Row]:
    """Read the manifest of a builder config.

    Args:
        config_name: `curated`, `source_matched` or `as_published`.

    Returns:
        The images in the order of the file.

    Example:
        >>> rows = read_manifest("curated")
        >>> len(rows), rows[0].label, rows[0].split
        (50, 'covid', 'train')
    """
    with (FOLDER / f"{config_name}.csv").open(encoding="utf-8", newline="") as file:
        return [_row(cells) for cells in csv.DictReader(file)]


def read_corrections(field: str) -> dict[str, str]:
    """Read what the publisher has corrected since the pinned commit.

    Args:
        field: `view`.

    Returns:
        `{sha256: corrected value}`.
    """
    with (FOLDER / "corrections.csv").open(encoding="utf-8", newline="") as file:
        return {row["sha256"]: row["corrected"] for row in csv.DictReader(file) if row["field"] == field}


def _row(cells: dict[str, str]) -> Row:
    values: dict[str, Any] = dict(cells)
    values |= {name: int(cells[name]) for name in ("bytes", "width", "height")}
    values |= {name: float(cells[name] or "nan") for name in ("age", "offset_days")}
    return Row(**values)
