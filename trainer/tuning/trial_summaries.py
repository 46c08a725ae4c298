"""What TensorBoard shows of a search: the HParams page, and charts by epoch with a line for each side of the folds.

Every trial is a run of its own, because the HParams page wants it so, but holds the final figures alone: the epochs of
all trials are in the runs `tuner/train` and `tuner/held_out`. TensorBoard shows nothing at first of more than 40 runs.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from keras_tuner.engine.trial import Trial
from tensorboard.plugins.hparams import api as hparams

from trainer.report import tensorboard
from trainer.run_folder import file_names
from trainer.tuning import hypermodel, selection
from trainer.tuning.trials import Result

FIGURES = {
    "search/score": "score",
    "search/auroc": "AUROC",
    "search/auroc_sd": "AUROC, SD over folds",
    "search/log_loss": "log-loss",
}


def write_space(folder: Path) -> None:
    """Tell the HParams page of a run which hyperparameters and figures its trials have."""
    space = [hparams.HParam(hp["config"]["name"], _domain(hp)) for hp in hypermodel.describe_space()["hyperparameters"]]
    shown = [hparams.Metric(tag, display_name=name) for tag, name in FIGURES.items()]
    with tensorboard.writer(folder / file_names.TENSORBOARD / file_names.TUNER / "space"):
        hparams.hparams_config(space, shown)


def _domain(hp: dict) -> hparams.Domain:
    about = hp["config"]
    if hp["class_name"] == "Choice":
        return hparams.Discrete(about["values"])
    if hp["class_name"] == "Boolean":
        return hparams.Discrete([False, True])
    return hparams.RealInterval(float(about["min_value"]), float(about["max_value"]))


def write_trial(folder: Path, trial: Trial, question: selection.Question, result: Result, history: list[dict]) -> None:
    """One trial: hyperparameters, its figures, and loss, accuracy and AUROC by epoch as means over folds.

    folder: the run's. history: as `head_fitting.FittedHeads`; empty where the trial failed.
    """
    name, where = f"trial_{trial.trial_id}", folder / file_names.TENSORBOARD / file_names.TUNER
    with tensorboard.writer(where / name):
        hparams.hparams(dict(trial.hyperparameters.values), trial_id=name)
        if result.log_odds is not None:
            judged = selection.judge(question, result.log_odds)
            values = (judged.score, judged.auroc.mean(), judged.auroc.std(ddof=1), judged.log_loss)
            for tag, value in zip(FIGURES, values, strict=True):
                tf.summary.scalar(tag, value, step=0)
    means = [{figure: float(value.mean()) for figure, value in entry.items()} for entry in history]
    for run, prefix in (("train", ""), ("held_out", "val_")):
        with tensorboard.writer(where / run, name):
            tensorboard.write_epochs(prefix, means, name)
