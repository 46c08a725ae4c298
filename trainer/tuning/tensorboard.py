"""What TensorBoard shows of a search: the HParams page, and charts by epoch with a line for each side of the folds.

Each trial is a run of its own, because the HParams page needs that, but holds only its final metrics, at the trial's
number; the run `tuner/trials` connects those of all trials to one line. Their epochs are in the runs `tuner/train` and
`tuner/held_out`. With more than 40 runs TensorBoard at first shows none.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from keras_tuner.engine.trial import Trial
from tensorboard.plugins.hparams import api as hparams

from trainer.report import tensorboard
from trainer.run_folder import file_names
from trainer.tuning import hypermodel
from trainer.tuning.scores import TrialScore

# Tag -> name on the page; the tags end in the names of TrialScore's fields.
METRICS = {
    "search/score": "score",
    "search/auroc_mean": "AUROC",
    "search/auroc_sd": "AUROC, SD over folds",
    "search/log_loss": "log loss",
}


def write_space(folder: Path) -> None:
    """Writes which hyperparameters and metrics the trials have, for the HParams page. folder: the run's."""
    space = [hparams.HParam(hp["config"]["name"], _domain(hp)) for hp in hypermodel.describe_space()["hyperparameters"]]
    shown = [hparams.Metric(tag, display_name=name) for tag, name in METRICS.items()]
    with tensorboard.writer(folder / file_names.TENSORBOARD / file_names.TUNER / "space"):
        hparams.hparams_config(space, shown)


def _domain(hp: dict) -> hparams.Domain:
    config = hp["config"]
    if hp["class_name"] == "Choice":
        return hparams.Discrete(config["values"])
    if hp["class_name"] == "Boolean":
        return hparams.Discrete([False, True])
    return hparams.RealInterval(float(config["min_value"]), float(config["max_value"]))


def write_trial(folder: Path, trial: Trial, score: TrialScore | None, history: list[dict], classes: int) -> None:
    """Writes one trial: hyperparameters, metrics, and loss, accuracy and AUROC by epoch as means over folds.

    Args:
        folder: The run's.
        trial: KerasTuner's trial.
        score: None where the trial failed.
        history: As `FittedHeads` has it; empty where the trial failed.
        classes: How many there are.
    """
    name, where = f"trial_{trial.trial_id}", folder / file_names.TENSORBOARD / file_names.TUNER
    with tensorboard.writer(where / name):
        hparams.hparams(dict(trial.hyperparameters.values), trial_id=name)
        _write_score(score, int(trial.trial_id))
    with tensorboard.writer(where / "trials", name):
        _write_score(score, int(trial.trial_id))
    means = [{metric: float(value.mean()) for metric, value in entry.items()} for entry in history]
    for run, prefix in (("train", ""), ("held_out", "val_")):
        with tensorboard.writer(where / run, name):
            tensorboard.write_epochs(prefix, means, name, classes)


def _write_score(score: TrialScore | None, number: int) -> None:
    for tag in METRICS if score else ():
        tf.summary.scalar(tag, getattr(score, tag.removeprefix("search/")), step=number)
