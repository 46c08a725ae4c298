import pytest

from covid_tfds.common.errors import UsageError
from tests.fakes.layouts import labels, read, reasons, splits, write_images


def test_any_number_of_classes(tmp_path):
    write_images(tmp_path, "COVID/a.png", "Normal/a.png", "Viral Pneumonia/a.png", "Lung_Opacity/a.png")
    examples = read(tmp_path)
    assert examples.class_names == ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")
    assert labels(examples)["Viral Pneumonia/a.png"] == "Viral Pneumonia"
    assert examples.layout.startswith("flat")


def test_radiography_database(tmp_path):
    write_images(
        tmp_path,
        *("COVID/images/COVID-1.png", "COVID/masks/COVID-1.png"),
        *("Normal/images/Normal-1.png", "Normal/masks/Normal-1.png", "Normal/images/Normal-2.png"),
        "Normal/masks/Normal-9.png",
    )
    examples = read(tmp_path)
    assert examples.layout.startswith("COVID-19 Radiography Database")
    assert set(labels(examples)) == {
        *("COVID/images/COVID-1.png", "Normal/images/Normal-1.png", "Normal/images/Normal-2.png"),
    }
    assert list(reasons(examples)) == ["Normal/masks/Normal-9.png"]
    masks = list(examples.read_masks(examples.rows("")))
    assert [mask is None for mask in masks] == [False, False, True]


@pytest.mark.parametrize(
    "names", [("train", "test", "val"), ("Train", "TEST", "valid"), ("training", "testing", "dev")]
)
def test_split_folders_inside_others(tmp_path, names):
    train, test, validation = names
    inner = tmp_path / "archive" / "chest_xray"
    write_images(
        inner,
        *(f"{train}/NORMAL/a.png", f"{train}/PNEUMONIA/b.png", f"{test}/NORMAL/c.png", f"{test}/Pneumonia/d.png"),
        f"{validation}/NORMAL/e.png",
        "chest_xray/train/NORMAL/again.png",
    )
    (tmp_path / "archive" / "README.txt").write_text("unpacked twice")
    examples = read(tmp_path)
    assert examples.class_names == ("NORMAL", "PNEUMONIA")
    assert splits(examples) == {
        f"{train}/NORMAL/a.png": "train",
        f"{train}/PNEUMONIA/b.png": "train",
        f"{test}/NORMAL/c.png": "test",
        f"{test}/Pneumonia/d.png": "test",
        f"{validation}/NORMAL/e.png": "validation",
    }
    assert examples.given_split
    assert reasons(examples) == {
        "chest_xray/train/NORMAL/again.png": "outside the class folders",
        "README.txt": "not an image",
    }


def test_covid_qu_ex_has_images_and_two_kinds_of_masks(tmp_path):
    write_images(
        tmp_path,
        *(f"{split}/COVID-19/{kind}/a.png" for split in ("Train", "Test") for kind in ("images", "infection masks")),
        *(f"{split}/Normal/{kind}/b.png" for split in ("Train", "Test") for kind in ("images", "lung masks")),
    )
    examples = read(tmp_path)
    assert set(splits(examples).values()) == {"train", "test"}
    masks = list(examples.read_masks(examples.rows("train")))
    assert [mask is None for mask in masks] == [True, False]
    assert set(reasons(examples)) == {f"{split}/COVID-19/infection masks/a.png" for split in ("Train", "Test")}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "no image folder"),
        (["covid/a.png"], r"\[covid\]"),
        (["a.png", "b.png"], "2 images outside"),
        (["train/a.png", "test/b.png"], "train.txt"),
        (["one/Train/covid/a.png", "two/Test/covid/b.png", "two/Test/x/c.png"], "one of them as --dataset"),
    ],
)
def test_other_folders_end_in_one_line_with_what_was_found(tmp_path, names, found):
    write_images(tmp_path, *names)
    with pytest.raises(UsageError, match=found) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(", or ") == 1
