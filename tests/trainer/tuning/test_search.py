import dataclasses
import hashlib

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.new_folder import new_folder
from covid_tfds.examples import DatasetRequest
from tests.fakes import search_process
from tests.fakes.search_process import outcome
from trainer.config import Config
from trainer.features import shards
from trainer.features.backbone_features import Features, default_folder
from trainer.features.training_set import load_training_set
from trainer.recipes import TUTORIAL
from trainer.tuning import search
from trainer.tuning.trials import Problem

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")


@pytest.fixture(scope="module")
def examples(phantom_folder):
    return load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))


@pytest.mark.parametrize("change", [{"seed": 43}, {"folds": 4}, {"trials": 31}, {"tuner": "random"}, {"batch_size": 4}])
def test_what_decides_a_search_is_in_its_settings(examples, tiny, change):
    one = Config(tune=True)
    other = dataclasses.replace(one, **change)
    assert Problem.of(one, examples, tiny).settings != Problem.of(other, examples, tiny).settings


def test_data_weights_and_space_are_in_the_settings(examples, tiny, monkeypatch):
    def settings(examples, backbone):
        return Problem.of(Config(), examples, backbone).settings

    before = settings(examples, tiny)
    relabelled = dataclasses.replace(examples, labels=1 - examples.labels)
    assert settings(relabelled, tiny)["dataset"] != before["dataset"]
    assert settings(examples, dataclasses.replace(tiny, sha256="other"))["backbone"] != before["backbone"]
    monkeypatch.setattr("trainer.tuning.hypermodel.CUTS", ("block5_pool",))
    assert settings(examples, tiny)["space"] != before["space"]


def poisoned(examples, how):
    test = examples.rows("test")
    labels = examples.labels.copy()
    labels[test] = np.random.default_rng(1).permutation(1 - labels[test])
    changes = {"labels": labels, "sha256": examples.sha256.copy()}
    changes["sha256"][test] = [f"{how}-{row}" for row in test]
    if how == "undecodable":
        encoded = list(examples.read(np.arange(len(examples))))
        for row in test:
            encoded[row] = f"NaN {row}".encode()
            changes["sha256"][row] = hashlib.sha256(encoded[row]).hexdigest()
        changes["read"] = lambda rows: (encoded[row] for row in rows)
    return dataclasses.replace(examples, **changes)


@pytest.mark.parametrize("how", ["undecodable", "nan"])
def test_a_poisoned_test_split_changes_no_bit(examples, tiny, tmp_path, how):
    """Random labels, and images that can't be read or are all NaN: what is never read can't matter."""
    bad = poisoned(examples, how)
    test = bad.rows("test")
    if how == "nan":
        for recipe in (TUTORIAL, dataclasses.replace(TUTORIAL, scaling="caffe")):
            cached = Features(bad, tiny, recipe, 42, default_folder(), for_search=True)
            blank = {name: np.full_like(array, np.nan) for name, array in everything(cached, len(test)).items()}
            shards.write_shard(cached.folder, cached.key(0), bad.sha256[test], blank)
    wanted = Config(tune=True, trials=3, folds=2)
    for run, given in (("clean", examples), ("poisoned", bad)):
        with new_folder(tmp_path / run) as folder:
            search.search(folder, wanted, Problem.of(wanted, given, tiny))
    assert outcome(tmp_path / "clean") == outcome(tmp_path / "poisoned")
    if how == "nan":
        assert np.isnan(cached.pooled(test, 1)).all()
    else:
        with pytest.raises(UsageError, match="can't be decoded"):
            Features(bad, tiny, TUTORIAL, 42, tmp_path).pooled(test, 1)


def test_the_result_does_not_depend_on_the_cache(examples, tiny, tmp_path, monkeypatch):
    """Empty or filled, in another order and for the test split, too. A half-filled one: tests of the features."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    wanted = Config(tune=True, trials=3, folds=2)

    def searched(name):
        with new_folder(tmp_path / name) as folder:
            search.search(folder, wanted, Problem.of(wanted, examples, tiny))
        return outcome(tmp_path / name)

    empty = searched("empty")
    for path in default_folder().rglob("*.npz"):
        path.unlink()
    for row in reversed(range(len(examples))):
        for recipe in (dataclasses.replace(TUTORIAL, scaling="caffe"), TUTORIAL):
            Features(examples, tiny, recipe, 42, default_folder()).compute(np.asarray([row]), 1)
    assert searched("filled") == empty


def everything(cached, count):
    """All that the feature cache holds of `count` unaugmented images."""
    rows = cached.examples.rows("train")[:count]
    cached.compute(rows, 1)
    return {name: cached._read(rows, 0, name) for name in cached.names(0)}


def test_a_class_of_one_patient_can_not_be_folded(examples, tiny):
    patients = np.where(examples.labels == 0, "one patient with all covid images", examples.groups)
    one = dataclasses.replace(examples, patient_id=patients)
    with pytest.raises(UsageError, match="two patients"):
        Problem.of(Config(tune=True), one, tiny)


def test_a_fold_that_holds_out_one_class_only_is_refused():
    problem = search_process.problem()
    fold = np.where(search_process.IS_POSITIVE, problem.held_out.fold % 4, problem.held_out.fold)
    lacking = dataclasses.replace(problem, held_out=dataclasses.replace(problem.held_out, fold=fold))
    with pytest.raises(UsageError, match=r"Fold 5 of 5 .* 'covid'"):
        lacking.check()


def test_a_batch_larger_than_what_a_fold_leaves(examples, tiny):
    with pytest.raises(UsageError, match="--batch_size 14 is larger than what fold"):
        Problem.of(Config(tune=True, folds=4, batch_size=14), examples, tiny)
