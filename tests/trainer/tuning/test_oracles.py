import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from trainer.recipes import TUTORIAL
from trainer.tuning import hypermodel, oracles

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")


KERNEL = Matern(nu=2.5, length_scale_bounds="fixed")


def oracle(folder, kind="random", trials=6, seed=3):
    result = oracles.make_oracle(kind, trials, seed)
    result.verbose = 0
    result._set_project_dir(str(folder), "tuner")
    hp = keras_tuner.HyperParameters()
    hypermodel.build_recipe(hp)
    result.update_space(hp)
    return result


def end(oracle, trial, score):
    oracle.update_trial(trial.trial_id, {"score": score})
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def proposals(oracle, count):
    result = []
    for _ in range(count):
        trial = oracle.create_trial("tuner0")
        result.append(trial.hyperparameters.values)
        end(oracle, trial, trial.hyperparameters["learning_rate"])
    return result


@pytest.mark.parametrize("kind", ["bayesian", "random", "hyperband"])
def test_a_reloaded_oracle_proposes_what_it_would_have(tmp_path, kind):
    whole = proposals(oracle(tmp_path / "whole", kind), 6)
    begun = oracle(tmp_path / "begun", kind)
    assert proposals(begun, 4) == whole[:4]
    begun.save()
    going_on = oracle(tmp_path / "begun", kind)
    going_on.reload()
    assert proposals(going_on, 2) == whole[4:]


@pytest.mark.parametrize("kind", ["bayesian", "random", "hyperband"])
def test_the_first_trial_is_the_tutorials_with_all_its_epochs(tmp_path, kind):
    first, second = proposals(oracle(tmp_path, kind), 2)
    hp = keras_tuner.HyperParameters()
    hp.values = first
    assert hypermodel.build_recipe(hp) == TUTORIAL
    assert "tuner/epochs" not in first
    assert ("tuner/epochs" in second) == (kind == "hyperband")


def test_hyperband_stops_at_the_number_of_trials(tmp_path):
    one = oracle(tmp_path, "hyperband", trials=30)
    epochs = [values.get("tuner/epochs") for values in proposals(one, 30)]
    assert one.create_trial("tuner0").status == TrialStatus.STOPPED
    assert max(epochs[1:]) == oracles.HYPERBAND_EPOCHS
    assert epochs[1] < oracles.HYPERBAND_EPOCHS / 8


def test_a_worker_waits_while_a_trial_may_be_retried(tmp_path):
    one = oracle(tmp_path, trials=2)
    first, second = one.create_trial("a"), one.create_trial("b")
    end(one, second, 0.5)
    assert one.create_trial("b").status == TrialStatus.IDLE
    assert one.retry_lost_trials(lambda tuner_id: tuner_id != "a") == ["a"]
    again = one.create_trial("b")
    assert again.trial_id == first.trial_id
    end(one, again, 0.5)
    assert one.create_trial("b").status == TrialStatus.STOPPED
    assert not one.tuner_ids


def test_a_trial_that_loses_two_workers_fails(tmp_path):
    one = oracle(tmp_path, trials=3)
    for tuner_id in ("a", "b"):
        trial = one.create_trial(tuner_id)
        one.retry_lost_trials(lambda _: False)
    assert one.trials[trial.trial_id].status == TrialStatus.FAILED
    assert "2 workers" in one.trials[trial.trial_id].message
    assert one.create_trial("c").trial_id != trial.trial_id


def test_a_living_worker_keeps_its_trial(tmp_path):
    one = oracle(tmp_path)
    trial = one.create_trial("a")
    assert one.retry_lost_trials(lambda _: True) == []
    assert one.create_trial("a").trial_id == trial.trial_id


def test_the_fast_process_predicts_what_scikit_learns_does():
    random = np.random.default_rng(0)
    x, y = random.uniform(size=(12, 5)), random.normal(5, 3, size=12)
    options = {"kernel": KERNEL, "normalize_y": True, "alpha": 1e-4, "random_state": 1}
    plain = GaussianProcessRegressor(**options).fit(x, y)
    fast = oracles.FastProcess(GaussianProcessRegressor(**options)).fit(x, y)
    points = random.uniform(size=(7, 5))
    for one, other in zip(plain.predict(points, return_std=True), fast.predict(points, return_std=True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(plain.predict(points), fast.predict(points), rtol=1e-9)


def test_equal_scores_are_no_division_by_zero():
    process = oracles.FastProcess(GaussianProcessRegressor(kernel=KERNEL))
    process.fit(np.eye(3), np.full(3, 0.7))
    np.testing.assert_allclose(process.predict(np.eye(3)), 0.7)


def test_an_unfitted_process_gives_its_prior():
    process = oracles.FastProcess(GaussianProcessRegressor(kernel=KERNEL))
    mean, deviation = process.predict(np.zeros((2, 3)), return_std=True)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(deviation, 1)
