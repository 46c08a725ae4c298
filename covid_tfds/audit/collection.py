"""What is to be audited: a builder config, prepared first if need be, or a folder of images."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from covid_tfds.common.errors import UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
POSITIVE_CLASS = "covid"
TEXTS = ("image_id", "patient_id", "source", "finding", "view", "sex", "license")


@dataclass(frozen=True)
class Collection:
    """Labelled radiographs, and what their publishers say of them.

    Attributes:
        name: "covid_tfds/curated", or the folder's name.
        version: of the builder; "folder" for a folder.
        description: what the builder says of the config; empty for a folder.
        class_names: the positive class, covid, first.
        table: one row an image, with the columns of TEXTS and `label` and `split` (text, "" unknown) and `age` (years,
            NaN unknown).
        encoded: reads the bytes of the images, in the order of the table.
    """

    name: str
    version: str
    description: str
    class_names: tuple[str, str]
    table: pd.DataFrame
    encoded: Callable[[], Iterator[bytes]]


def from_config(config: str, manual_dir: str | None = None, data_dir: str | None = None) -> Collection:
    """Read a builder config.

    Args:
        config: its name.
        manual_dir: the folder with the user's own copies of images, if any.
        data_dir: where prepared datasets lie; None for TFDS's own place.

    Raises:
        UsageError: its images cannot be had.
    """
    import tensorflow_datasets as tfds

    import covid_tfds
    from covid_tfds import tf_data

    builder = covid_tfds.Builder(config=config, data_dir=data_dir)
    try:
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    except (covid_tfds.SourceError, NotADirectoryError) as error:
        raise UsageError(" ".join(str(error).split())) from error

    def examples(split: str) -> Iterator[dict]:
        skip, read_config = {"image": tfds.decode.SkipDecoding()}, tf_data.read_config()
        return builder.as_dataset(split=split, decoders=skip, read_config=read_config).as_numpy_iterator()

    label = builder.info.features["label"]
    splits = list(builder.info.splits)
    rows = [
        {name: example[name].decode() for name in TEXTS}
        | {"label": label.int2str(example["label"]), "age": float(example["age"]), "split": split}
        for split in splits
        for example in examples(split)
    ]
    return Collection(
        name=f"{builder.name}/{config}",
        version=str(builder.version),
        description=builder.builder_config.description,
        class_names=tuple(label.names),
        table=pd.DataFrame(rows),
        encoded=lambda: (example["image"] for split in splits for example in examples(split)),
    )


def from_folder(folder: Path) -> Collection:
    """Read `folder/<class>/*.jpg|jpeg|png`, the layout that `python -m trainer --dataset` takes.

    Args:
        folder: with the sub-folders `covid` and one other; a `patients.csv` (path,patient_id) in it is heeded.

    Raises:
        UsageError: it is not laid out like that, or patients.csv does not name every image.
    """
    expected = f"expected {folder}/{POSITIVE_CLASS}/ and one folder of another class, with .jpg, .jpeg or .png files"
    if not folder.is_dir():
        raise UsageError(f"--dataset {folder}: no such folder; {expected}")
    files = {
        child.name: sorted(file for file in child.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    }
    if len(files) != 2 or POSITIVE_CLASS not in files:
        raise UsageError(f"--dataset {folder}: got the class folders [{', '.join(files)}]; {expected}")
    for name, found in files.items():
        if not found:
            raise UsageError(f"--dataset {folder}: no image in the class folder {name}; {expected}")
    class_names = tuple(sorted(files, key=lambda name: name != POSITIVE_CLASS))
    rows = [
        dict.fromkeys((*TEXTS, "split"), "")
        | {"image_id": file.relative_to(folder).as_posix(), "label": name, "age": float("nan")}
        for name in class_names
        for file in files[name]
    ]
    table = pd.DataFrame(rows)
    table["patient_id"] = _patients(folder / "patients.csv", list(table.image_id))
    return Collection(
        name=folder.resolve().name,
        version="folder",
        description="",
        class_names=class_names,
        table=table,
        encoded=lambda: (_bytes(folder / image_id) for image_id in table.image_id),
    )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}; mend or remove it") from error


def _patients(file: Path, image_ids: list[str]) -> list[str]:
    if not file.exists():
        return [""] * len(image_ids)
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            if not {"path", "patient_id"} <= set(reader.fieldnames or ()):
                raise UsageError(f"{file}: expected the columns path,patient_id, got {reader.fieldnames}")
            patient_of = {row["path"]: row["patient_id"] for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read as a CSV file in UTF-8: {error}") from error
    missing = [image_id for image_id in image_ids if not patient_of.get(image_id)]
    if missing:
        raise UsageError(f"{file}: no patient_id for {len(missing)} of the images, the first is {missing[0]}")
    return [patient_of[image_id] for image_id in image_ids]
