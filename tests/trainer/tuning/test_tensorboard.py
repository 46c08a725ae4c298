"""Event files are read back with TensorBoard's own reader."""

from types import SimpleNamespace

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import plugin_data_pb2

from trainer.run_folder import file_names
from trainer.tuning import hypermodel, tensorboard
from trainer.tuning.scores import TrialScore

SCORE = TrialScore(score=0.9, auroc_mean=1.0, auroc_sd=0.0, auroc_folds=(1.0, 1.0), log_loss=0.1)
HISTORY = [
    {name: np.full(5, float(epoch)) for name in ("loss", "accuracy", "auroc", "val_loss", "val_accuracy", "val_auroc")}
    | {"learning_rate": np.full(5, 1e-3)}
    for epoch in (1, 2)
]


def events(folder):
    reader = EventMultiplexer().AddRunsFromDirectory(str(folder / file_names.TENSORBOARD))
    reader.Reload()
    return reader


def values(reader, run, tag):
    return {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in reader.Tensors(run, tag)}


def trial_of(number, **changes):
    hp = keras_tuner.HyperParameters()
    hp.values = changes
    hypermodel.build_recipe(hp)
    return SimpleNamespace(trial_id=f"{number:02d}", hyperparameters=hp)


@pytest.fixture
def written(tmp_path):
    tensorboard.write_space(tmp_path)
    for number, epochs in enumerate((10, 25)):
        tensorboard.write_trial(tmp_path, trial_of(number, epochs=epochs), SCORE, HISTORY, 2)
    tensorboard.write_trial(tmp_path, trial_of(2), None, [], 2)
    return tmp_path


def test_the_hparams_page_has_space_and_trials(written):
    reader = events(written)
    content = reader.SummaryMetadata("tuner/space", "_hparams_/experiment").plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert {info.name for info in experiment.hparam_infos} >= {"pooling", "learning_rate", "units", "keep_original"}
    content = reader.SummaryMetadata("tuner/trial_00", "_hparams_/session_start_info").plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert session.hparams["epochs"].number_value == 10
    assert session.hparams["pooling"].string_value == "corner"
    shown = {info.name.tag: values(reader, "tuner/trial_01", info.name.tag)[1] for info in experiment.metric_infos}
    assert shown == {
        "search/score": pytest.approx(0.9),
        "search/auroc_mean": 1.0,
        "search/auroc_sd": 0.0,
        "search/log_loss": pytest.approx(0.1),
    }


def test_the_scores_of_all_trials_are_one_chart_over_trials(written):
    assert values(events(written), "tuner/trials", "search/score") == pytest.approx({0: 0.9, 1: 0.9})


def test_a_failed_trial_has_hyperparameters_and_no_metrics(written):
    tags = events(written).Runs()["tuner/trial_02"]["tensors"]
    assert tags == ["_hparams_/session_start_info"]


def test_both_sides_of_a_trial_share_a_chart(written):
    reader = events(written)
    for side in ("train", "held_out"):
        assert values(reader, f"tuner/{side}", "trial_01/loss") == {1: 1.0, 2: 2.0}


def test_a_repeated_trial_replaces_its_events(written):
    tensorboard.write_trial(written, trial_of(1, epochs=100), None, HISTORY[:1], 2)
    reader = events(written)
    assert values(reader, "tuner/train", "trial_01/loss") == {1: 1.0}
    assert values(reader, "tuner/train", "trial_00/loss") == {1: 1.0, 2: 2.0}
    assert reader.Runs()["tuner/trial_01"]["tensors"] == ["_hparams_/session_start_info"]


def test_thirty_trials_are_few_enough_runs_to_be_shown(written):
    """TensorBoard shows no run at first when there are more than 40."""
    own = len(events(written).Runs()) - 3  # the three trials written here
    assert own + 30 + len(("train", "test")) <= 40
