"""Search for a better recipe, `--tune`: a KerasTuner search over head and preprocessing on the training split alone.

    summary = search.search(folder, config, Problem.of(config, examples, backbone))     # folder: the run being made

It leaves folds.json, tuner/ (KerasTuner's own files and a result.json per trial), tuning.csv, tuning.json and
tuning.png in the run folder. Killed at any point and called again, it continues. With KerasTuner's environment
variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT, the process whose id contains "chief"
gives out trials, and the others, in `work`, run them: same command, same shared --output.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_sealed, to_json, write_json, write_sealed
from covid_tfds.common.new_folder import destination
from trainer.config import Config
from trainer.report.plots import save
from trainer.run_folder import file_names
from trainer.tuning import oracles, plots, tensorboard, workers
from trainer.tuning.summary import SearchSummary, SearchTable
from trainer.tuning.trials import RESULT, Problem, TrialResult
from trainer.tuning.tuner import Tuner, quiet_keras_tuner

DAMAGE = (OSError, UsageError, ValueError, KeyError, TypeError, AttributeError)


def search(folder: Path, config: Config, problem: Problem) -> SearchSummary:
    """Searches, or continues the search in `folder`; writes its files and returns tuning.json's content.

    Raises:
        UsageError: If the folder holds another search, or every trial failed.
    """
    project = folder / file_names.TUNER
    project.mkdir(exist_ok=True)
    _check_settings(project, problem)
    _mend(project)
    write_json(folder / file_names.FOLDS, problem.describe_folds())
    tensorboard.write_space(folder)
    table = SearchTable(folder, problem)
    oracle = oracles.make_oracle(config.tuner, config.trials, config.seed)
    oracle.verbose = int(config.verbose)
    with quiet_keras_tuner(config.verbose):
        tuner = Tuner(oracle, problem, folder)
    for trial_id in oracle.start_order:
        if oracle.trials[trial_id].status in oracles.ENDED:
            table.add(oracle.trials[trial_id])
    try:
        _run_trials(tuner, oracle, table, config)
    except KeyboardInterrupt as stop:
        raise type(stop)(
            f"Stopped after {len(table.rows)} of {config.trials} trials. Nothing is lost: they are in {folder}. "
            f"To continue:\n  {config.command(output=str(destination(folder)))}"
        ) from None
    shutil.rmtree(project / workers.WORKERS, ignore_errors=True)
    summary = table.summarize(config.tuner)
    write_json(folder / file_names.TUNING, to_json(summary))
    failed = [number for number, row in table.rows.items() if row["status"] == "failed"]
    save(plots.draw_search(table.completed, failed, summary), folder / file_names.TUNING_PLOT)
    print(summary.describe())
    return summary


def _run_trials(tuner: Tuner, oracle: oracles.Restartable, table: SearchTable, config: Config) -> None:
    if len(table.rows) >= config.trials:
        return
    chief = workers.find_role(config) == "chief"
    description = "search, as chief" if chief else "search"
    with progress.Line(config.trials, description, "trial", done=len(table.rows), plain_seconds=0) as line:

        def on_end(trial: Trial) -> None:
            table.add(trial)
            line.advance(note=table.describe_best())

        oracle.on_end = on_end
        tuner.on_progress = lambda done, total: line.note(f"{table.describe_best()}, features {done}/{total}")
        watch = workers.watching(tuner.folder / file_names.TUNER, oracle.retry_lost_trials)
        try:
            with quiet_keras_tuner(config.verbose), watch if chief else contextlib.nullcontext():
                tuner.search()
        except RuntimeError as error:
            if chief and "bind" in str(error):
                raise UsageError(f"The chief can't listen where KERASTUNER_ORACLE_IP and _PORT say: {error}") from error
            raise


def work(folder: Path, config: Config, problem: Problem) -> None:
    """Runs trials for a chief until it has no more. folder: the run being made.

    Raises:
        UsageError: If the chief's search is another one, or the chief has ended.
    """
    project = folder / file_names.TUNER
    _check_settings(project, problem)
    with workers.registered(project), quiet_keras_tuner(config.verbose):
        tuner = Tuner(oracles.make_oracle(config.tuner, config.trials, config.seed), problem, folder)
        tuner.oracle.stub = workers.RetryingStub(tuner.oracle.stub)
        try:
            tuner.search()
        except grpc.RpcError as error:
            raise UsageError(
                f"The chief stopped answering ({error.code().name}). Start the chief again with the same --output, "
                "then this worker."
            ) from error


def _check_settings(project: Path, problem: Problem) -> None:
    """Writes search.json, or raises UsageError when there is one with other settings."""
    path = project / workers.SETTINGS
    if not path.exists():
        write_sealed(path, problem.settings)
        return
    found = read_sealed(path)
    for name, value in json.loads(json.dumps(problem.settings)).items():
        if found.get(name) != value:
            change = "" if name in ("dataset", "backbone", "space") else f": {found.get(name)} then, {value} now"
            raise UsageError(
                f"{project.parent} holds a search with another {name}{change}. Continue with the same settings, choose "
                f"another --output, or remove {project.parent} to start over."
            )


def _mend(project: Path) -> None:
    """Restarts KerasTuner's bookkeeping if one of its files or a result can't be read; good results are used again."""
    trial_files = sorted(project.glob("*/trial.json"))
    try:
        for path in (project / "oracle.json", *project.glob("tuner*.json"), *project.glob("*chief*.json")):
            if path.exists():
                read_sealed(path)
        for path in trial_files:
            read_sealed(path)
            trial = Trial.load(str(path))
            if trial.status == TrialStatus.COMPLETED and TrialResult.read(path.parent) is None:
                raise ValueError(f"{path.parent / RESULT} is damaged or missing")
    except DAMAGE as error:
        print(f"{project}: {error}. The search is replayed; finished trials are not run again.", file=sys.stderr)
        for path in (*project.glob("*.json"), *trial_files):
            if path.name != workers.SETTINGS:
                path.unlink()
