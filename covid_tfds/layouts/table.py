"""Read a table of images: find its columns (path or id, label, and facts of each image) and the files it names."""

from __future__ import annotations

import os
from pathlib import Path

from covid_tfds.classes import split_names
from covid_tfds.common.errors import UsageError
from covid_tfds.common.names import printable
from covid_tfds.examples import UNKNOWN, PassedOver
from covid_tfds.layouts.ages import parse_age
from covid_tfds.layouts.class_folders import MASKS, SPLITS
from covid_tfds.layouts.file_index import FileIndex
from covid_tfds.layouts.files import join, list_files
from covid_tfds.layouts.found import FoundImage, Layout
from covid_tfds.layouts.tables import Table, read_table, simplify

# Names of columns, simplified; the first that is there is taken.
COLUMNS = {
    "path": (
        *("path", "filepath", "imagepath", "imgpath", "file", "filename", "image", "imagename", "img", "imageindex"),
        *("imagefile", "imageid", "dicomid", "sopinstanceuid", "id"),
    ),
    "label": (
        *("label", "labels", "class", "classname", "finding", "findings", "findinglabels", "diagnosis", "category"),
        "target",
    ),
    "patient_id": ("patientid", "patient", "subjectid", "subject", "pid", "caseid"),
    "split": ("split", "set", "subset", "partition"),
    "age": ("age", "patientage", "ageyears"),
    "sex": ("sex", "gender", "patientsex", "patientgender"),
    "view": ("view", "viewposition", "projection"),
    "source": ("source", "site", "hospital", "institution", "url", "origin"),
    "mask": ("mask", "maskpath", "maskfile", "lungmask"),
    "license": ("license", "licence"),
}
STATED = ("label", "split", "patient_id", "facts", "mask")
FACTS = ("sex", "view", "source", "license")


def read_image_table(path: Path, corrections: str | None) -> Layout:
    """Returns the images of a table; files are looked for from the table's folder.

    Args:
        path: A CSV, TSV or .xlsx file.
        corrections: Columns under other names, "label=Target,path=img".

    Raises:
        UsageError: If the table can't be understood, names no file that is there, or gives an image two labels.
    """
    table = read_table(path)
    columns = _choose_columns(table, corrections)
    files = _find_files(path.parent, [row[columns["path"]] for row in table.rows])
    found: dict[str, FoundImage] = {}
    passed_over = []
    for number, row in enumerate(table.rows, start=2):
        values = {what: row[column] for what, column in columns.items()}
        if (file := files.get(values["path"])) is None:
            passed_over.append(PassedOver(f"row {number}", f"no such file: {printable(values['path'])[:80]}"))
        elif not values["label"]:
            passed_over.append(PassedOver(f"row {number}", "no label"))
        else:
            image = _describe_image(path.parent, file, values)
            if (before := found.setdefault(image.name, image)) != image:
                what = next(field for field in STATED if getattr(before, field) != getattr(image, field))
                values_of = f"'{getattr(before, what)}' and '{getattr(image, what)}'"
                raise UsageError(f"{path}: {image.name} is in several rows, with the {what} {values_of}. Correct one.")
    if not found:
        first = printable(table.rows[0][columns["path"]])[:80] if table.rows else "(no rows)"
        raise UsageError(
            f"{path}: expected files below {path.parent} in the column '{columns['path']}' and labels in "
            f"'{columns['label']}', got no such file or no label in any row, the first: {first}. Choose other columns "
            "with --columns path=NAME,label=NAME."
        )
    without = [image.name for image in found.values() if not image.split]
    if 0 < len(without) < len(found):
        raise UsageError(f"{path}: {len(without)} images without a split, the first is {without[0]}. Give all or none.")
    taken = ", ".join(f"{what}={column}" for what, column in columns.items())
    return Layout(f"table, columns {taken}", sorted(found.values(), key=lambda image: image.name), passed_over)


def _choose_columns(table: Table, corrections: str | None) -> dict[str, str]:
    """Which column holds what."""
    columns = {what: column for what, names in COLUMNS.items() if (column := table.find_column(*names))}
    if "split" in columns and any(row[columns["split"]].lower() not in {*SPLITS, ""} for row in table.rows):
        del columns["split"]  # its values are no splits
    for correction in split_names(corrections):
        what, _, name = (part.strip() for part in correction.partition("="))
        if what not in COLUMNS:
            raise UsageError(f"--columns {correction}: expected one of {', '.join(COLUMNS)} before the =.")
        if (column := table.find_column(simplify(name))) is None:
            raise UsageError(f"--columns {correction}: no such column, {table.path} has {', '.join(table.columns)}.")
        columns[what] = column
    if "path" not in columns and "patient_id" in columns:
        columns["path"] = columns["patient_id"]  # in RSNA's table the file's name is in this column
    if missing := [what for what in ("path", "label") if what not in columns]:
        raise UsageError(
            f"{table.path}: no column is recognized as the {' and the '.join(missing)}, got "
            f"{', '.join(table.columns)}. Name it: --columns {','.join(f'{what}=NAME' for what in missing)}."
        )
    return columns


def _find_files(folder: Path, texts: list[str]) -> dict[str, Path]:
    """Returns the file of each text; texts without a file are left out."""
    found = {text: path for text in dict.fromkeys(texts) if (path := _find_file(folder, text))}
    if missing := [text for text in dict.fromkeys(texts) if text and text not in found]:
        listed = [parts for parts in list_files(folder).images if not any(MASKS.search(part) for part in parts[:-1])]
        index = FileIndex([join(parts) for parts in listed])
        rows = {text: index.find(text) for text in missing}
        found |= {text: folder.joinpath(*listed[row]) for text, row in rows.items() if row is not None}
    return found


def _find_file(folder: Path, text: str) -> Path | None:
    """Returns the file at a path as it is written, from the folder; None if there is none."""
    for path in (folder / text, folder / text.replace("\\", "/")):
        if text and _is_file(path):
            return path
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def _describe_image(folder: Path, file: Path, values: dict[str, str]) -> FoundImage:
    facts: dict[str, str | float] = {name: printable(values[name]) for name in FACTS if values.get(name)}
    if (age := parse_age(values.get("age", ""))) is not None:
        facts["age"] = age
    split = values.get("split", "")
    if split and split.lower() not in SPLITS:
        raise UsageError(f"--columns: expected train, validation or test as a split, got '{printable(split)}'.")
    return FoundImage(
        name=printable(Path(os.path.relpath(file, folder) if folder in file.parents else file).as_posix()),
        path=file,
        label=printable(values["label"]),
        split=SPLITS.get(split.lower(), UNKNOWN),
        patient_id=printable(values.get("patient_id", UNKNOWN)),
        facts=facts,
        mask=_find_file(folder, values.get("mask", "")),
    )
