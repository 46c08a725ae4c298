import hashlib
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import UNKNOWN
from tests.fakes.layouts import labels, read, reasons, write_images


@pytest.fixture
def copied(phantom_folder, tmp_path):
    return shutil.copytree(phantom_folder, tmp_path / "copied")


def test_a_folder_with_two_classes(phantom_folder):
    examples = read(phantom_folder)
    assert (examples.name, examples.version) == (phantom_folder.name, "folder")
    assert examples.class_names == ("covid", "normal")
    assert examples.labels.tolist() == [0] * 10 + [1] * 10
    assert all(image_id.startswith("covid/") for image_id in examples.image_id[:10])
    assert set(examples.split) == set(examples.patient_id) == {UNKNOWN}
    assert not examples.given_split
    assert not examples.has_split
    assert examples.passed_over == ()


def test_images_are_read_in_the_order_of_the_rows(phantom_folder):
    examples = read(phantom_folder)
    rows = np.array([17, 3, 3])
    expected = [(phantom_folder / examples.image_id[row]).read_bytes() for row in rows]
    assert list(examples.read(rows)) == expected
    assert [hashlib.sha256(encoded).hexdigest() for encoded in expected] == examples.sha256[rows].tolist()


def test_a_file_that_has_gone_is_named(copied):
    examples = read(copied)
    (copied / examples.image_id[3]).unlink()
    with pytest.raises(UsageError, match=str(examples.image_id[3])):
        list(examples.read(np.arange(20)))


def test_a_file_that_changes_while_a_command_runs_is_refused(copied):
    examples = read(copied)
    shutil.copy(copied / examples.image_id[4], copied / examples.image_id[3])
    with pytest.raises(UsageError, match=f"{examples.image_id[3]} has changed"):
        list(examples.read(np.arange(20)))


def test_no_tensorflow_is_imported(phantom_folder):
    code = f"""
import sys
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
assert len(load_examples(DatasetRequest(dataset={str(phantom_folder)!r}))) == 20
assert not {{"tensorflow", "tensorflow_datasets"}} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_no_image_is_passed_over_and_named(tmp_path):
    write_images(tmp_path, "covid/a.png", "covid/sub/b.JPG", "covid/c.tif", "normal/d.jfif.jpg", "normal/e.webp")
    for name in ("covid/._a.png", "covid/Thumbs.db", "normal/.DS_Store", "__MACOSX/x.png", "covid/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\26\7 no image")
    (tmp_path / "models").mkdir()
    (tmp_path / "covid" / "no-suffix").write_bytes((tmp_path / "covid" / "a.png").read_bytes() + b"\0")
    os.mkfifo(tmp_path / "covid" / "pipe.png")
    (tmp_path / "covid" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "covid" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "covid" / "again").symlink_to(tmp_path / "covid")
    examples = read(tmp_path)
    assert set(labels(examples)) == {
        *("covid/a.png", "covid/c.tif", "covid/no-suffix", "covid/sub/b.JPG"),
        *("normal/d.jfif.jpg", "normal/e.webp"),
    }
    found = reasons(examples)
    assert set(found) == {
        *("covid/._a.png", "covid/Thumbs.db", "normal/.DS_Store", "__MACOSX", "covid/notes.txt"),
        *("covid/pipe.png", "covid/zero.png", "covid/gone.png", "covid/again"),
    }
    assert found["covid/pipe.png"] == found["covid/zero.png"] == "not a regular file"
    assert found["covid/notes.txt"] == "not an image"


def test_names_that_are_not_utf8_or_hold_control_characters_are_escaped(tmp_path):
    write_images(tmp_path, "covid/a.png", "normal/b.png", "normal/c.png")
    (tmp_path / "covid" / "a.png").rename(tmp_path / "covid" / os.fsdecode(b"f\xe9vrier.png"))
    (tmp_path / "normal" / "c.png").rename(tmp_path / "normal" / "\x1b[31mc.png")
    examples = read(tmp_path)
    assert set(labels(examples)) == {"covid/f\\xe9vrier.png", "normal/b.png", "normal/\\x1b[31mc.png"}
    assert len(list(examples.read(np.arange(3)))) == 3


def test_links_to_files_and_folders_are_followed(tmp_path):
    write_images(tmp_path / "elsewhere", "a.png", "b.png")
    write_images(tmp_path / "set", "normal/c.png")
    (tmp_path / "set" / "covid").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "normal" / "d.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert set(labels(read(tmp_path / "set"))) == {"covid/a.png", "covid/b.png", "normal/c.png", "normal/d.png"}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_images(tmp_path, "covid/a.png", "normal/b.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("normal"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match="normal can't be read: Permission denied"):
        read(tmp_path)
