"""KerasTuner's oracles, which choose the hyperparameters of the next trial, made safe against kills and lost workers.

    oracle = make_oracle("bayesian", trials=30, seed=42)

A search can be killed at any point and started again: it then makes the same proposals as an undisturbed one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import scipy.linalg
import threadpoolctl
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from covid_tfds.common.files import write_sealed
from trainer.recipes import TUTORIAL
from trainer.tuning.hypermodel import build_recipe

OBJECTIVE = keras_tuner.Objective("score", "max")
ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)
WORKERS_PER_TRIAL = 2
HYPERBAND_EPOCHS, HYPERBAND_FACTOR = 50, 4  # its first bracket has 1 + 22 + 6 + 2 trials: about the default --trials


class Restartable(keras_tuner.Oracle):
    """Base of the oracles: the tutorial's recipe comes first, files are written in one step, lost trials are retried.

    KerasTuner has no public hooks for where and how its files are written: hence the private names `_get_oracle_fname`,
    `_get_trial_dir` and `_save_trial`.

    Attributes:
        on_end: Called with each trial that has ended, in the process that holds the oracle.
    """

    on_end: Callable[[Trial], None] = staticmethod(lambda trial: None)
    trials: dict[str, Trial]

    def populate_space(self, trial_id: str) -> dict:
        """Returns the hyperparameters of a new trial; see `keras_tuner.Oracle.populate_space`."""
        if int(trial_id) == 0:
            hp = keras_tuner.HyperParameters()
            build_recipe(hp)
            return {"status": TrialStatus.RUNNING, "values": hp.values}
        return super().populate_space(trial_id)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial; its status is IDLE instead of STOPPED while a running trial may still be retried."""
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Records that a trial ended, or that it has to be retried; see `keras_tuner.Oracle.end_trial`."""
        if all(ongoing.trial_id != trial.trial_id for ongoing in self.ongoing_trials.values()):
            return  # a worker whose connection broke reports the same trial again
        super().end_trial(trial)
        self.save()
        own = self.trials[trial.trial_id]  # `trial` may be a copy that a worker sent
        if own.status in ENDED:
            self.on_end(own)

    @keras_tuner.synchronized
    def retry_lost_trials(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Takes back the trials of ended workers and returns the workers' ids.

        A trial that lost WORKERS_PER_TRIAL workers fails: it may be what ends them.
        """
        lost = [tuner_id for tuner_id in {*self.tuner_ids, *self.ongoing_trials} if not is_alive(tuner_id)]
        for tuner_id in lost:
            self.tuner_ids.discard(tuner_id)
            if trial := self.ongoing_trials.get(tuner_id):
                trial.status = TrialStatus.INVALID  # KerasTuner retries it, or, after the last retry, makes it FAILED
                trial.message = f"{WORKERS_PER_TRIAL} workers ended in the middle of it."
                self.end_trial(trial)
        return lost

    def set_state(self, state: dict) -> None:
        """Restores what oracle.json holds, also if the process was killed between two of its files.

        A trial whose own file was written, but which oracle.json does not list, has not begun. A trial whose own file
        says that it ended is not repeated.
        """
        self.trials = {trial_id: self.trials[trial_id] for trial_id in state["start_order"]}
        open_trials = {trial_id for trial_id, trial in self.trials.items() if trial.status not in ENDED}
        ongoing = {tuner_id: i for tuner_id, i in state["ongoing_trials"].items() if i in open_trials}
        waiting = [i for i in state["retry_queue"] if i in open_trials and i not in ongoing.values()]
        super().set_state({**state, "ongoing_trials": ongoing, "retry_queue": waiting})

    def save(self) -> None:
        """Writes oracle.json in one step."""
        write_sealed(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        write_sealed(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())


class FastProcess:
    """Posterior of a Gaussian process at one point at a time, without scikit-learn's checks of every point.

    The Bayesian oracle evaluates some 20,000 points for each proposal; this takes a third of the time.

    Args:
        process: scikit-learn's process, not fitted yet.
    """

    def __init__(self, process: GaussianProcessRegressor):
        # The scores are standardized here, because scikit-learn keeps its own mean and scale in private attributes.
        self._process = process.set_params(normalize_y=False)
        self._mean, self._scale = 0.0, 1.0

    def fit(self, points: np.ndarray, scores: np.ndarray) -> FastProcess:
        """Fits the process to scores, float [n], at points, float [n, d]."""
        self._mean, self._scale = scores.mean(), scores.std() or 1.0
        self._process.fit(points, (scores - self._mean) / self._scale)
        return self

    def predict(self, points: np.ndarray, return_std: bool = False):
        """Returns the mean and, with `return_std`, the standard deviation at float64 [n, d].

        Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, equations 2.25 and 2.26.
        """
        process = self._process
        if not hasattr(process, "X_train_"):
            return process.predict(points, return_std)
        across = process.kernel_(points, process.X_train_)
        mean = self._scale * (across @ process.alpha_) + self._mean
        if not return_std:
            return mean
        explained = scipy.linalg.solve_triangular(process.L_, across.T, lower=True, check_finite=False)
        variance = process.kernel_.diag(points) - np.square(explained).sum(0)
        return mean, self._scale * np.sqrt(np.maximum(variance, 0))


class Bayesian(Restartable, keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's Gaussian process search, with a faster process and seeds that survive a restart."""

    gpr: Any

    def __init__(self, **options):
        super().__init__(**options)
        self.gpr = FastProcess(self.gpr)

    def populate_space(self, trial_id: str) -> dict:
        """Returns the hyperparameters of a new trial, which depend on its number and on the ended trials alone."""
        # KerasTuner does not store this generator's state, so that after a restart it would start from its seed again.
        self._random_state = np.random.RandomState([self.seed, int(trial_id)])
        # One thread: the Gaussian process is tiny, and how threads divide a sum would change its last bits.
        with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the process's length scale: nothing to be done
            return super().populate_space(trial_id)

    def set_state(self, state: dict) -> None:
        """Restores what oracle.json holds."""
        super().set_state(state)
        self.gpr = FastProcess(self.gpr)


class Random(Restartable, keras_tuner.oracles.RandomSearchOracle):
    """KerasTuner's random search."""


class Hyperband(Restartable, keras_tuner.oracles.HyperbandOracle):
    """KerasTuner's Hyperband; the tutorial's recipe is outside its brackets and has all its epochs."""


def make_oracle(kind: str, trials: int, seed: int) -> Restartable:
    """Returns the oracle that --tuner names ("bayesian", "random", "hyperband"). seed: int >= 0."""
    common = {
        "objective": OBJECTIVE,
        "seed": seed + 1,  # KerasTuner takes a seed of 0 for none
        "max_retries_per_trial": WORKERS_PER_TRIAL - 1,
        "max_consecutive_failed_trials": trials + 1,  # failed trials are no reason to stop: the next one is elsewhere
    }
    if kind == "bayesian":
        return Bayesian(max_trials=trials, num_initial_points=max(trials // 2, 1), **common)
    if kind == "random":
        return Random(max_trials=trials, **common)
    fixed = keras_tuner.HyperParameters()
    fixed.Fixed("epochs", TUTORIAL.epochs)  # Hyperband's own tuner/epochs says how many; see `trials.recipe_of`
    oracle = Hyperband(
        max_epochs=HYPERBAND_EPOCHS,
        factor=HYPERBAND_FACTOR,
        hyperband_iterations=trials,
        hyperparameters=fixed,
        **common,
    )
    oracle.max_trials = trials
    return oracle
