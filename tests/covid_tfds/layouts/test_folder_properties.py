"""Any folder of the grammar below is read whole, wherever it lies, and split without a leak."""

import functools
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.conflicts import find_conflicts
from tests.fakes.dicom import radiograph
from tests.fakes.layouts import read
from tests.fakes.properties import check_property, in_two_sizes
from trainer.features.training_set import draw_split, join_validation
from trainer.metrics.folds import assign_folds

KINDS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "DICOM")
SUFFIXES = (".png", ".JPG", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".dcm", ".IMA", "", ".850819")
NAMES = (
    "a",
    "b b",
    "c (1)",
    "ä",
    "影",
    "é.x",
    "=1",
    "-n",
    "IMG_1",
    os.fsdecode(b"\xe9"),
    "\x1b[31m",
    "person1_virus_2",
)
CLASSES = ("COVID-19", "normal", "Viral Pneumonia", "Lung_Opacity", "影像")
OTHERS = {
    "._a.png": b"fork",
    "Thumbs.db": b"x",
    ".DS_Store": b"x",
    "list.csv": b"a,b\n",
    "readme.txt": b"text",
    "__MACOSX/a.png": b"fork",
}


@functools.cache
def encode(content: int) -> bytes:
    """An image file of its own for every number."""
    pixels = np.full((6, 7), 10 + content, np.uint8)
    if (kind := KINDS[content % len(KINDS)]) == "DICOM":
        return radiograph(pixels, 8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(file, kind)
    return file.getvalue()


@dataclass(frozen=True)
class Folder:
    """Files by path, how often they are wrapped in another folder, and which of them is linked from elsewhere."""

    files: dict[str, bytes]
    depth: int
    linked: bool


@st.composite
def folders(draw) -> Folder:
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3, unique=True))
    classes = list(dict.fromkeys(["COVID-19", "normal", *classes]))
    splits = draw(st.sampled_from([("",), ("train/", "test/"), ("Train/", "TEST/", "valid/")]))
    between = draw(st.sampled_from(["", "images/", "sub/"]))
    file = st.tuples(st.sampled_from(NAMES), st.sampled_from(SUFFIXES), st.integers(0, 90))
    files = {}
    for split in splits:
        for number, name in enumerate(classes):
            for stem, suffix, content in draw(st.lists(file, min_size=6, max_size=9, unique_by=lambda one: one[2])):
                # Mostly other contents in other classes: files under two labels are a case of their own.
                own = content if content > 80 else content + 91 * number
                files[f"{split}{name}/{between}{stem}{own}{suffix}"] = encode(own % 240)
    for other in draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=3)):
        files[f"{splits[0]}{classes[0]}/{other}"] = OTHERS[other]
    return Folder(files, draw(st.integers(0, 2)), draw(st.booleans()))


def write(folder: Folder, place: Path, depth: int, backwards: bool) -> Path:
    inner = place.joinpath(*["archive"] * depth)
    names = sorted(folder.files, reverse=backwards)
    for number, name in enumerate(names):
        path = inner / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder.linked and number == 0:
            target = place.parent / f"{place.name}-elsewhere"
            target.write_bytes(folder.files[name])
            path.symlink_to(target)
        else:
            path.write_bytes(folder.files[name])
    return place


def check_folder(folder: Folder) -> None:
    with tempfile.TemporaryDirectory() as place:
        examples = read(write(folder, Path(place, "one", "set"), folder.depth, backwards=False))
        again = read(write(folder, Path(place, "two", "set"), 2 - folder.depth, backwards=True))
        encoded = list(examples.read(np.arange(len(examples))))
    assert examples.fingerprint == again.fingerprint
    assert examples.image_id.tolist() == again.image_id.tolist()
    assert len(examples) + len(examples.passed_over) == len(folder.files)
    assert sorted(encoded) == sorted(data for data in folder.files.values() if data not in OTHERS.values())
    assert all(str(name).isprintable() for name in (*examples.image_id, *examples.class_names))
    assert len(set(examples.image_id)) == len(examples)
    if find_conflicts(examples):
        return
    try:
        split = join_validation(examples) if examples.given_split else draw_split(examples, seed=1)
    except UsageError:  # too few for a split
        return
    folds = assign_folds(split.labels, split.groups, seed=1, repeats=1)[0]
    for owner in (split.sha256, split.patient_id):
        for one in set(owner) - {""}:
            assert len(set(folds[owner == one])) == 1
            assert examples.given_split or len(set(split.split[owner == one])) == 1


@in_two_sizes
def test_every_folder_is_read_whole_and_split_without_a_leak(examples):
    check_property(examples, folders(), check_folder)
