"""Fine-tuning: what it changes, what it leaves, what a run shows of it, and that replicas change only rounding."""

import csv
import json
import socket

import keras
import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_json, to_json
from covid_tfds.examples import DatasetRequest
from tests.fakes import fine_tuning
from tests.fakes.processes import start_processes
from trainer import __main__
from trainer.config import Config
from trainer.features import backbone_features, pipelines
from trainer.features.training_set import load_training_set
from trainer.fine_tuning import fine_tune
from trainer.models import strategies
from trainer.recipes import Recipe
from trainer.report import facts
from trainer.report.terminal import describe_results
from trainer.run_folder import caveats
from trainer.run_folder.run import load

EPOCHS = 3


@pytest.fixture(scope="module")
def train(tiny, phantom_folder, tmp_path_factory):
    """`python -m trainer` in process with that network: name, flags and learning rate -> the finished run."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name, *flags, rate=1e-3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backbone_features.Backbone, "load", lambda *_: tiny)
            patch.setattr(fine_tune, "EPOCHS", EPOCHS)
            patch.setattr(fine_tune, "LEARNING_RATE", rate)
            words = ["--dataset", str(phantom_folder), "--weights", "random", "--epochs", "2", *flags]
            assert __main__.main([*words, "--output", str(folder / name)]) == 0
        return load(folder / name)

    return run


@pytest.fixture(scope="module")
def frozen(train):
    return train("frozen")


@pytest.fixture(scope="module")
def tuned(train):
    return train("tuned", "--fine_tune", "block5")


def p_covid(run):
    return np.asarray([row.p_positive for row in run.predictions])


def test_only_the_block_and_the_head_learn(tuned, tiny):
    after = keras.models.load_model(tuned.model_path).get_layer("backbone")
    for layer in (layer for layer in tiny.network.layers if layer.weights):
        for old, new in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True):
            assert np.array_equal(old, new) == (layer.name != "block5_conv1"), layer.name
    assert tuned.metrics.fine_tuning.largest_weight_change > 1e-3


def test_the_training_loss_falls(tuned):
    with (tuned.path / "history.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 2 + EPOCHS
    assert losses[-1] < losses[2]


def test_it_begins_where_the_frozen_model_ended(train, frozen):
    """At learning rate 0 the run is the frozen one's, so that its threshold and temperature are the right ones."""
    still = train("still", "--fine_tune", "block5", rate=0.0)
    np.testing.assert_allclose(p_covid(still), p_covid(frozen), atol=1e-6)
    assert still.metrics.test.auroc == frozen.metrics.test.auroc


def test_metrics_say_which_model_they_are_of(tuned, frozen):
    assert tuned.metrics.fine_tuning.frozen_test.auroc == frozen.metrics.test.auroc
    assert tuned.metrics.threshold == frozen.metrics.threshold
    for section in ("cross_validation", "shortcuts", "operating_point", "calibration"):
        assert getattr(tuned.metrics, section).of == "the frozen model"
        assert getattr(frozen.metrics, section).of is None
    assert tuned.metrics.cross_validation.auroc == frozen.metrics.cross_validation.auroc
    assert np.abs(p_covid(tuned) - p_covid(frozen)).max() > 1e-3


def test_report_card_and_config_name_the_frozen_model(tuned, frozen):
    assert tuned.config.fine_tune == "block5"
    assert caveats.FINE_TUNED in tuned.environment.notes
    report, card = (tuned.path / "report.html").read_text(), (tuned.path / "MODEL_CARD.md").read_text()
    assert "Cross-validation of the frozen model" in report
    assert "VGG16, frozen up to its block5," in card
    assert "| cross-validation of the frozen model |" in card
    assert "| the frozen model | yes |" in card
    plain = (frozen.path / "report.html").read_text() + (frozen.path / "MODEL_CARD.md").read_text()
    assert "the frozen model" not in plain
    before = read_json(tuned.path / "report.json")["predictive_values"]
    assert before == to_json(facts.tabulate_predictive_values(tuned.metrics))


def test_the_card_gives_the_test_metrics_as_the_models_performance(tuned):
    card = (tuned.path / "MODEL_CARD.md").read_text()
    line = next(line for line in card.splitlines() if line.startswith("| 23 | Model performance"))
    assert f"AUROC {facts.format_estimate(tuned.metrics.test.auroc)}" in line


def test_the_terminal_shows_before_and_after(tuned, frozen):
    text, plain = describe_results(tuned), describe_results(frozen)
    assert "Before block5" in text
    assert "Before block5" not in plain
    assert text.count("the frozen model") == 1 + caveats.FINE_TUNED.count("the frozen model") + 1


def test_the_saved_model_gives_the_predictions(tuned, phantom_folder):
    examples = load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))
    loaded = keras.models.load_model(tuned.model_path, safe_mode=True)
    images = np.concatenate(list(pipelines.eval_pipeline(examples, np.arange(len(examples)), 8)))
    np.testing.assert_allclose(loaded.predict(images, verbose=0)[:, 0], p_covid(tuned), atol=1e-5)


def test_the_same_seed_gives_the_same_run(train, tuned):
    again = train("again", "--fine_tune", "block5")
    assert (again.path / "predictions.csv").read_bytes() == (tuned.path / "predictions.csv").read_bytes()


def test_every_process_has_its_part_of_the_same_batches(tiny, phantom_folder, monkeypatch):
    monkeypatch.setattr(fine_tune, "EPOCHS", 2)
    features, _ = fine_tuning.untrained(Config(data=DatasetRequest(dataset=str(phantom_folder)), batch_size=4))
    steps = -(-len(features.examples.rows("train")) // 4)

    class Context:
        def __init__(self, pipelines, index):
            self.num_input_pipelines, self.input_pipeline_id = pipelines, index

        def get_per_replica_batch_size(self, batch):
            return batch // self.num_input_pipelines

    def batches(pipelines, index):
        with fine_tune.maps_before(features) as maps:
            return [b[0].numpy() for b in fine_tune._share(features, maps, Context(pipelines, index))]

    whole, first, second = batches(1, 0), batches(2, 0), batches(2, 1)
    assert len(whole) == 2 * steps
    for both, one, other in zip(whole, first, second, strict=True):
        np.testing.assert_array_equal(both, np.concatenate([one, other]))
    assert any((a != b).any() for a, b in zip(whole[:steps], whole[steps:], strict=True))


def same_curves(one, two):
    """Equal to rounding, and no straight line."""
    for name in ("loss", "val_loss"):
        left, right = ([epoch[name] for epoch in found["history"]] for found in (one, two))
        np.testing.assert_allclose(left, right, rtol=1e-5)
        assert np.ptp(left) > 1e-2
    np.testing.assert_allclose(one["weights"], two["weights"], rtol=1e-4)


@pytest.fixture(scope="module")
def start():
    """Fine-tune in a process of its own: start(folder, how, **environment)."""
    with start_processes("-m", fine_tuning.__name__) as start:
        yield start


def result_of(process):
    """What a process prints at its end, however long it takes."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def mirrored(start, phantom_folder):
    return result_of(start(phantom_folder, "mirrored"))


@pytest.mark.timeout(1200)  # only so that processes that wait for each other fail; a loaded machine may take minutes
@pytest.mark.slow
def test_two_replicas_learn_as_one_does(mirrored):
    assert (mirrored["one"]["replicas"], mirrored["mirrored"]["replicas"]) == (1, 2)
    same_curves(mirrored["one"], mirrored["mirrored"])


def start_two(start, folder, **environment):
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other)]
    configs = [{"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    return [start(folder, "multiworker", TF_CONFIG=json.dumps(config), **environment) for config in configs]


@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_two_processes_learn_as_one_does(mirrored, start, phantom_folder):
    found = [result_of(process)["multiworker"] for process in start_two(start, phantom_folder)]
    assert [one["replicas"] for one in found] == [2, 2]
    same_curves(mirrored["one"], found[0])
    same_curves(found[0], found[1])


@pytest.mark.timeout(1200)
@pytest.mark.trial
def test_a_process_that_loses_another_ends_in_one_line(start, phantom_folder):
    first, second = start_two(start, phantom_folder, EPOCHS="100000")
    line = ""
    while "loss" not in line:
        line = first.stderr.readline()
        assert line, "it ended"
    second.kill()
    _, rest = first.communicate()
    assert rest.splitlines()[-1].count("TF_CONFIG") == 1
    assert "UsageError" in rest.splitlines()[-1]


@pytest.mark.parametrize(
    "config",
    [None, "no JSON", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'],
    ids=["nothing", "no JSON", "no such worker"],
)
def test_a_wrong_tf_config_gives_one_line(config, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(UsageError, match="TF_CONFIG"):
        strategies.is_helper(Config(fine_tune="block5", strategy="multiworker"))


def test_who_helps_is_seen_from_the_index(monkeypatch):
    config = Config(fine_tune="block5", strategy="multiworker")
    for index, helps in ((0, False), (1, True)):
        cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": index}}
        monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
        assert strategies.is_helper(config) == helps
    assert not strategies.is_helper(Config())


def test_a_batch_that_can_not_be_divided_is_refused(monkeypatch):
    class Two:
        num_replicas_in_sync = 2

    monkeypatch.setattr(strategies, "_mirrored", Two)
    with pytest.raises(UsageError, match=r"--batch_size 5 .* 2 replicas"):
        strategies.strategy(Config(fine_tune="block5", strategy="mirrored", batch_size=5))


def test_a_recipe_without_the_block_is_refused():
    with pytest.raises(UsageError, match="reads block4_pool"):
        fine_tune.check_recipe(Recipe(cut="block4_pool"))
    fine_tune.check_recipe(Recipe())
