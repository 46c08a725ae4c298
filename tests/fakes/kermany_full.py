"""A made-up tree in the layout of `kermany_covid_full`'s two publishers, with tiny images and any number of them."""

import csv
import io
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds.kermany_full import listing, places

COLUMNS = (
    "patientid",
    "offset",
    "sex",
    "age",
    "finding",
    "view",
    "modality",
    "folder",
    "filename",
    "doi",
    "url",
    "license",
)


def image(index: int, suffix: str = "JPEG") -> bytes:
    """A small image that no other index gives."""
    pixels = np.random.default_rng(index).integers(0, 256, (12, 10), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, suffix)
    return buffer.getvalue()


def metadata_row(**changes: str) -> dict[str, str]:
    """A row of the COVID repository's metadata that is wanted, with some cells changed."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {
        "finding": "COVID-19",
        "view": "PA",
        "modality": "X-ray",
        "folder": "images",
        "age": "61",
        "license": "CC BY",
    }
    return row | changes


def metadata(rows: list[dict[str, str]]) -> bytes:
    """The repository's metadata.csv with these rows."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def covid(count: int) -> dict[str, bytes]:
    """Files of the COVID repository: `count` images that are wanted, two a patient, and four that are not."""
    rows = [
        metadata_row(
            patientid=str(n // 2), filename=f"image-{n}.{'png' if n % 3 else 'jpg'}", view=listing.FRONTAL[n % 3]
        )
        for n in range(count)
    ]
    others = [
        {"finding": "SARS"},
        {"view": "L"},
        {"modality": "CT"},
        {"folder": "volumes", "filename": "scan.nii.gz"},
    ]
    rows += [metadata_row(patientid="900", filename=f"other-{n}.jpg") | other for n, other in enumerate(others)]
    files = {f"images/{row['filename']}": image(n) for n, row in enumerate(rows)}
    return {"metadata.csv": metadata(rows)} | files


def kermany(count: int) -> dict[str, bytes]:
    """Files of Kaggle's archive, two a patient, a third of them normal."""
    files = {}
    for n in range(count):
        part = ("train", "train", "val", "test")[n % 4]
        name = (f"IM-{n // 2:04}-{n:04}", f"person{n // 2}_bacteria_{n}", f"person{n // 2}_virus_{n}")[n % 3]
        files[f"{part}/{'PNEUMONIA' if n % 3 else 'NORMAL'}/{name}.jpeg"] = image(100_000 + n)
    return files


def lay_out(folder: Path, covid_files: dict[str, bytes], kermany_files: dict[str, bytes]) -> Path:
    """Write both in the layout that the manifests have, and give the folder back."""
    for root, files in (
        (folder / "covid-chestxray-dataset" / places.COMMIT, covid_files),
        (folder / "chest-xray-pneumonia" / "chest_xray", kermany_files),
    ):
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    return folder


def expect(monkeypatch, covid_files: dict[str, bytes], kermany_files: dict[str, bytes]) -> None:
    """Have the builder take these for what the publishers have."""
    monkeypatch.setattr(places, "METADATA_SHA256", sha256(covid_files["metadata.csv"]).hexdigest())
    monkeypatch.setattr(listing, "KERMANY_COUNTS", dict(Counter(name.split("/")[1] for name in kermany_files)))
