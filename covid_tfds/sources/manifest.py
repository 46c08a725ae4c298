"""The manifests: one row an image, with everything that is known about it except its pixels."""

import csv
import dataclasses
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "manifests"


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of `manifests/<config>.csv`; text is `""` and a number NaN where the publisher does not say."""

    image_id: str
    label: str
    split: str
    source: str
    revision: str  # git commit; empty for the set that has no versions
    path: str  # inside the source at that revision
    bytes: int
    crc32: str  # eight hexadecimal digits, as in a zip's directory: how the image is found under another name
    sha256: str
    width: int
    height: int
    mode: str  # Pillow's
    patient_id: str
    finding: str
    view: str
    sex: str
    age: float  # years
    offset_days: float  # since the onset of symptoms or admission
    location: str
    license: str
    doi: str
    url: str

    @property
    def file_name(self) -> str:
        """The publisher's file name: unlike its stem, never shared by two images of one manifest."""
        return self.path.rpartition("/")[2]


def load(config_name: str) -> list[Row]:
    """Read the manifest of a builder config.

    Args:
        config_name: `curated`, `source_matched` or `as_published`.

    Returns:
        The images in the order of the file.
    """
    with (FOLDER / f"{config_name}.csv").open(encoding="utf-8", newline="") as file:
        return [_typed(row) for row in csv.DictReader(file)]


def _typed(row: dict[str, str]) -> Row:
    numbers = {name: int(row[name]) for name in ("bytes", "width", "height")}
    unknown_as_nan = {name: float(row[name] or "nan") for name in ("age", "offset_days")}
    return Row(**(row | numbers | unknown_as_nan))
