import csv
import dataclasses
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import to_json
from tests.fakes import search_process
from tests.fakes.search_process import interrupt_after, outcome, run_search
from trainer.__main__ import main
from trainer.features.backbone_features import Backbone
from trainer.models import head_fitting
from trainer.recipes import TUTORIAL
from trainer.run_folder.run import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:keras_tuner")

TUNERS = ("bayesian", "random", "hyperband")


class Killed(BaseException):
    """What a SIGKILL would be if it could be raised."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "finished"
    recipe = run_search(run, 6, "bayesian")
    return run, recipe


def test_the_run_folder_holds_the_search(finished):
    run, _ = finished
    names = {path.name for path in run.rglob("*")}
    assert {"oracle.json", "tuner0.json", "trial_0", "trial.json", "tuning.csv", "tuning.json", "tuning.png"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_the_table_has_a_row_a_trial(finished):
    run, _ = finished
    table = outcome(run)["table"]
    assert [row["trial"] for row in table] == [str(number) for number in range(6)]
    for row in table:
        folds = [float(row[f"auroc_fold_{fold}"]) for fold in range(1, 6)]
        assert float(row["auroc_mean"]) == pytest.approx(np.mean(folds))
        assert float(row["auroc_sd"]) == pytest.approx(np.std(folds, ddof=1))
    assert float(table[0]["learning_rate"]) == TUTORIAL.learning_rate


def test_the_best_trial_is_returned_and_written(finished):
    run, recipe = finished
    table, summary = outcome(run)["table"], outcome(run)["summary"]
    best = max(table, key=lambda row: float(row["score"]))
    assert summary["best"]["trial"] == int(best["trial"])
    assert summary["best"]["recipe"] == dataclasses.asdict(recipe)
    assert recipe.learning_rate == float(best["learning_rate"])
    assert summary["tutorial"]["recipe"] == dataclasses.asdict(TUTORIAL)
    assert set(summary["without_selection_bias"]["auroc_gain"]) == {"value", "ci95"}


def test_folds_are_written_and_share_no_patient(finished):
    run, _ = finished
    folds = json.loads((run / "folds.json").read_text())["folds"]
    assert sorted(image for fold in folds for image in fold["images"]) == list(search_process.problem().image_id)
    patients = [patient for fold in folds for patient in fold["patients"]]
    assert len(patients) == len(set(patients))
    assert sum(sum(fold["classes"].values()) for fold in folds) == search_process.N


@pytest.mark.parametrize("tuner", TUNERS)
def test_the_tutorials_point_is_first_and_the_seed_decides_the_rest(quick, tmp_path, tuner):
    for name, seed in (("one", 42), ("same", 42), ("other", 7)):
        run_search(tmp_path / name, 8, tuner, seed=seed)
    assert quick[0] == quick[8] == quick[16] == TUTORIAL
    assert outcome(tmp_path / "one") == outcome(tmp_path / "same")
    assert outcome(tmp_path / "one") != outcome(tmp_path / "other")
    assert len(set(quick[:8])) == 8


def test_a_seed_of_zero_is_a_seed(quick, tmp_path):
    run_search(tmp_path / "one", 4, seed=0)
    run_search(tmp_path / "two", 4, seed=0)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")


def test_a_bad_combination_is_one_failed_trial_with_its_reason(tmp_path):
    def features(recipe, on_progress):
        result = search_process.made_up_features(recipe, on_progress)
        return result * np.inf if "average" in recipe.pooling else result

    run_search(tmp_path / "run", 8, the_problem=search_process.problem(features))
    table = outcome(tmp_path / "run")["table"]
    failed = [row for row in table if "average" in row["pooling"]]
    assert 0 < len(failed) < 8
    assert {row["status"] for row in failed} == {"failed"}
    assert all("epoch 1" in row["reason"] and not row["score"] for row in failed)
    assert {row["status"] for row in table if row not in failed} == {"completed"}
    assert outcome(tmp_path / "run")["summary"]["failed"] == len(failed)


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), UsageError("image.png can't be decoded")])
def test_any_other_error_stops_the_search_as_it_is(tmp_path, error):
    def features(recipe, on_progress):
        if recipe != TUTORIAL:
            raise error
        return search_process.made_up_features(recipe, on_progress)

    with pytest.raises(type(error), match=str(error)):
        run_search(tmp_path / "run", 3, the_problem=search_process.problem(features))
    assert not (tmp_path / "run").exists()


def test_a_search_whose_trials_all_fail_says_why(tmp_path):
    def features(recipe, on_progress):
        raise head_fitting.DivergedError("The loss is not finite in epoch 1.")

    with pytest.raises(UsageError, match=r"All 3 trials .*epoch 1"):
        run_search(tmp_path / "run", 3, the_problem=search_process.problem(features))


@pytest.mark.parametrize("tuner", TUNERS)
def test_killed_at_any_write_it_ends_the_same(quick, tmp_path, monkeypatch, tuner):
    """A kill between any two files, or in the middle of one: the trial under way may be repeated, no other."""
    run_search(tmp_path / "whole", 4, tuner)
    wanted = outcome(tmp_path / "whole")
    writes = 0
    real = os.replace

    def counted(source, target, **options):
        nonlocal writes
        writes += 1
        if writes == killed_at:
            raise Killed
        return real(source, target, **options)

    monkeypatch.setattr(Path, "replace", lambda self, target: counted(self, target))
    killed_at, points = 0, 0
    run_search(tmp_path / "counted", 4, tuner)
    points = writes
    assert points > 4 * 4
    for killed_at in range(1, points - 2, 1 if tuner == "random" else 11):
        run = tmp_path / f"killed_{killed_at}"
        writes = 0
        quick.clear()
        with pytest.raises(Killed):
            run_search(run, 4, tuner)
        killed_at, kept = 0, killed_at
        run_search(run, 4, tuner)
        assert outcome(run) == wanted, kept
        assert len(quick) <= 4 + 1, kept


@pytest.mark.parametrize("name", ["oracle.json", "tuner0.json", "trial_2/trial.json", "trial_2/result.json"])
def test_a_damaged_file_costs_no_other_trial(quick, tmp_path, capsys, name):
    run_search(tmp_path / "whole", 6, "bayesian")
    interrupt_after(quick, 4, tmp_path / "run")
    path = tmp_path / "run.incomplete" / "tuner" / name
    path.write_bytes(path.read_bytes()[:-7])
    quick.clear()
    run_search(tmp_path / "run", 6, "bayesian")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert len(quick) <= 3
    assert "replayed" in capsys.readouterr().err


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(quick, tmp_path):
    message = interrupt_after(quick, 3, tmp_path / "run")
    assert "3 of 6 trials" in message
    assert f"python -m trainer --tune --trials 6 --output {tmp_path / 'run'}" in message
    with (tmp_path / "run.incomplete" / "tuning.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    run_search(tmp_path / "run", 6, "bayesian")
    run_search(tmp_path / "whole", 6, "bayesian")
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_another_search_in_the_folder_is_refused(quick, tmp_path, monkeypatch):
    interrupt_after(quick, 2, tmp_path / "run")
    with pytest.raises(UsageError, match="seed: 42 then, 43 now"):
        run_search(tmp_path / "run", 6, "bayesian", search_process.problem(seed=43))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tune", "--epochs", "50"], "--epochs"),
        (["--tune", "--recipe", "tutorial"], "--recipe"),
        (["--tune", "--folds", "1"], "--folds"),
        (["--tune", "--trials", "0"], "--trials"),
    ],
)
def test_flags_that_make_no_sense(flags, named, capsys):
    assert main(flags) == 2
    assert named in capsys.readouterr().err


def test_a_plain_run_does_not_finish_a_search(quick, phantom_folder, tmp_path, capsys):
    interrupt_after(quick, 2, tmp_path / "run")
    code = main(["--dataset", str(phantom_folder), "--weights", "random", "--output", str(tmp_path / "run")])
    assert code == 2
    assert "--tune" in capsys.readouterr().err


def test_ctrl_c_gives_130(monkeypatch, capsys):
    def interrupted(config):
        raise KeyboardInterrupt("3 of 30 trials")

    monkeypatch.setattr("trainer.training.train", interrupted)
    assert main(["--tune"]) == 130
    assert "3 of 30 trials" in capsys.readouterr().err


@pytest.mark.slow
def test_the_best_trial_is_refitted_and_saved_like_any_run(phantom_folder, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Backbone, "load", lambda *_: tiny)
    flags = ["--tune", "--trials", "4", "--folds", "3", "--dataset", str(phantom_folder), "--weights", "random"]
    assert main([*flags, "--output", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "4 trials, 3 folds" in printed.out
    assert "search: 4/4 trial" in printed.err
    run = load(tmp_path / "run")
    summary = outcome(run.path)["summary"]
    assert to_json(run.environment.recipe) == summary["best"]["recipe"]
    layers = {layer.name: layer for layer in keras.models.load_model(run.model_path).layers}
    assert (
        layers["backbone"].output_shape[1:3]
        == {"block4_pool": (14, 14), "block5_pool": (7, 7)}[summary["best"]["recipe"]["cut"]]
    )
    with (run.path / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == summary["best"]["recipe"]["epochs"]
    assert (run.path / "report.html").is_file()
