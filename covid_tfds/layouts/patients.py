"""Add the patient of each image: from patients.csv, --patient_pattern, or the file names of a known publisher."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from covid_tfds.common.errors import UsageError
from covid_tfds.common.names import printable
from covid_tfds.examples import UNKNOWN
from covid_tfds.layouts.file_index import FileIndex
from covid_tfds.layouts.found import FoundImage
from covid_tfds.layouts.tables import read_table
from covid_tfds.sources.patient_names import kermany_patient

PATIENTS = "patients.csv"


def add_patients(images: Sequence[FoundImage], table: Path | None, pattern: str | None) -> list[FoundImage]:
    """Returns the images with the patients of patients.csv, else of a pattern, else of a publisher's names.

    Args:
        images: Patients that a dataset's own table states stay as they are.
        table: patients.csv; None if there is none.
        pattern: A regular expression with one group, searched in each image's name; an image whose name does not match
            has no known patient.

    Raises:
        UsageError: If the table can't be used, or the pattern matches no name.
    """
    if table is not None:
        patients = _read_patients(table, [image.name for image in images])
    elif pattern is not None:
        patients = [_match(pattern, image.name) for image in images]
        if not any(patients):
            raise UsageError(f"--patient_pattern {pattern}: matches no file's name, such as {images[0].name}.")
    else:
        # The id that the builder's own configs have.
        known = (kermany_patient(image.name) for image in images)
        patients = [f"kermany-{patient}" if patient else UNKNOWN for patient in known]
    return [
        dataclasses.replace(image, patient_id=image.patient_id or patient)
        for image, patient in zip(images, patients, strict=True)
    ]


def _match(pattern: str, name: str) -> str:
    match = re.search(pattern, name)
    return (match[1] or UNKNOWN) if match else UNKNOWN


def _read_patients(path: Path, names: list[str]) -> list[str]:
    """The patient of each image; names: their paths below the folder."""
    table = read_table(path)
    file, patient = table.find_column("path", "file", "filename", "image"), table.find_column("patientid", "patient")
    if file is None or patient is None:
        raise UsageError(f"{path}: expected the columns path,patient_id, got {', '.join(table.columns)}.")
    index = FileIndex(names)
    patients: dict[int, str] = {}
    for row in table.rows:
        found, who = index.find(row[file]), printable(row[patient])
        if found is None or not who:
            continue
        if patients.setdefault(found, who) != who:
            raise UsageError(f"{path}: {names[found]} is listed with two patients, '{patients[found]}' and '{who}'.")
    if missing := [name for row, name in enumerate(names) if row not in patients]:
        raise UsageError(f"{path}: {len(missing)} image(s) without a patient_id, the first is {missing[0]}.")
    return [patients[row] for row in range(len(names))]
