"""Read a user's own folder of images as `Examples`. No TensorFlow.

The layout is folder/<class>/*.jpg|jpeg|png with a class named covid. An optional table folder/patients.csv with the
columns path,patient_id names the patient of each image.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import FACTS, POSITIVE_CLASS, UNKNOWN, Examples

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
PATIENTS = "patients.csv"


def read_folder(folder: Path) -> Examples:
    """Reads a folder of images. Each file is read once for its hash, none is decoded.

    Args:
        folder: Has a sub-folder of images for covid and one for another class.

    Returns:
        The images sorted by class, covid first, then by file name. They are not split yet.

    Raises:
        UsageError: If the folder has another layout, a file can't be read, or patients.csv lacks an image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for image_id in ("covid/a.png", "normal/b.png"):
        ...         Path(name, image_id).parent.mkdir()
        ...         _ = Path(name, image_id).write_bytes(image_id.encode())
        ...     examples = read_folder(Path(name))
        ...     list(examples.read(np.array([1, 0])))
        [b'normal/b.png', b'covid/a.png']
        >>> examples.is_class("covid").tolist(), examples.patients_known
        ([True, False], False)
    """
    files = _files_by_class(folder)
    class_names = tuple(sorted(files, key=lambda name: name != POSITIVE_CLASS))
    paths = [path for name in class_names for path in files[name]]
    count = len(paths)

    def read(rows: np.ndarray) -> Iterator[bytes]:
        return (_bytes(paths[row]) for row in rows)

    image_id = np.asarray([path.relative_to(folder).as_posix() for path in paths])
    return Examples(
        name=folder.resolve().name,
        version="folder",
        description="",
        class_names=class_names,
        image_id=image_id,
        patient_id=_patients(folder / PATIENTS, image_id),
        labels=np.repeat(np.arange(len(class_names)), [len(files[name]) for name in class_names]),
        split=np.full(count, UNKNOWN),
        sha256=np.asarray([hashlib.sha256(encoded).hexdigest() for encoded in read(np.arange(count))]),
        facts={name: np.full(count, UNKNOWN) for name in FACTS} | {"age": np.full(count, np.nan)},
        read=read,
    )


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    expected = f"Expected {folder}/{POSITIVE_CLASS}/ and one folder of another class, with .jpg, .jpeg or .png files."
    if not folder.is_dir():
        raise UsageError(f"--dataset {folder}: no such folder. {expected}")
    files = {
        entry.name: sorted(file for file in entry.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if len(files) != 2 or POSITIVE_CLASS not in files:
        raise UsageError(f"--dataset {folder}: got the class folders [{', '.join(files)}]. {expected}")
    for name, found in files.items():
        if not found:
            raise UsageError(f"--dataset {folder}: no images in the class folder '{name}'. {expected}")
    return files


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}. Repair or remove it.") from error


def _patients(table: Path, image_id: np.ndarray) -> np.ndarray:
    """The patient of each image, str [n]; UNKNOWN for all of them when there is no table."""
    if not table.exists():
        return np.full(len(image_id), UNKNOWN)
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if not {"path", "patient_id"} <= set(reader.fieldnames or ()):
                raise UsageError(f"{table}: expected the columns path,patient_id, got {reader.fieldnames}.")
            patient_of = {row["path"]: row["patient_id"] for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: expected a CSV file in UTF-8, got: {error}.") from error
    missing = [name for name in image_id if not patient_of.get(name)]
    if missing:
        raise UsageError(f"{table}: {len(missing)} image(s) without a patient_id, the first is {missing[0]}.")
    return np.asarray([patient_of[name] for name in image_id])
