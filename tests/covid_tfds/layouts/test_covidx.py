import pytest

from covid_tfds.common.errors import UsageError
from tests.fakes.layouts import labels, read, reasons, splits, write_images


@pytest.fixture
def covidx(tmp_path):
    write_images(
        tmp_path,
        *("train/a.png", "train/SARS 10.1148 (1).png", "train/b.jpg", "train/unlisted.png"),
        *("test/c.png", "test/d.png"),
    )
    (tmp_path / "train_COVIDx9A.txt").write_text(
        "p1 a.png positive cohen\n3 SARS 10.1148 (1).png negative rsna\r\np1 b.jpg positive\n\n"
        "p9 gone.png negative rsna\n"
    )
    (tmp_path / "test_COVIDx9A.txt").write_text("p4 c.png positive ricord\nsub 5 d.png negative rsna\n")
    return tmp_path


def test_lists_name_patient_label_and_source(covidx):
    examples = read(covidx)
    assert examples.layout.startswith("COVIDx")
    assert labels(examples) == {
        "train/SARS 10.1148 (1).png": "negative",
        "test/d.png": "negative",
        "train/a.png": "positive",
        "train/b.jpg": "positive",
        "test/c.png": "positive",
    }
    assert set(splits(examples).values()) == {"train", "test"}
    by_name = dict(
        zip(examples.image_id.tolist(), zip(examples.patient_id, examples.facts["source"], strict=True), strict=True)
    )
    assert by_name["train/a.png"] == ("p1", "cohen")
    assert by_name["train/b.jpg"] == ("p1", "")
    assert by_name["test/d.png"] == ("sub 5", "rsna")
    assert reasons(examples)["train/unlisted.png"] == "in no list"
    assert "gone.png" in reasons(examples)["train_COVIDx9A.txt, line 5"]


def test_an_image_with_two_labels(covidx):
    (covidx / "test_COVIDx9A.txt").write_text(
        "p4 c.png positive ricord\np5 d.png negative rsna\np5 d.png positive rsna\n"
    )
    with pytest.raises(UsageError, match=r"test/d\.png has two labels, 'negative' and 'positive'"):
        read(covidx)
