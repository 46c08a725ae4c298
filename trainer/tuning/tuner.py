"""KerasTuner's tuner, which gets trials from the oracle and runs them here or in a worker's process."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common.files import write_sealed
from trainer.run_folder import file_names
from trainer.tuning import hypermodel, tensorboard, trials, workers
from trainer.tuning.scores import score_trial
from trainer.tuning.trials import Problem, TrialResult


class Tuner(BaseTuner):
    """Runs the trials of a problem; all else is KerasTuner's.

    Attributes:
        on_progress: Called with (done, total) of the features that a trial has to compute first.
    """

    def __init__(self, oracle: keras_tuner.Oracle, problem: Problem, folder: Path):
        self.problem, self.folder = problem, folder
        self.on_progress = lambda done, total: None
        self._got_none = False
        super().__init__(oracle, hypermodel.build_recipe, directory=str(folder), project_name=file_names.TUNER)

    def pre_create_trial(self) -> None:
        """Waits a little where the last request brought no trial, because others are still running theirs."""
        if self._got_none:
            time.sleep(workers.POLL_SECONDS)
        self._got_none = True

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Scores one point of the space. A bad combination is a failed trial; any other error ends the search."""
        self._got_none = False
        try:
            result = self._run_or_read(trial)
        except Exception as error:
            raise keras_tuner.errors.FatalError(str(error)) from error
        if result.failed:
            raise keras_tuner.errors.FailedTrialError(result.failed)
        score = score_trial(self.problem.held_out, result.log_p)
        return {"score": score.score, "auroc": score.auroc_mean, "log_loss": score.log_loss}

    def _run_or_read(self, trial: Trial) -> TrialResult:
        """Returns the result on disk, if it is of the same recipe, or else run the trial."""
        folder = Path(self.get_trial_dir(trial.trial_id))
        recipe = trials.recipe_of(trial.hyperparameters, self.problem.batch_size)
        result = TrialResult.read(folder)
        if result is None or result.recipe != recipe:
            result, history = trials.run_trial(self.problem, recipe, self.on_progress)
            score = None if result.failed else score_trial(self.problem.held_out, result.log_p)
            tensorboard.write_trial(self.folder, trial, score, history, self.problem.targets.shape[1])
            result.write(folder)
        return result

    def on_trial_end(self, trial: Trial) -> None:
        """Gives the trial back to the oracle; a worker also prints that, because only the chief shows the search.

        Where only the message to the oracle was lost, the finished result on disk counts.
        """
        if trial.status == TrialStatus.INVALID and TrialResult.read(Path(self.get_trial_dir(trial.trial_id))):
            self.oracle.update_trial(trial.trial_id, self.run_trial(trial))
            trial.status, trial.message = TrialStatus.COMPLETED, None
        super().on_trial_end(trial)
        if self._is_worker():
            print(f"{self.tuner_id}: trial {trial.trial_id} {trial.status.lower()}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Writes KerasTuner's files, each in one step."""
        if not self._is_worker():
            self.oracle.save()
        write_sealed(Path(self._get_tuner_fname()), self.get_state())


@contextlib.contextmanager
def quiet_keras_tuner(verbose: bool) -> Iterator[None]:
    """Shows KerasTuner's own prints only with --verbose, and raises our errors as they were before it wrapped them."""
    try:
        with contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO()):
            yield
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ or error from None
