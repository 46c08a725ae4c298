"""KerasTuner's oracles, made to be killed at any point, started again, and asked by workers that may die."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import keras_tuner
import numpy as np
import scipy.linalg
import threadpoolctl
from keras_tuner.engine.trial import TrialStatus
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from covid_tfds.common.files import write_sealed
from trainer.recipes import TUTORIAL
from trainer.tuning.hypermodel import build

OBJECTIVE = keras_tuner.Objective("score", "max")
ENDED = (TrialStatus.COMPLETED, TrialStatus.FAILED)
WORKERS_PER_TRIAL = 2
HYPERBAND_EPOCHS, HYPERBAND_FACTOR = 50, 4  # 1 + 22 + 6 + 2 trials make its first bracket: about the default --trials


class Restartable:
    """Mixed into an oracle: the tutorial's point first, seeds that survive a restart, files that are never half there.

    on_end: called with each trial that has ended, in the process that holds the oracle.
    """

    on_end: Callable[[keras_tuner.engine.trial.Trial], None] = staticmethod(lambda trial: None)

    def populate_space(self, trial_id: str) -> dict:
        """The hyperparameters of a trial; see `keras_tuner.Oracle.populate_space`."""
        number = int(trial_id)
        if number == 0:
            hp = keras_tuner.HyperParameters()
            build(hp)
            return {"status": TrialStatus.RUNNING, "values": hp.values}
        # Of the trial's number, not of how often was drawn before: KerasTuner doesn't keep this generator on disk.
        self._random_state = np.random.RandomState([self.seed, number])
        # One thread: the Gaussian process is tiny, and how threads share a sum would change its last bits.
        with threadpoolctl.threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of the process's length scale: nothing to be done
            return super().populate_space(trial_id)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> keras_tuner.engine.trial.Trial:
        """The next trial, or one that says to stop, or to wait while others run: one of them may yet be given back."""
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        return trial

    @keras_tuner.synchronized
    def end_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        """Record that a trial ended; see `keras_tuner.Oracle.end_trial`."""
        super().end_trial(trial)
        self.save()
        self.on_end(self.trials[trial.trial_id])

    @keras_tuner.synchronized
    def give_up_lost(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Take back the trials of workers that are no longer there and return the workers' ids.

        A trial whose worker died WORKERS_PER_TRIAL times has failed: it may be what kills them.
        """
        lost = [tuner_id for tuner_id in {*self.tuner_ids, *self.ongoing_trials} if not is_alive(tuner_id)]
        for tuner_id in lost:
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.get(tuner_id)
            if trial is None:
                continue
            self._run_times[trial.trial_id] += 1
            if self._run_times[trial.trial_id] < WORKERS_PER_TRIAL:
                self._retry_queue.append(self.ongoing_trials.pop(tuner_id).trial_id)
                self.save()
            else:
                trial.status = TrialStatus.FAILED
                trial.message = f"{WORKERS_PER_TRIAL} workers ended in the middle of it."
                self.end_trial(trial)
        return lost

    def reload(self) -> None:
        """Go on from what is on disk, wherever between two of its files the process was killed."""
        super().reload()
        # A trial whose own file was written, but not the oracle's that lists it, has not begun.
        self.trials = {trial_id: self.trials[trial_id] for trial_id in self.start_order}
        # A trial whose own file says that it ended need not be repeated.
        self._retry_queue = [i for i in dict.fromkeys(self._retry_queue) if self.trials[i].status not in ENDED]

    def save(self) -> None:
        """Write oracle.json in one step."""
        write_sealed(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: keras_tuner.engine.trial.Trial) -> None:
        write_sealed(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())


class Process(GaussianProcessRegressor):
    """scikit-learn's Gaussian process without the checks of its input, for an oracle that asks it point by point."""

    def predict(self, points: np.ndarray, return_std: bool = False):
        """Mean and, with `return_std`, standard deviation at float64 [n, d]; Rasmussen and Williams 2006, eq. 2.25f."""
        if not hasattr(self, "X_train_"):
            return super().predict(points, return_std)
        across = self.kernel_(points, self.X_train_)
        mean = self._y_train_std * (across @ self.alpha_) + self._y_train_mean
        if not return_std:
            return mean
        explained = scipy.linalg.solve_triangular(self.L_, across.T, lower=True, check_finite=False)
        variance = self.kernel_.diag(points) - np.square(explained).sum(0)
        return mean, self._y_train_std * np.sqrt(np.maximum(variance, 0))


class Bayesian(Restartable, keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's Gaussian process search. Its 20,000 questions a proposal go to `Process`: a third of the time."""

    def _make_gpr(self) -> Process:
        return Process(**super()._make_gpr().get_params(deep=False))


class Random(Restartable, keras_tuner.oracles.RandomSearchOracle):
    """KerasTuner's random search."""


class Hyperband(Restartable, keras_tuner.oracles.HyperbandOracle):
    """KerasTuner's Hyperband; the tutorial's point stays out of its brackets and has all its epochs."""


def make(kind: str, trials: int, seed: int) -> Restartable:
    """The oracle that --tuner names, for so many trials. seed: int >= 0."""
    # KerasTuner takes a seed of 0 for none. A failed trial is no reason to stop: the next one is elsewhere.
    common = {"objective": OBJECTIVE, "seed": seed + 1, "max_consecutive_failed_trials": trials + 1}
    if kind == "bayesian":
        return Bayesian(max_trials=trials, num_initial_points=max(trials // 2, 1), **common)
    if kind == "random":
        return Random(max_trials=trials, **common)
    fixed = keras_tuner.HyperParameters()
    fixed.Fixed("epochs", TUTORIAL.epochs)  # Hyperband's own tuner/epochs say how many; see `tuning.recipe_of`
    result = Hyperband(
        max_epochs=HYPERBAND_EPOCHS,
        factor=HYPERBAND_FACTOR,
        hyperband_iterations=trials,
        hyperparameters=fixed,
        **common,
    )
    result.max_trials = trials
    return result
