import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from covid_tfds.common.errors import UsageError
from tests.fakes import search_process
from tests.fakes.two_classes import log_p
from trainer.recipes import TUTORIAL
from trainer.tuning import summary
from trainer.tuning.scores import CorrectedScores, DrawnMean
from trainer.tuning.trials import TrialResult

ODDS = np.where(search_process.IS_POSITIVE, 3.0, -3.0)
SURE, WRONG = log_p(ODDS), log_p(-ODDS)
SCORED = summary.CompletedTrial(
    score=0.7,
    auroc_mean=0.7,
    auroc_sd=0.1,
    auroc_folds=(0.6, 0.8),
    log_loss=0.6,
    trial=0,
    hyperparameters={},
    recipe=TUTORIAL,
)


def searched(**changes) -> summary.SearchSummary:
    estimate = DrawnMean(0.75, (0.6, 0.9))
    whole = summary.SearchSummary(
        trials=8,
        failed=0,
        folds=5,
        images=40,
        patients=30,
        tuner="random",
        how="",
        best=dataclasses.replace(SCORED, trial=3, auroc_mean=0.9),
        tutorial=SCORED,
        without_selection_bias=CorrectedScores(*[estimate] * 6, draws=2000, patients=30),
        seconds_in_trials=1.0,
    )
    return dataclasses.replace(whole, **changes)


def test_the_best_is_shown_beside_its_corrected_score():
    lines = searched().describe().splitlines()
    assert "AUROC 0.700 (SD 0.100), log loss 0.600" in lines[1]
    assert "trial 3        AUROC 0.900" in lines[2]
    assert lines[4].strip() == "AUROC 0.750 (95 % CI 0.600 to 0.900)"
    assert "+0.750 (95 % CI +0.600 to +0.900)" in lines[5]
    assert len(lines) == 8


def test_a_search_at_chance_gets_a_line_more():
    at_chance = dataclasses.replace(searched().without_selection_bias, auroc=DrawnMean(0.56, (0.29, 0.81)))
    lines = searched(without_selection_bias=at_chance).describe().splitlines()
    assert len(lines) == 9
    assert "chance" in lines[8]


def test_failures_and_a_missing_tutorial_are_shown():
    text = searched(failed=2, tutorial=None, without_selection_bias=None).describe()
    assert "8 trials, 2 failed" in text
    assert "tutorial" not in text


def table_of(folder, *results):
    """A table with one trial for each of these log-probabilities; None: a failed one."""
    table = summary.SearchTable(folder, search_process.problem())
    for number, found in enumerate(results):
        where = folder / "tuner" / f"trial_{number:02d}"
        where.mkdir(parents=True)
        failed, status = ("diverged", TrialStatus.FAILED) if found is None else (None, TrialStatus.COMPLETED)
        TrialResult(TUTORIAL, SURE if found is None else found, failed, 0.5).write(where)
        hp = SimpleNamespace(values={"epochs": 25})
        table.add(SimpleNamespace(trial_id=f"{number:02d}", status=status, hyperparameters=hp, message=None))
    return table


def test_the_first_of_equals_is_the_best(tmp_path):
    table = table_of(tmp_path, WRONG, SURE, SURE)
    assert table.best().trial == 1
    whole = table.summarize("random")
    assert (whole.best.trial, whole.tutorial.trial, whole.trials, whole.failed) == (1, 0, 3, 0)
    assert whole.seconds_in_trials == 1.5
    assert whole.without_selection_bias.auroc.value == 1


def test_a_search_without_the_tutorials_point_has_no_correction(tmp_path):
    whole = table_of(tmp_path, None, SURE).summarize("random")
    assert whole.tutorial is None
    assert whole.without_selection_bias is None
    assert whole.failed == 1


def test_a_search_of_failures_has_no_best(tmp_path):
    table = table_of(tmp_path, None, None)
    assert table.describe_best() == "none completed"
    with pytest.raises(UsageError, match="diverged"):
        table.best()
