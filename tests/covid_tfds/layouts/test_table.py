import numpy as np
import openpyxl
import pytest

from covid_tfds.common.errors import UsageError
from tests.fakes.layouts import labels, read, reasons, splits, write_images

FILES = ("films/a.png", "films/b.png", "films/c.png", "films/d.png")
PLAIN = (
    "path,label,patient_id,split,age,sex,view,source\n"
    "films/a.png,covid,p1,train,63,F,PA,north\n"
    "films/b.png,normal,p2,train,,M,AP,south\n"
    "films/c.png,covid,p1,test,055Y,F,PA,north\n"
    "films/d.png,normal,p3,val,7,,,\n"
)


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture
def films(tmp_path):
    return write_images(tmp_path, *FILES)


def test_all_columns(films):
    examples = read(write(films, PLAIN))
    assert examples.name == "table"
    assert labels(examples) == {FILES[0]: "covid", FILES[1]: "normal", FILES[2]: "covid", FILES[3]: "normal"}
    assert splits(examples) == {FILES[0]: "train", FILES[1]: "train", FILES[2]: "test", FILES[3]: "validation"}
    assert examples.patient_id.tolist() == ["p1", "p1", "p2", "p3"]
    np.testing.assert_array_equal(examples.facts["age"], [63, 55, np.nan, 7])
    assert examples.facts["view"].tolist() == ["PA", "PA", "AP", ""]
    assert examples.facts["source"].tolist() == ["north", "north", "south", ""]
    assert "path=path" in examples.layout
    assert "sex=sex" in examples.layout


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t").replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.replace("films/", "films\\"),
        PLAIN.replace("films/", "D:\\scans\\films\\"),
        PLAIN.replace("films/", ""),
        PLAIN.replace(",", " , ").replace("films/a", '"films/a').replace("a.png ,", 'a.png",'),
        PLAIN.replace("\n", "\n\n") + PLAIN.splitlines()[1] + "\n",
        PLAIN.replace("path", "File Name").replace("patient_id", "PatientID").replace("label", "Class"),
        PLAIN.replace("train", "Training").replace("test", "TEST").replace("val", "dev"),
    ],
    ids=[
        "semicolons",
        "tabs",
        "bom",
        "utf16",
        "backslashes",
        "elsewhere",
        "names",
        "blanks",
        "twice",
        "columns",
        "splits",
    ],
)
def test_the_same_table_as_others_write_it(films, text):
    plain, other = (read(write(films, one)) for one in (PLAIN, text))
    assert other.fingerprint == plain.fingerprint
    assert other.facts["source"].tolist() == plain.facts["source"].tolist()


def test_latin_1_and_long_fields(films):
    text = PLAIN.replace("north", "Málaga").replace("south", "x" * 200_000)
    examples = read(write(films, text.encode("latin-1")))
    assert examples.facts["source"].tolist()[0] == "Málaga"


def test_rsna_names_dicom_files_by_patient_and_repeats_rows(tmp_path):
    write_images(tmp_path, "stage_2/0004cfab.png", "stage_2/000924cf.png")
    table = write(tmp_path, "patientId,class\n0004cfab,Normal\n000924cf,Lung Opacity\n000924cf,Lung Opacity\n")
    examples = read(table)
    assert labels(examples) == {"stage_2/0004cfab.png": "Normal", "stage_2/000924cf.png": "Lung Opacity"}
    assert examples.patient_id.tolist() == ["000924cf", "0004cfab"]


def test_columns_are_corrected(films):
    text = "img,who,Target,label\na,p1,1,x\nb,p2,0,x\nc,p3,1,x\nd,p4,0,x\n"
    examples = read(write(films, text), columns="label=Target,patient_id=who")
    assert examples.class_names == ("0", "1")
    assert examples.patients_known


def test_a_mask_column(films):
    write_images(films, "m/a.png")
    examples = read(write(films, "path,label,mask\nfilms/a.png,covid,m/a.png\nfilms/b.png,normal,\n"))
    masks = list(examples.read_masks(np.arange(2)))
    assert masks[0].shape == (48, 56)
    assert masks[0].dtype == bool
    assert masks[1] is None


def test_rows_without_a_file_or_a_label_are_named(films):
    examples = read(
        write(films, "path,label\nfilms/a.png,covid\nfilms/x.png,covid\nfilms/b.png,normal\nfilms/c.png,\n")
    )
    assert reasons(examples) == {"row 3": "no such file: films/x.png", "row 5": "no label"}


def test_a_table_of_a_spreadsheet(films):
    book = openpyxl.Workbook()
    for line in PLAIN.splitlines():
        book.active.append(line.split(","))
    book.save(films / "table.xlsx")
    assert read(films / "table.xlsx").fingerprint == read(write(films, PLAIN)).fingerprint


@pytest.mark.parametrize(
    ("text", "flags", "named"),
    [
        ("", {}, "empty file"),
        ("a,b\n1,2\n", {}, "the path and the label.*a, b.*--columns"),
        ("path,label\nx.png,covid\n", {}, r"x\.png.*--columns"),
        ("path,label,label\nfilms/a.png,covid,covid\n", {}, "'label' is there twice"),
        ("path,label\nfilms/a.png,covid,more\n", {}, "row 2"),
        (PLAIN.replace("p1,test", "p1,"), {}, r"1 images without a split.*films/c\.png"),
        (PLAIN + "films/a.png,normal,p1,train,63,F,PA,north\n", {}, r"films/a\.png.*label 'covid' and 'normal'"),
        (PLAIN + "films/a.png,covid,p8,train,63,F,PA,north\n", {}, r"films/a\.png.*patient_id 'p1' and 'p8'"),
        (PLAIN, {"columns": "label=none"}, "label=none.*path, label, patient_id"),
        (PLAIN, {"columns": "colour=label"}, "colour=label"),
        (PLAIN, {"columns": "split=view"}, "'PA'"),
    ],
)
def test_tables_that_cannot_be_used_end_in_one_line(films, text, flags, named):
    with pytest.raises(UsageError, match=named) as caught:
        read(write(films, text), **flags)
    assert "\n" not in str(caught.value)
