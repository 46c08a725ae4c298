import hashlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import UNKNOWN
from covid_tfds.layouts import read_folder


@pytest.fixture
def copied(phantom_folder, tmp_path):
    return shutil.copytree(phantom_folder, tmp_path / "copied")


def patients(folder, text):
    (folder / "patients.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_folder_with_two_classes(phantom_folder):
    examples = read_folder(phantom_folder)
    assert (examples.name, examples.version) == (phantom_folder.name, "folder")
    assert examples.class_names == ("covid", "normal")
    assert examples.labels.tolist() == [0] * 10 + [1] * 10
    assert all(image_id.startswith("covid/") for image_id in examples.image_id[:10])
    assert set(examples.split) == set(examples.patient_id) == {UNKNOWN}


def test_images_are_read_in_the_order_asked(phantom_folder):
    examples = read_folder(phantom_folder)
    rows = np.array([17, 3, 3])
    expected = [(phantom_folder / examples.image_id[row]).read_bytes() for row in rows]
    assert list(examples.read(rows)) == expected
    assert [hashlib.sha256(encoded).hexdigest() for encoded in expected] == examples.sha256[rows].tolist()


def test_covid_comes_first_whatever_the_other_class_is_called(copied):
    (copied / "normal").rename(copied / "atelectasis")
    assert read_folder(copied).class_names == ("covid", "atelectasis")


def test_patients_csv_says_whose_images_they_are(copied):
    names = read_folder(copied).image_id
    lines = [f"{name},p{index // 2}" for index, name in enumerate(names)]
    patients(copied, "\ufeff" + "\n".join(["path,patient_id", *reversed(lines)]))
    examples = read_folder(copied)
    assert examples.patients_known
    assert examples.patient_id.tolist() == [f"p{index // 2}" for index in range(20)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,patient_id\n", "20 image"),
        ("file,who\n", "path,patient_id"),
        (b"path,patient_id\n\xff\xfe,1\n", "UTF-8"),
    ],
)
def test_a_patients_csv_that_cannot_be_used(copied, text, named):
    patients(copied, text)
    with pytest.raises(UsageError, match=rf"patients\.csv.*{named}"):
        read_folder(copied)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (shutil.rmtree, "copied: no such folder"),
        (lambda folder: [shutil.rmtree(path) for path in folder.iterdir()], r"\[\]"),
        (lambda folder: shutil.rmtree(folder / "normal"), r"\[covid\]"),
        (lambda folder: (folder / "covid").rename(folder / "ill"), r"\[ill, normal\]"),
        (lambda folder: [path.unlink() for path in (folder / "normal").iterdir()], "'normal'"),
    ],
)
def test_folders_of_another_layout(copied, spoil, named):
    spoil(copied)
    with pytest.raises(UsageError, match=named):
        read_folder(copied)


def test_a_file_that_has_gone_is_named(copied):
    examples = read_folder(copied)
    (copied / examples.image_id[3]).unlink()
    with pytest.raises(UsageError, match=str(examples.image_id[3])):
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
