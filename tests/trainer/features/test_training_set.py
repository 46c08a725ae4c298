import shutil

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from tests.fakes.examples import make_examples
from trainer.config import Config
from trainer.features import training_set
from trainer.features.training_set import load_training_set

SPLITS = ("train", "test")


def wanted(folder, **flags):
    return Config(data=DatasetRequest(dataset=str(folder)), **flags)


def test_a_folder_is_split_80_to_20_by_class(phantom_folder):
    examples = load_training_set(wanted(phantom_folder))
    assert [len(examples.rows(split)) for split in SPLITS] == [16, 4]
    assert sorted(examples.labels[examples.rows("test")]) == [0, 0, 1, 1]


def test_the_seed_decides_the_split(phantom_folder):
    splits = [load_training_set(wanted(phantom_folder, seed=seed)).split.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_patient_is_kept_on_one_side():
    patients = [f"{'covid' if row < 10 else 'normal'}-{row // 2}" for row in range(20)]
    examples = training_set.draw_split(make_examples([0] * 10 + [1] * 10, patient_id=np.asarray(patients)), seed=42)
    sides = [set(examples.patient_id[examples.rows(split)]) for split in SPLITS]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_a_class_of_four_patients_cannot_be_split():
    examples = make_examples([0] * 5 + [1] * 5, patient_id=np.asarray(list("aabcdefghi")))
    with pytest.raises(UsageError, match="'covid' has fewer than 5 patients"):
        training_set.draw_split(examples, seed=42)


def test_a_class_that_a_split_lacks_is_named(monkeypatch):
    examples = make_examples([0, 1, 0], split=np.asarray(["train", "train", "test"]))
    monkeypatch.setattr(training_set, "load_examples", lambda _: examples)
    with pytest.raises(UsageError, match="'normal' image in the test split"):
        load_training_set(Config())


def test_a_batch_larger_than_the_training_split(phantom_folder):
    with pytest.raises(UsageError, match=r"--batch_size 17 .*16 images"):
        load_training_set(wanted(phantom_folder, batch_size=17))


def draw(sizes, seed):
    """Draws a split of two classes of patients who have so many images each; returns each one's side."""
    patients = [f"{k}-{number}" for k in range(2) for number, count in enumerate(sizes) for _ in range(count)]
    examples = make_examples([int(name[0]) for name in patients], patient_id=np.asarray(patients))
    drawn = training_set.draw_split(examples, seed)
    return drawn, {str(name) for name in drawn.patient_id[drawn.rows("test")]}


def test_each_seed_draws_other_patients_and_none_is_always_tested():
    tested = [draw([3, 2, 2] + [1] * 27, seed)[1] for seed in range(60)]
    counts = [sum(f"0-{number}" in names for names in tested) for number in range(30)]
    assert min(counts) > 0
    assert max(counts) < 35


@pytest.mark.parametrize("seed", range(20))
def test_a_patient_with_many_images_never_fills_the_test_split(seed):
    """19 patients with one image and one with six, and one who has 30 of 34."""
    for sizes in ([6] + [1] * 19, [30, 1, 1, 1, 1]):
        drawn, tested = draw(sizes, seed)
        assert "0-0" not in tested
        assert len(drawn.rows("train")) > 0.75 * len(drawn)
        assert len(tested) >= 2


def test_patients_of_equal_size_give_a_fifth():
    for count in (10, 25, 100):
        drawn, tested = draw([1] * count, 1)
        assert len(drawn.rows("test")) == len(tested) == 2 * round(count / 5)
    drawn, tested = draw([10] * 5, 1)
    assert (len(drawn.rows("test")), len(tested)) == (20, 2)


def test_files_with_the_same_bytes_are_on_one_side():
    encoded = [f"image {row // 2}".encode() for row in range(40)]
    for seed in range(10):
        drawn = training_set.draw_split(make_examples([0] * 20 + [1] * 20, encoded, patient_id=np.full(40, "")), seed)
        sides = {content: set(drawn.split[[row, row + 1]]) for row, content in enumerate(encoded) if row % 2 == 0}
        assert all(len(side) == 1 for side in sides.values())


def test_the_same_bytes_under_two_labels_are_refused(phantom_folder, tmp_path):
    folder = shutil.copytree(phantom_folder, tmp_path / "both")
    for name in ("phantom-00000.png", "phantom-00002.png"):
        shutil.copy(folder / "covid" / name, folder / "normal" / f"again-{name}")
    with pytest.raises(UsageError, match=r"2 pair.*covid/phantom-00000\.png.*normal/again-phantom-00000\.png"):
        load_training_set(wanted(folder))
    pairs = tmp_path / "pairs.csv"
    with pytest.raises(UsageError, match="2 pair"):
        load_training_set(Config(data=DatasetRequest(dataset=str(folder), conflicts=str(pairs))))
    lines = pairs.read_text().splitlines()
    assert lines[0] == "path,other_path,sha256"
    assert len(lines) == 3
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(folder), exclude=str(pairs))))
    assert len(examples) == 18
    assert "covid/phantom-00000.png" not in examples.image_id


def test_validation_joins_training(monkeypatch):
    split = np.asarray(["train", "train", "validation", "validation", "test", "test"])
    examples = make_examples([0, 1] * 3, split=split)
    monkeypatch.setattr(training_set, "load_examples", lambda _: examples)
    joined = load_training_set(Config(batch_size=2))
    assert joined.split.tolist() == ["train"] * 4 + ["test"] * 2
    assert training_set.JOINED in joined.notes


def test_without_a_test_split_validation_takes_its_place(monkeypatch):
    examples = make_examples([0, 1] * 2, split=np.asarray(["train", "train", "validation", "validation"]))
    monkeypatch.setattr(training_set, "load_examples", lambda _: examples)
    assert load_training_set(Config(batch_size=2)).split.tolist() == ["train"] * 2 + ["test"] * 2
