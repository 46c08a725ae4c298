"""`--tune`: a KerasTuner search over head and preprocessing that is handed the training split alone.

    recipe = searching.search(folder, config, examples, backbone)     # folder: the run being made

It leaves folds.json, tuner/ (KerasTuner's own files and a result.json a trial), tuning.csv, tuning.json and tuning.png
in the run folder. Killed at any point and called again, it goes on. With KerasTuner's environment variables
KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT the process whose id holds "chief" hands out
trials, and the others, in `work`, run them: same command, same shared --output.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_sealed, write_json, write_sealed
from covid_tfds.common.new_folder import destination, staging
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.features.backbone_features import Backbone
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.tuning import distribution, hypermodel, oracles, results, selection, trial_summaries, trials
from trainer.tuning.trials import Problem

DAMAGE = (OSError, UsageError, ValueError, KeyError, TypeError, AttributeError)


class Tuner(BaseTuner):
    """Runs the trials of a problem; all else is KerasTuner's. on_progress: told (done, total) of features computed."""

    def __init__(self, oracle: keras_tuner.Oracle, problem: Problem, folder: Path):
        self.problem, self.folder = problem, folder
        self.on_progress = lambda done, total: None
        self._asked_in_vain = False
        super().__init__(oracle, hypermodel.build_recipe, directory=str(folder), project_name=file_names.TUNER)

    def pre_create_trial(self) -> None:
        """Wait a little where the last request brought no trial, because others are still running theirs."""
        if self._asked_in_vain:
            time.sleep(distribution.POLL_SECONDS)
        self._asked_in_vain = True

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Score one point of the space. A bad combination is a failed trial; any other error ends the search."""
        self._asked_in_vain = False
        try:
            result = self._result(trial)
        except Exception as error:
            raise keras_tuner.errors.FatalError(str(error)) from error
        if result.failed:
            raise keras_tuner.errors.FailedTrialError(result.failed)
        judged = selection.judge(self.problem.question, result.log_odds)
        return {"score": judged.score, "auroc": float(judged.auroc.mean()), "log_loss": judged.log_loss}

    def _result(self, trial: Trial) -> trials.Result:
        """A trial's result: what is on disk of the same recipe, or else what running it gives."""
        folder = Path(self.get_trial_dir(trial.trial_id))
        recipe = trials.recipe_of(trial.hyperparameters, self.problem.batch_size)
        result = trials.Result.read(folder)
        if result is None or not result.is_of(recipe):
            result, history = trials.run(self.problem, recipe, self.on_progress)
            trial_summaries.write_trial(self.folder, trial, self.problem.question, result, history)
            result.write(folder)
        return result

    def on_trial_end(self, trial: Trial) -> None:
        """Hand the trial back to the oracle; a worker also says so, because only the chief shows the search."""
        super().on_trial_end(trial)
        if self._is_worker():
            print(f"{self.tuner_id}: trial {trial.trial_id} {trial.status.lower()}", file=sys.stderr, flush=True)

    def save(self) -> None:
        """Write KerasTuner's files, each in one step."""
        if not self._is_worker():
            self.oracle.save()
        write_sealed(Path(self._get_tuner_fname()), self.get_state())


def search(folder: Path, config: Config, examples: Examples, backbone: Backbone) -> Recipe:
    """Search, or go on with the search in `folder`; write its table, figures and picture and return the best recipe.

    Raises UsageError when the folder holds another search, when every trial failed, or when the data can't be folded.
    """
    return run(folder, config, Problem.of(config, examples, backbone), settings(config, examples, backbone))


def run(folder: Path, config: Config, problem: Problem, wanted: dict) -> Recipe:
    """`search` over a problem that is already stated. wanted: what a search must agree on with what it goes on from."""
    project = folder / file_names.TUNER
    project.mkdir(exist_ok=True)
    _agree(project, wanted)
    _mend(project)
    write_json(folder / file_names.FOLDS, problem.describe_folds())
    trial_summaries.write_space(folder)
    table = results.Table(folder, problem)
    oracle = oracles.make_oracle(config.tuner, config.trials, config.seed)
    oracle.verbose = int(config.verbose)
    with _keras_tuner(config.verbose):
        tuner = Tuner(oracle, problem, folder)
    for trial_id in oracle.start_order:
        if oracle.trials[trial_id].status in oracles.ENDED:
            table.add(oracle.trials[trial_id])
    try:
        _search(tuner, oracle, table, config)
    except KeyboardInterrupt as stop:
        raise type(stop)(_how_to_go_on(config, folder, len(table.rows))) from None
    shutil.rmtree(project / distribution.WORKERS, ignore_errors=True)
    return table.finish(config)


def _search(tuner: Tuner, oracle: keras_tuner.Oracle, table: results.Table, config: Config) -> None:
    if len(table.rows) >= config.trials:
        return
    chief = distribution.role(config) == "chief"
    description = "search, as chief" if chief else "search"
    with progress.Line(config.trials, description, "trial", done=len(table.rows), plain_seconds=0) as line:

        def on_end(trial: Trial) -> None:
            table.add(trial)
            line.advance(note=table.best())

        oracle.on_end = on_end
        tuner.on_progress = lambda done, total: line.note(f"{table.best()}, features {done}/{total}")
        watch = distribution.watching(tuner.folder / file_names.TUNER, oracle.retry_lost_trials)
        try:
            with _keras_tuner(config.verbose), watch if chief else contextlib.nullcontext():
                tuner.search()
        except RuntimeError as error:
            if chief and "bind" in str(error):
                raise UsageError(f"The chief can't listen where KERASTUNER_ORACLE_IP and _PORT say: {error}") from error
            raise


def work(config: Config, examples: Examples, backbone: Backbone) -> None:
    """Run trials for a chief until it has no more. Raises UsageError when its search is another or it is gone."""
    serve(config, Problem.of(config, examples, backbone), settings(config, examples, backbone))


def serve(config: Config, problem: Problem, wanted: dict) -> None:
    """`work` on a problem that is already stated; wanted: as for `run`."""
    folder = staging(Path(config.output))
    project = folder / file_names.TUNER
    _agree(project, wanted)
    with distribution.present(project), _keras_tuner(config.verbose):
        tuner = Tuner(oracles.make_oracle(config.tuner, config.trials, config.seed), problem, folder)
        try:
            tuner.search()
        except grpc.RpcError as error:
            raise UsageError(
                f"The chief stopped answering ({error.code().name}). Start it again with the same --output, then this."
            ) from error


def settings(config: Config, examples: Examples, backbone: Backbone) -> dict:
    """search.json: what decides every trial's hyperparameters and result."""
    return {
        "seed": config.seed,
        "folds": config.folds,
        "tuner": config.tuner,
        "trials": config.trials,
        "batch_size": config.batch_size,
        "precision": backbone.precision,
        "dataset": examples.fingerprint,
        "backbone": backbone.sha256,
        "space": hypermodel.describe_space(),
    }


def _agree(project: Path, wanted: dict) -> None:
    """Write search.json, or raise UsageError when one is there that says something else."""
    path = project / distribution.SETTINGS
    if not path.exists():
        write_sealed(path, wanted)
        return
    found = read_sealed(path)
    for name, value in json.loads(json.dumps(wanted)).items():
        if found.get(name) != value:
            told = "" if name in ("dataset", "backbone", "space") else f": {found.get(name)} then, {value} now"
            raise UsageError(
                f"{project.parent} holds a search with another {name}{told}. Go on with what it began with, choose "
                f"another --output, or remove {project.parent} to start over."
            )


def _mend(project: Path) -> None:
    """If a file of KerasTuner's or a result can't be read, start its bookkeeping over; good results are used again."""
    kept = sorted(project.glob("*/trial.json"))
    try:
        for path in (project / "oracle.json", *project.glob("tuner*.json"), *project.glob("*chief*.json")):
            if path.exists():
                read_sealed(path)
        for path in kept:
            read_sealed(path)
            trial = Trial.load(str(path))
            if trial.status == TrialStatus.COMPLETED and trials.Result.read(path.parent) is None:
                raise ValueError(f"{path.parent / trials.RESULT} is damaged or missing")
    except DAMAGE as error:
        print(f"{project}: {error}. The search is replayed; finished trials are not run again.", file=sys.stderr)
        for path in (*project.glob("*.json"), *kept):
            if path.name != distribution.SETTINGS:
                path.unlink()


def _how_to_go_on(config: Config, folder: Path, done: int) -> str:
    return (
        f"Stopped after {done} of {config.trials} trials. Nothing is lost: they are in {folder}. To go on:\n"
        f"  {config.command(output=str(destination(folder)))}"
    )


@contextlib.contextmanager
def _keras_tuner(verbose: bool) -> Iterator[None]:
    """KerasTuner's own prints only with --verbose, and our errors as they were before it wrapped them."""
    try:
        with contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO()):
            yield
    except keras_tuner.errors.FatalError as error:
        raise error.__cause__ or error from None
