"""Event files are read back with TensorBoard's own reader."""

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from trainer.__main__ import main
from trainer.features.backbone_features import Backbone
from trainer.run_folder import file_names


def events(folder):
    reader = EventMultiplexer(tensor_size_guidance={"graph": 1}).AddRunsFromDirectory(str(folder))
    reader.Reload()
    return reader


def values(reader, run, tag):
    return {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in reader.Tensors(run, tag)}


@pytest.fixture(scope="module")
def plain(phantom_folder, tiny, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    flags = ["--dataset", str(phantom_folder), "--weights", "random", "--epochs", "3", "--profile"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "load", lambda *_: tiny)
        assert main([*flags, "--output", str(run)]) == 0
    return run, events(run / file_names.TENSORBOARD)


def test_each_figure_has_one_chart_with_train_and_test(plain):
    run, reader = plain
    with (run / file_names.HISTORY).open() as file:
        history = list(csv.DictReader(file))
    for metric, tag in (("loss", "loss"), ("accuracy", "accuracy_at_0.5"), ("auroc", "auroc")):
        for name, column in (("train", metric), ("test", f"val_{metric}")):
            wanted = {int(row["epoch"]): float(row[column]) for row in history}
            assert values(reader, name, f"epoch/{tag}") == pytest.approx(wanted, rel=1e-6)
    rates = list(values(reader, "train", "epoch/learning_rate").values())
    assert rates[0] > rates[1] > rates[2] > 0


def images(reader, run, tag):
    width, height, *encoded = tf.make_ndarray(reader.Tensors(run, tag)[0].tensor_proto)
    return int(width), int(height), [tf.io.decode_png(one).numpy() for one in encoded]


def test_images_show_what_the_network_sees_and_where_it_looked(plain):
    _, reader = plain
    *size, shown = images(reader, "train", "visuals/batch_as_it_is")
    *_, augmented = images(reader, "train", "visuals/batch_augmented")
    assert size == [224, 224]
    assert len(shown) == len(augmented) == 8
    assert all(not np.array_equal(one, other) for one, other in zip(shown, augmented, strict=True))
    assert len({image.tobytes() for image in shown}) == 8
    *size, overlays = images(reader, "test", "visuals/grad_cam")
    assert size == [448, 224]
    assert len(overlays) == 4
    for rule in ("argmax", "operating_point"):
        assert len(images(reader, "test", f"visuals/confusion_matrix_{rule}")[2]) == 1


def test_curves_come_before_images(plain):
    _, reader = plain
    plugins = {
        tag: reader.SummaryMetadata(run, tag).plugin_data.plugin_name
        for run in ("train", "test")
        for tag in reader.Runs()[run]["tensors"]
    }
    shown = [plugin for _, plugin in sorted(plugins.items()) if plugin in ("scalars", "images")]
    assert shown == sorted(shown, reverse=True)


def test_the_pr_curve_is_of_the_test_split(plain):
    run, reader = plain
    curve = tf.make_ndarray(reader.Tensors("test", "covid/pr_curves")[0].tensor_proto)
    true_positives, false_positives = curve[0], curve[1]
    confusion = json.loads((run / file_names.METRICS).read_text())["test"]["confusion_matrix"]
    assert true_positives[0] == sum(confusion[0])
    assert false_positives[0] == sum(confusion[1])
    assert "normal/pr_curves" in reader.Runs()["test"]["tensors"]


def test_graph_and_configuration_are_there(plain):
    run, reader = plain
    nodes = {node.name for node in reader.Graph("train").node} if hasattr(reader.Graph("train"), "node") else set()
    assert any("block5_conv1" in name for name in nodes)
    texts = {
        tag: tf.make_ndarray(reader.Tensors("train", tag)[0].tensor_proto).ravel()[0].decode()
        for tag in ("1_verdict", "config", "environment")
    }
    assert sorted(texts)[0] == "1_verdict"
    assert json.loads((run / file_names.REPORT_JSON).read_text())["verdict"]["headline"] in texts["1_verdict"]
    assert '"epochs": 3' in texts["config"]
    assert [text for text in texts.values() if str(run.parent) in text] == []


def test_a_profile_is_recorded(plain):
    run, _ = plain
    assert list((run / file_names.TENSORBOARD).rglob("*.xplane.pb"))
