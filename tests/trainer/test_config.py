import dataclasses
import shlex
import subprocess
import sys

import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from trainer import config
from trainer.__main__ import main


def test_flags_fill_the_config():
    wanted = config.from_argv(["--config", "phantom", "--epochs", "3", "--seed", "7", "--weights", "random"])
    assert (wanted.data.config, wanted.epochs, wanted.seed, wanted.weights) == ("phantom", 3, 7, "random")


def test_every_field_is_a_flag_in_one_group():
    grouped = [name for names in config.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(field.name for field in dataclasses.fields(config.Config) if field.name != "data")


def test_demo_is_phantom_with_random_weights():
    wanted = config.from_argv(["--demo"])
    assert (wanted.data.config, wanted.weights) == ("phantom", "random")


def test_demo_takes_any_phantom_config_and_is_short_for_flags():
    wanted = config.from_argv(["--demo", "--config", "phantom_three_classes", "--num_examples", "20"])
    spelled = ["--config", "phantom_three_classes", "--num_examples", "20", "--weights", "random"]
    assert wanted == config.from_argv(spelled)
    assert config.from_argv(shlex.split(wanted.command())[3:]) == wanted


def test_json_round_trip():
    wanted = config.Config(data=DatasetRequest(config="phantom"), learning_rate=3e-4, output="a b/ü")
    assert config.Config.from_json(wanted.to_json()) == wanted


@pytest.mark.parametrize("text", ['{"flux_capacitor": 1}', '{"data": {"flux_capacitor": 1}}'])
def test_unknown_field_is_refused_by_name(text):
    with pytest.raises(UsageError, match="flux_capacitor"):
        config.Config.from_json(text)


@pytest.mark.parametrize(
    "flags", [["--config", "phantom", "--num_examples", "12", "--seed", "7"], ["--dataset", ".", "--tune"]]
)
def test_the_command_gives_the_config_again(flags):
    wanted = config.from_argv(flags)
    assert config.from_argv(shlex.split(wanted.command())[3:]) == wanted


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.Config().seed = 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--batch_size", "-2"], "--batch_size must be at least 1"),
        (["--learning_rate", "0"], "--learning_rate"),
        (["--seed", "-1"], "--seed"),
        (["--dataset", "no/such"], "no such folder"),
        (["--manual_dir", "no/such"], "no such folder"),
        (["--weights", "no/such.h5"], "existing .h5 file"),
        (["--num_examples", "100"], "--num_examples needs --config phantom"),
        (["--config", "phantom", "--num_examples", "9"], "at least 10"),
        (["--demo", "--dataset", "."], "leave out --dataset"),
        (["--demo", "--weights", "random"], "leave out --weights"),
        (["--demo", "--weights=imagenet"], "leave out --weights"),
        (["--demo", "--manual_dir", "."], "leave out --manual_dir"),
        (["--demo", "--config", "curated"], "not curated"),
        (["--class_weights", "--recipe", "tutorial"], "--class_weights"),
        (["--tune", "--class_weights"], "--class_weights"),
    ],
)
def test_bad_values_give_one_line_and_exit_code_2(argv, message, capsys):
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("argv", [["--nonsense"], ["--epochs", "many"], ["--config", "no_such"]])
def test_bad_flags_exit_with_2(argv):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2


def test_help_needs_no_tensorflow():
    code = "import sys; from trainer.config import parser; parser().format_help(); import trainer.__main__; "
    code += "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_names_every_field(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for field in (*dataclasses.fields(config.Config)[1:], *dataclasses.fields(DatasetRequest)):
        assert f"--{field.name}" in text
    assert "never for diagnosis" in text.replace("\n", " ")
