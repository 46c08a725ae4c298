"""The real three-class set (COVID-19, normal, pneumonia) of the tutorial's and the curated images, in each layout.

python -m tests.fakes.three_classes DIR FOLDER    # makes FOLDER, with links to the images in the manual's DIR
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.sources import manifest

LAYOUTS = ("flat", "radiography", "split", "covidx", "table")


@dataclass(frozen=True)
class RealImage:
    """One real radiograph: where it is, and what it shows."""

    path: Path
    label: str
    patient_id: str
    source: str

    @property
    def name(self) -> str:
        return self.path.name


def list_images(manual_dir: Path) -> list[RealImage]:
    """25 COVID-19 and 25 normal images, and the 18 of pneumonia that the tutorial's archive calls normal."""
    rows = [*manifest.read_manifest("curated"), *manifest.read_manifest("as_published")]
    images = {}
    for row in rows:
        label = "pneumonia" if row.finding.startswith("Pneumonia") else row.label
        path = manual_dir / row.source / row.revision / row.path
        images[row.sha256] = RealImage(path, label, row.patient_id, row.source)
    return list(images.values())


def write_layout(images: list[RealImage], splits: dict[str, str], folder: Path, layout: str) -> Path:
    """Writes links to the images in one of LAYOUTS; returns what --dataset takes.

    Args:
        images: Of `list_images`.
        splits: "train" or "test" by file name, for the layouts that state a split.
        folder: To make.
        layout: One of LAYOUTS.
    """
    places = {
        "flat": lambda image: f"{image.label}/{image.name}",
        "radiography": lambda image: f"{image.label}/images/{image.name}",
        "split": lambda image: f"{splits[image.name].title()}/{image.label}/{image.name}",
        "covidx": lambda image: f"{splits[image.name]}/{image.name}",
        "table": lambda image: f"films/{image.name}",
    }
    names = {image.name: places[layout](image) for image in images}
    for image in images:
        path = folder / names[image.name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(image.path.resolve())
    if layout == "covidx":
        for split in ("train", "test"):
            lines = [
                f"{one.patient_id} {one.name} {one.label} {one.source}" for one in images if splits[one.name] == split
            ]
            (folder / f"{split}.txt").write_text("\n".join(lines), encoding="utf-8")
        return folder
    columns = ["path", "patient_id"] if layout != "table" else ["path", "patient_id", "label", "split"]
    table = folder / ("table.csv" if layout == "table" else "patients.csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for one in images:
            writer.writerow([names[one.name], one.patient_id, one.label, splits.get(one.name)][: len(columns)])
    return table if layout == "table" else folder


if __name__ == "__main__":
    manual_dir, made = map(Path, sys.argv[1:])
    write_layout(list_images(manual_dir), {}, made, "flat")
