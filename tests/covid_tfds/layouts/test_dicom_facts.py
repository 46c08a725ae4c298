import stat

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import UNKNOWN
from covid_tfds.layouts.dicom_facts import make_pseudonym, secret_file
from tests.fakes.dicom import radiograph
from tests.fakes.layouts import read


@pytest.fixture(autouse=True)
def own_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def write(folder, **patients):
    """A DICOM file each: name of class and file joined by __ -> header."""
    for number, (name, header) in enumerate(patients.items()):
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(radiograph(np.full((16, 16), 100 + number, np.uint16), **header))
    return folder


def test_headers_are_patients_and_facts(tmp_path):
    ill = {
        "PatientID": "HOSP-1",
        "PatientAge": "063Y",
        "PatientSex": "F",
        "ViewPosition": "PA",
        "StudyDate": "20200313",
    }
    folder = write(
        tmp_path / "set", covid__a=ill, covid__b=ill | {"PatientAge": "064Y"}, normal__c={"PatientID": "HOSP-2"}
    )
    examples = read(folder)
    one, two, other = examples.patient_id.tolist()
    assert one == two != other
    assert "HOSP" not in "".join(examples.patient_id)
    np.testing.assert_array_equal(examples.facts["age"], [63, 64, np.nan])
    np.testing.assert_array_equal(examples.facts["year"], [2020, 2020, np.nan])
    assert examples.facts["sex"].tolist() == ["F", "F", ""]
    assert examples.facts["view"].tolist() == ["PA", "PA", ""]


def test_a_table_goes_before_headers(tmp_path):
    folder = write(tmp_path / "set", a={"PatientID": "H1", "PatientAge": "063Y"}, b={"PatientID": "H2"})
    (folder / "table.csv").write_text("id,label,patient_id,age\na,covid,p1,50\nb,normal,,\n")
    examples = read(folder / "table.csv")
    assert examples.patient_id.tolist() == ["p1", make_pseudonym("H2")]
    assert examples.facts["age"][0] == 50


def test_one_patient_for_all_is_nobody(tmp_path):
    examples = read(write(tmp_path / "set", covid__a={"PatientID": "X1"}, normal__b={"PatientID": "X1"}))
    assert set(examples.patient_id) == {UNKNOWN}
    assert any("PatientID" in note for note in examples.notes)


@pytest.mark.parametrize("name", ["", "Anonymous", "ANON", "unknown"])
def test_placeholders_are_nobody(name):
    assert make_pseudonym(name) == UNKNOWN


def test_the_secret_is_the_users_own(tmp_path, monkeypatch):
    first = make_pseudonym("H1")
    assert make_pseudonym("H1") == first
    assert stat.S_IMODE(secret_file().stat().st_mode) == 0o600
    assert len(bytes.fromhex(secret_file().read_text())) == 32
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert make_pseudonym("H1") != first


def test_a_secret_that_cannot_be_read_is_named(tmp_path):
    secret_file().parent.mkdir(parents=True)
    secret_file().write_text("no hex")
    with pytest.raises(UsageError, match="patient_secret"):
        make_pseudonym("H1")


def test_notes_on_images_that_are_no_chest_radiographs(tmp_path):
    examples = read(write(tmp_path / "set", covid__a={"Modality": "CT"}, normal__b={"ViewPosition": "LL"}))
    assert ["CT" in examples.notes[0], "LL" in examples.notes[1]] == [True, True]
    assert "covid/a" in examples.notes[0]
