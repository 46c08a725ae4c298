import numpy as np

from covid_tfds.examples import DatasetRequest
from tests.fakes.examples import make_examples
from trainer.config import Config
from trainer.run_folder.caveats import NOT_VALID, UNTRAINED, list_caveats

IMAGENET = Config(data=DatasetRequest())


def four_images(**columns):
    """Two images of each class, one of either in each split, of four patients."""
    return make_examples([0, 1, 0, 1], split=np.asarray(["train", "train", "test", "test"]), **columns)


def test_a_sound_dataset_has_no_caveat():
    assert list_caveats(IMAGENET, four_images()) == ()
    assert list_caveats(Config(weights="random"), four_images()) == (UNTRAINED,)


def test_labels_that_the_finding_contradicts_come_first():
    findings = np.asarray(["COVID-19", "Pneumonia, bacteria", "COVID-19", "Normal"])
    first, second = list_caveats(Config(weights="random"), four_images(facts={"finding": findings}))
    assert first.startswith(NOT_VALID)
    assert "1 of the 2 'normal' images" in first
    assert second == UNTRAINED


def test_patients_and_equal_files_on_both_sides_are_counted():
    (patients,) = list_caveats(IMAGENET, four_images(patient_id=np.asarray(["a", "b", "a", "c"])))
    assert patients.startswith(NOT_VALID)
    assert "1 of 3 patients" in patients
    (files,) = list_caveats(IMAGENET, four_images(encoded=[b"same", b"1", b"same", b"2"]))
    assert files.startswith(NOT_VALID)
    assert "1 pair" in files
