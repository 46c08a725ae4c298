"""Turn the images that a layout found into `Examples`: each file is read once, for its hash and its header."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import FACTS, UNKNOWN, DatasetRequest, Examples
from covid_tfds.imaging.dicom import read_dicom_header
from covid_tfds.imaging.formats import is_dicom
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import find_notes, read_bytes, read_image
from covid_tfds.layouts.dicom_facts import describe_header, make_pseudonym
from covid_tfds.layouts.found import FoundImage, Layout

ONE_PATIENT = "all DICOM files state the same PatientID: their patients are taken as unknown"
THREADS = 4  # reading waits for the disk, and hashing needs no lock
SHOW_PROGRESS_FROM = 2000  # files; fewer take a second or two


@dataclass(frozen=True)
class FileFacts:
    """What the bytes of a file say.

    Attributes:
        sha256: Their hash.
        notes: Warnings about the image.
        patient_id: The pseudonym of a DICOM file's patient.
        facts: What a DICOM file states.
    """

    sha256: str
    notes: tuple[str, ...] = ()
    patient_id: str = UNKNOWN
    facts: Mapping[str, str | float] = field(default_factory=dict)


def to_examples(layout: Layout, request: DatasetRequest) -> Examples:
    """Returns the images of a layout, sorted by class and file name, whichever folders they are in.

    Raises:
        UsageError: If a file can't be read, or two images have one name.
    """
    class_names = tuple(sorted({image.label for image in layout.images}))
    place = {name: number for number, name in enumerate(class_names)}
    images = sorted(layout.images, key=lambda image: (place[image.label], image.name.rpartition("/")[2], image.name))
    names = [image.name for image in images]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"--dataset {request.dataset}: two files are called {twice[0]}. Rename one.")
    files = _inspect(images)
    images, patient_notes = _add_headers(images, files)
    sha256 = np.asarray([file.sha256 for file in files])
    split = _texts(image.split for image in images)
    return Examples(
        name=request.name,
        version="folder",
        description="",
        class_names=class_names,
        image_id=_texts(names),
        patient_id=_texts(image.patient_id for image in images),
        labels=np.asarray([place[image.label] for image in images], dtype=np.int64),
        split=split,
        sha256=sha256,
        facts=_collect_facts(images),
        read=lambda rows: (_read_unchanged(images[row], str(sha256[row])) for row in rows),
        given_split=bool((split != UNKNOWN).any()),
        layout=layout.what,
        passed_over=tuple(layout.passed_over),
        notes=(*layout.notes, *patient_notes, *_count_notes(images, files)),
        read_masks=_mask_reader(images),
    )


def _texts(values) -> np.ndarray:
    return np.asarray(list(values), dtype=np.str_)


def _collect_facts(images: Sequence[FoundImage]) -> dict[str, np.ndarray]:
    facts = {name: _texts(image.facts.get(name, UNKNOWN) for image in images) for name in FACTS}
    numbers = {name: [image.facts.get(name, np.nan) for image in images] for name in ("age", "year")}
    return facts | {name: np.asarray(values, dtype=np.float64) for name, values in numbers.items()}


def _add_headers(images: Sequence[FoundImage], files: Sequence[FileFacts]) -> tuple[list[FoundImage], list[str]]:
    """Adds what headers state where no name and no table does; returns notes on the patients, too."""
    patients = {file.patient_id for file in files} - {UNKNOWN}
    is_useless = len(patients) == 1 and sum(file.patient_id != UNKNOWN for file in files) > 1
    added = [
        dataclasses.replace(
            image,
            patient_id=image.patient_id or (UNKNOWN if is_useless else file.patient_id),
            facts={**file.facts, **image.facts},
        )
        for image, file in zip(images, files, strict=True)
    ]
    return added, [ONE_PATIENT] if is_useless else []


def _count_notes(images: Sequence[FoundImage], files: Sequence[FileFacts]) -> list[str]:
    """Each note once, with the number of images that it is about, and one of them."""
    names = defaultdict(list)
    for image, file in zip(images, files, strict=True):
        for note in file.notes:
            names[note].append(image.name)
    return [f"{len(several)} image(s), such as {several[0]}: {note}" for note, several in names.items()]


def _inspect(images: Sequence[FoundImage]) -> list[FileFacts]:
    """Reads every file once."""
    results = []
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(_inspect_file, images)
        if len(images) < SHOW_PROGRESS_FROM:
            return list(answers)
        with progress.Line(len(images), "reading files", "image") as line:
            for facts in answers:
                results.append(facts)
                line.advance()
    return results


def _inspect_file(image: FoundImage) -> FileFacts:
    encoded = _read(image.path)
    sha256 = hashlib.sha256(encoded).hexdigest()
    if not is_dicom(encoded):
        return FileFacts(sha256, tuple(find_notes(encoded)))
    try:
        header = read_dicom_header(encoded)
    except ImageError:  # named where the image is decoded
        return FileFacts(sha256)
    return FileFacts(sha256, tuple(header.notes), make_pseudonym(header.patient_id), describe_header(header))


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except ImageError as error:
        raise UsageError(f"{path}: {error}. Repair or remove it.") from error


def _read_unchanged(image: FoundImage, sha256: str) -> bytes:
    """The bytes of a file, compared with their hash: features are cached under it, so other bytes must not pass."""
    encoded = _read(image.path)
    if hashlib.sha256(encoded).hexdigest() != sha256:
        raise UsageError(f"{image.path} has changed since this command began. Give the same command again.")
    return encoded


def _mask_reader(images: Sequence[FoundImage]):
    if not any(image.mask for image in images):
        return None

    def read_masks(rows: np.ndarray) -> Iterator[np.ndarray | None]:
        return (_read_mask(images[row].mask) for row in rows)

    return read_masks


def _read_mask(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        return read_image(path).pixels[..., 0] > 127
    except ImageError as error:
        raise UsageError(f"{path}, a lung mask: {error}. Repair or remove it.") from error
