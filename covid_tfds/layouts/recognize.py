"""Recognize the layout of a folder, or say in one line what was found and which layouts are the nearest."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest, PassedOver
from covid_tfds.layouts.class_folders import is_split_name, read_class_folders
from covid_tfds.layouts.covidx import read_covidx
from covid_tfds.layouts.files import NO_IMAGE, Listing, join, list_files
from covid_tfds.layouts.found import Layout
from covid_tfds.layouts.metadata_sheets import add_sources
from covid_tfds.layouts.patients import PATIENTS, add_patients
from covid_tfds.layouts.table import read_image_table

LAYOUTS = {
    "flat": "<class>/ (each class a folder with images)",
    "split": "train/<class>/ and test/<class>/",
    "covidx": "train/ and test/ with train.txt and test.txt (patient file label source)",
    "table": "a table with a path and a label column (--dataset table.csv)",
}
MOST_NAMED = 6


def recognize(request: DatasetRequest) -> Layout:
    """Returns the images of the folder or table that a request names, with their patients.

    Raises:
        UsageError: If it can't be read or understood.
    """
    path = Path(request.dataset or "")
    if path.is_dir():
        if request.columns:
            raise UsageError("--columns applies to a table: give one as --dataset, or leave out --columns.")
        return _read_folder(path, request.patient_pattern)
    layout = read_image_table(path, request.columns)
    return dataclasses.replace(layout, images=add_patients(layout.images, None, request.patient_pattern))


def _read_folder(outer: Path, pattern: str | None) -> Layout:
    folder, listing, above = _pass_through(outer, list_files(outer))
    layout = read_covidx(folder, listing) or read_class_folders(folder, listing)
    if layout is None:
        raise UsageError(_explain(outer, folder, listing))
    images, sheets = add_sources(layout.images, folder, listing.others)
    # A broken link or a pipe of that name is an error of `read_table`, not a dataset without patients.
    tables = [place / PATIENTS for place in (folder, *above) if os.path.lexists(place / PATIENTS)]
    images = add_patients(images, tables[0] if tables else None, pattern)
    used = {join(parts) for parts in sheets} | {PATIENTS}
    passed_over = [one for one in (*listing.passed_over, *layout.passed_over) if one.name not in used]
    return dataclasses.replace(layout, images=images, passed_over=passed_over)


def _pass_through(folder: Path, listing: Listing) -> tuple[Path, Listing, list[Path]]:
    """Goes down through outer folders that hold nothing but one folder with images: zips are often nested like that.

    Returns:
        The inner folder, its listing, and the folders above it, the innermost first.
    """
    above: list[Path] = []
    while len({parts[0] for parts in listing.images}) == 1 and all(len(parts) > 2 for parts in listing.images):
        name = listing.images[0][0]
        above.insert(0, folder)
        folder = folder / name
        outside = [PassedOver(join(parts), NO_IMAGE) for parts in listing.others if parts[0] not in (name, PATIENTS)]
        listing = Listing(
            [parts[1:] for parts in listing.images],
            [parts[1:] for parts in listing.others if parts[0] == name],
            [*listing.passed_over, *outside],
        )
    return folder, listing, above


def _explain(outer: Path, folder: Path, listing: Listing) -> str:
    """What was found in a folder that no layout fits, and the two nearest layouts."""
    folders = dict.fromkeys(parts[0] for parts in listing.images if len(parts) > 1)
    loose = sum(len(parts) == 1 for parts in listing.images)
    tables = [join(parts) for parts in listing.others if parts[-1].lower().endswith((".csv", ".tsv", ".xlsx"))]
    found = [
        f"image folders [{', '.join(join((name,)) for name in [*folders][:MOST_NAMED])}]"
        if folders
        else "no image folder"
    ]
    found += [f"{loose} images outside of folders"] if loose else []
    found += [f"the table {tables[0]}"] if tables else []
    found += [f"{len(listing.passed_over)} entries that can't be used"] if listing.passed_over else []
    if any(is_split_name(name) for parts in listing.images for name in parts[1:-1]):
        found.append("train/ or test/ inside of them: if each is a dataset, give one of them as --dataset")
    nearest = ["table", "flat"] if tables else ["flat", "split"]
    if any(is_split_name(name) for name in folders):
        nearest = ["covidx", "split"] if loose or all(len(parts) < 3 for parts in listing.images) else ["split", "flat"]
    where = "" if folder == outer else f" in {folder.relative_to(outer)}"
    one, other = (LAYOUTS[name] for name in nearest)
    return f"--dataset {outer}: found {', '.join(found)}{where}. Expected {one}, or {other}."
