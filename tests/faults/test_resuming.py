"""Training with the tutorial's recipe, stopped after any epoch: it goes on there, and ends bit for bit the same."""

import dataclasses
from pathlib import Path

import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features.backbone_features import Features
from trainer.features.head_training import train_on_images
from trainer.features.training_set import load_training_set
from trainer.recipes import TUTORIAL

EPOCHS = 3
ABOUT = {"seed": 42}


class Killed(BaseException):
    """What a SIGKILL would be if it could be raised."""


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    """As `training.train` has it."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def fit(phantom_folder, tiny, tmp_path_factory):
    cached = Features(
        load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder)))),
        tiny,
        dataclasses.replace(TUTORIAL, epochs=EPOCHS),
        42,
        tmp_path_factory.mktemp("features"),
    )

    def fitted(path, about=ABOUT):
        head, history = train_on_images(cached, path, about)
        return [weight.tobytes() for weight in head.get_weights()], history

    return fitted


@pytest.fixture(scope="module")
def wanted(fit, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole") / "epochs.npz")


def killed_in_epoch(fit, path, number, monkeypatch, before_rename):
    """Train until the file of an epoch gets its name, or just before that."""
    real, writes = Path.replace, 0

    def replace(self, target):
        nonlocal writes
        writes += 1
        if not (before_rename and writes == number):
            real(self, target)
        if writes == number:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            fit(path)


@pytest.mark.parametrize(("number", "before_rename", "left"), [(1, False, 2), (3, True, 1), (3, False, 0)])
def test_it_goes_on_at_the_epoch_where_it_was_killed(fit, wanted, tmp_path, monkeypatch, number, before_rename, left):
    path = tmp_path / "epochs.npz"
    killed_in_epoch(fit, path, number, monkeypatch, before_rename)
    trained = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: trained.append(real(self, target)))
    assert fit(path) == wanted
    assert len(trained) == left


def test_killed_again_and_again(fit, wanted, tmp_path, monkeypatch):
    path = tmp_path / "epochs.npz"
    for _ in range(2):
        killed_in_epoch(fit, path, 1, monkeypatch, before_rename=False)
    assert fit(path) == wanted


def test_training_learns_and_draws_anew_in_each_epoch(wanted):
    """Else the tests above would compare nothing."""
    losses = [entry["loss"] for entry in wanted[1]]
    assert len(set(losses)) == EPOCHS
    assert list(wanted[1][0])[-1] == "learning_rate"


def test_damaged_epochs_are_trained_again(fit, wanted, tmp_path, monkeypatch, capsys):
    path = tmp_path / "epochs.npz"
    killed_in_epoch(fit, path, 2, monkeypatch, before_rename=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert fit(path) == wanted
    assert f"{path} is damaged" in capsys.readouterr().err


def test_epochs_of_another_training_are_neither_used_nor_lost(fit, tmp_path, monkeypatch):
    path = tmp_path / "epochs.npz"
    killed_in_epoch(fit, path, 2, monkeypatch, before_rename=False)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="2 epochs"):
        fit(path, {"seed": 43})
    assert path.read_bytes() == before
