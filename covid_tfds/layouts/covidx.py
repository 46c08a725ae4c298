"""Recognize COVIDx: folders train and test, and lists of lines `patient file label [source]` beside them."""

from __future__ import annotations

from pathlib import Path

from covid_tfds.common.errors import UsageError
from covid_tfds.common.names import printable
from covid_tfds.examples import PassedOver
from covid_tfds.layouts.class_folders import SPLITS, is_split_name
from covid_tfds.layouts.files import NO_IMAGE, Listing, join
from covid_tfds.layouts.found import FoundImage, Layout

WHAT = "COVIDx: train/ and test/ with lists of patient, file, label and source"


def read_covidx(folder: Path, listing: Listing) -> Layout | None:
    """Returns the images that the lists name; None where there is no list of a split.

    Raises:
        UsageError: If a line names no file of its split's folder, or a file has two labels.
    """
    lists = {parts: split for parts in listing.others if len(parts) == 1 and (split := _split_of_list(parts[0]))}
    files = {parts: SPLITS[parts[0].lower()] for parts in listing.images if len(parts) > 1 and is_split_name(parts[0])}
    if not lists or not files:
        return None
    found: dict[tuple[str, ...], FoundImage] = {}
    missing = []
    for parts, split in lists.items():
        by_name = {file[-1]: file for file, its_split in files.items() if its_split == split}
        for number, line in enumerate(_read_lines(folder / parts[0]), start=1):
            if not line:
                continue
            if not (words := _parse(line, by_name)):
                missing.append(PassedOver(f"{parts[0]}, line {number}", f"no such file: {printable(line)[:80]}"))
                continue
            patient, name, label, source = words
            file = by_name[name]
            image = FoundImage(
                join(file), folder.joinpath(*file), printable(label), split, printable(patient), {"source": source}
            )
            if file in found and found[file].label != image.label:
                two = f"'{found[file].label}' and '{label}'"
                raise UsageError(f"{folder / parts[0]}: {image.name} has two labels, {two}. Correct one.")
            found[file] = image
    if not found:
        return None
    unlisted = [PassedOver(join(parts), "in no list") for parts in listing.images if parts not in found]
    others = [PassedOver(join(parts), NO_IMAGE) for parts in listing.others if parts not in lists]
    return Layout(WHAT, [found[file] for file in sorted(found)], [*missing, *unlisted, *others])


def _split_of_list(name: str) -> str | None:
    """The split of a list by its name, such as `train_COVIDx9A.txt`; None for other files."""
    stem = Path(name).stem.lower()
    if not name.lower().endswith(".txt"):
        return None
    return next((split for word, split in SPLITS.items() if stem == word or stem.startswith(f"{word}_")), None)


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}.") from error
    return [line.strip() for line in lines]


def _parse(line: str, files: dict[str, tuple[str, ...]]) -> tuple[str, str, str, str] | None:
    """Patient, file, label and source of a line. Names hold spaces: only the files say where one ends."""
    words = line.split(" ")
    for after in (len(words) - 2, len(words) - 1):
        for start in range(1, after):
            if (name := " ".join(words[start:after])) in files:
                return " ".join(words[:start]).strip(), name, words[after], " ".join(words[after + 1 :])
    return None
