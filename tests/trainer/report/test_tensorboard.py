"""Event files are read back with TensorBoard's own reader."""

import csv
import json
from types import SimpleNamespace

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import plugin_data_pb2

from trainer.__main__ import main
from trainer.report import tensorboard
from trainer.run_folder import file_names
from trainer.tuning import hypermodel, trial_summaries
from trainer.tuning.selection import Question
from trainer.tuning.trials import Result


def events(folder):
    reader = EventMultiplexer(tensor_size_guidance={"graph": 1}).AddRunsFromDirectory(str(folder))
    reader.Reload()
    return reader


def values(reader, run, tag):
    return {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in reader.Tensors(run, tag)}


@pytest.fixture(scope="module")
def plain(phantom_folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    flags = ["--dataset", str(phantom_folder), "--weights", "random", "--epochs", "3", "--profile"]
    assert main([*flags, "--output", str(run)]) == 0
    return run, events(run / file_names.TENSORBOARD)


def test_each_figure_has_one_chart_with_train_and_test(plain):
    run, reader = plain
    with (run / file_names.HISTORY).open() as file:
        history = list(csv.DictReader(file))
    for figure in ("loss", "accuracy", "auroc"):
        for name, column in (("train", figure), ("test", f"val_{figure}")):
            wanted = {int(row["epoch"]): float(row[column]) for row in history}
            assert values(reader, name, f"epoch/{figure}") == pytest.approx(wanted, rel=1e-6)
    rates = list(values(reader, "train", "epoch/learning_rate").values())
    assert rates[0] > rates[1] > rates[2] > 0


def images(reader, run, tag):
    width, height, *encoded = tf.make_ndarray(reader.Tensors(run, tag)[0].tensor_proto)
    return int(width), int(height), [tf.io.decode_png(one).numpy() for one in encoded]


def test_images_show_what_the_network_sees_and_where_it_looked(plain):
    _, reader = plain
    *size, shown = images(reader, "train", "batch/as_it_is")
    *_, augmented = images(reader, "train", "batch/augmented")
    assert size == [224, 224]
    assert len(shown) == len(augmented) == 8
    assert all(not np.array_equal(one, other) for one, other in zip(shown, augmented, strict=True))
    assert len({image.tobytes() for image in shown}) == 8
    *size, overlays = images(reader, "test", "grad_cam")
    assert size == [448, 224]
    assert len(overlays) == 4
    assert len(images(reader, "test", "confusion_matrix")[2]) == 1


def test_the_pr_curve_is_of_the_test_split(plain):
    run, reader = plain
    curve = tf.make_ndarray(reader.Tensors("test", "covid/pr_curves")[0].tensor_proto)
    true_positives, false_positives = curve[0], curve[1]
    confusion = json.loads((run / file_names.METRICS).read_text())["test"]["confusion_matrix"]
    assert true_positives[0] == sum(confusion[0])
    assert false_positives[0] == sum(confusion[1])


def test_graph_and_configuration_are_there(plain):
    run, reader = plain
    nodes = {node.name for node in reader.Graph("train").node} if hasattr(reader.Graph("train"), "node") else set()
    assert any("block5_conv3" in name for name in nodes)
    (text,) = tf.make_ndarray(reader.Tensors("train", "config")[0].tensor_proto).ravel()
    assert (run / file_names.CONFIG).read_text().strip() in text.decode()


def test_a_profile_is_recorded(plain):
    run, _ = plain
    assert list((run / file_names.TENSORBOARD).rglob("*.xplane.pb"))


def trial_of(number, **changes):
    hp = keras_tuner.HyperParameters()
    hp.values = changes
    hypermodel.build_recipe(hp)
    return SimpleNamespace(trial_id=f"{number:02d}", hyperparameters=hp)


N = 20
QUESTION = Question(np.arange(N) % 2 == 0, np.arange(N), np.arange(N) // 2 % 5)
HISTORY = [
    {name: np.full(5, float(epoch)) for name in ("loss", "accuracy", "auroc", "val_loss", "val_accuracy", "val_auroc")}
    | {"learning_rate": np.full(5, 1e-3)}
    for epoch in (1, 2)
]


@pytest.fixture
def search(tmp_path):
    trial_summaries.write_space(tmp_path)
    odds = np.where(QUESTION.positive, 1.0, -1.0)
    for number, epochs in enumerate((10, 25)):
        trial = trial_of(number, epochs=epochs)
        trial_summaries.write_trial(tmp_path, trial, QUESTION, Result({}, odds, None, 1.0), HISTORY)
    trial_summaries.write_trial(tmp_path, trial_of(2), QUESTION, Result({}, None, "diverged", 1.0), [])
    return tmp_path


def test_the_hparams_page_knows_space_and_trials(search):
    reader = events(search / file_names.TENSORBOARD)
    content = reader.SummaryMetadata("tuner/space", "_hparams_/experiment").plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert {info.name for info in experiment.hparam_infos} >= {"pooling", "learning_rate", "units", "keep_original"}
    assert {info.name.tag for info in experiment.metric_infos} == set(trial_summaries.FIGURES)
    content = reader.SummaryMetadata("tuner/trial_00", "_hparams_/session_start_info").plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert session.hparams["epochs"].number_value == 10
    assert session.hparams["pooling"].string_value == "corner"
    assert values(reader, "tuner/trial_01", "search/auroc") == {0: 1.0}


def test_a_failed_trial_has_hyperparameters_and_no_figures(search):
    tags = events(search / file_names.TENSORBOARD).Runs()["tuner/trial_02"]["tensors"]
    assert tags == ["_hparams_/session_start_info"]


def test_both_sides_of_a_trial_share_a_chart(search):
    reader = events(search / file_names.TENSORBOARD)
    for side in ("train", "held_out"):
        assert values(reader, f"tuner/{side}", "trial_01/loss") == {1: 1.0, 2: 2.0}


def test_a_repeated_trial_replaces_its_events(search):
    trial = trial_of(1, epochs=100)
    trial_summaries.write_trial(search, trial, QUESTION, Result({}, np.zeros(N), None, 1.0), HISTORY[:1])
    reader = events(search / file_names.TENSORBOARD)
    assert values(reader, "tuner/train", "trial_01/loss") == {1: 1.0}
    assert values(reader, "tuner/train", "trial_00/loss") == {1: 1.0, 2: 2.0}
    assert values(reader, "tuner/trial_01", "search/auroc") == {0: 0.5}


def test_thirty_trials_are_few_enough_runs_to_be_shown(search):
    """TensorBoard selects no run at first when there are more than 40."""
    own = len(events(search / file_names.TENSORBOARD).Runs()) - 3
    assert own + 30 + len(("train", "test")) <= 40


def test_no_profile_unless_wanted(tmp_path):
    with tensorboard.profiled(tmp_path, False):
        pass
    assert not list(tmp_path.iterdir())
