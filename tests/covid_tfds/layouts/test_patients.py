import os

import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import UNKNOWN
from tests.fakes.layouts import read, write_images

FILES = ("covid/0.png", "covid/1.png", "normal/2.png", "normal/3.png")
PLAIN = "path,patient_id\ncovid/0.png,p0\ncovid/1.png,p0\nnormal/2.png,p1\nnormal/3.png,p2\n"


def patients(folder, text):
    (folder / "patients.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(folder).patient_id.tolist()


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path, *FILES)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.replace(",", ";").replace("\n", "\r\n"),
        PLAIN.replace("/", "\\"),
        PLAIN.replace("covid/1.png,p0", "covid/1.png, p0 "),
        PLAIN.replace("covid/", "/data/hospital/covid/"),
        PLAIN + "covid/0.png,p0\n",
        PLAIN.replace("covid/", "./covid/").replace("patient_id", "Patient ID"),
    ],
    ids=["plain", "utf16", "semicolons", "backslashes", "blanks", "absolute", "twice", "dots"],
)
def test_patients_csv_as_people_write_it(folder, text):
    assert patients(folder, text) == ["p0", "p0", "p1", "p2"]


def test_latin_1(folder):
    assert patients(folder, PLAIN.replace("p0", "Müller").encode("latin-1"))[0] == "Müller"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,patient_id\n", "4 image"),
        ("file_of,who\n", "path,patient_id"),
        (PLAIN + "covid/0.png,other\n", r"covid/0\.png.*'p0' and 'other'"),
        (PLAIN.replace("covid/1.png,p0", "covid/1.png,"), r"1 image.*covid/1\.png"),
    ],
)
def test_a_patients_csv_that_cannot_be_used(folder, text, named):
    with pytest.raises(UsageError, match=rf"patients\.csv.*{named}"):
        patients(folder, text)


def test_a_pattern_finds_the_patient_in_the_name(tmp_path):
    write_images(tmp_path, "covid/s12_1.png", "covid/s12_2.png", "normal/s3_1.png", "normal/x.png")
    assert read(tmp_path, patient_pattern=r"s(\d+)_").patient_id.tolist() == ["12", "12", "3", UNKNOWN]
    with pytest.raises(UsageError, match=r"person.*covid/s12_1\.png"):
        read(tmp_path, patient_pattern=r"person(\d+)")


def test_kermanys_names_state_the_patient(tmp_path):
    write_images(
        tmp_path,
        *("train/PNEUMONIA/person1_bacteria_1.png", "test/PNEUMONIA/person1_virus_6.png"),
        *("train/NORMAL/IM-0115-0001.png", "test/NORMAL/NORMAL2-IM-0315-0001.png", "test/NORMAL/other.png"),
    )
    examples = read(tmp_path)
    assert dict(zip(examples.image_id.tolist(), examples.patient_id.tolist(), strict=True)) == {
        "test/NORMAL/NORMAL2-IM-0315-0001.png": "kermany-NORMAL2-IM-0315",
        "test/NORMAL/other.png": UNKNOWN,
        "train/NORMAL/IM-0115-0001.png": "kermany-IM-0115",
        "test/PNEUMONIA/person1_virus_6.png": "kermany-person1",
        "train/PNEUMONIA/person1_bacteria_1.png": "kermany-person1",
    }


def test_a_table_that_is_a_pipe_a_device_or_a_broken_link_is_refused(folder):
    table = folder / "patients.csv"
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("nowhere.csv")):
        make(table)
        with pytest.raises(UsageError, match=r"patients\.csv"):
            read(folder)
        table.unlink()
