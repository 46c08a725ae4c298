"""The configuration of a training run: one frozen dataclass with its flags, its checks and its JSON. No TensorFlow."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import dacite

from covid_tfds.common import cli
from covid_tfds.common.cores import THREADS_HELP
from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.common.flags import add_flags, flag, from_namespace
from covid_tfds.examples import PHANTOM_CONFIGS, DatasetRequest, add_dataset_flags

PRECISIONS = ("float32", "bfloat16", "auto")
DEVICES = ("cpu",)
RECIPES = ("default", "tutorial")
TUNERS = ("bayesian", "random", "hyperband")
FINE_TUNED = ("block5",)
STRATEGIES = ("mirrored", "multiworker")
SEARCHED = ("recipe", "epochs", "learning_rate", "class_weights")  # chosen by --tune, so they can't be given with it

# The flags as --help shows them.
GROUPS = {
    "model": (
        "weights",
        "recipe",
        "epochs",
        "batch_size",
        "learning_rate",
        "class_weights",
        "target_sensitivity",
        "seed",
    ),
    "search": ("tune", "trials", "folds", "tuner"),
    "fine-tuning": ("fine_tune", "strategy"),
    "computing": ("precision", "threads", "device"),
    "run": ("output", "demo", "profile", "verbose"),
}


@dataclass(frozen=True)
class Config:
    """One training run. Each field is a command line flag of the same name, with its meaning as help text.

    Attributes:
        data: The dataset. Its fields are flags, too.

    Example:
        >>> Config(data=DatasetRequest(config="phantom"), epochs=3).command()
        'python -m trainer --config phantom --epochs 3'
    """

    data: DatasetRequest = field(default_factory=DatasetRequest)
    weights: str = flag(
        "imagenet",
        "backbone weights: 'imagenet' (downloaded by Keras), 'random' (untrained), or a VGG16 .h5 file without the top "
        "layers",
    )
    precision: str = flag(
        "float32",
        "number format of the backbone's forward passes; bfloat16 is faster on a CPU with AVX512-BF16 (twice) or AMX; "
        "auto takes bfloat16 where there is AMX, else float32",
        choices=PRECISIONS,
    )
    threads: int | None = flag(None, THREADS_HELP, type=int)
    device: str | None = flag(
        None, "'cpu' uses no GPU (default: the GPU that TensorFlow finds, else the CPU)", choices=DEVICES
    )
    recipe: str = flag("default", "'default', or 'tutorial' to repeat the 2020 tutorial exactly", choices=RECIPES)
    epochs: int = flag(25, "passes over the training images")
    batch_size: int | None = flag(
        None,
        "images in a training step (default: a hundredth of the training images, as a power of two from 8 to 128)",
        type=int,
    )
    learning_rate: float = flag(1e-3, "Adam's learning rate at the first step")
    class_weights: bool = flag(
        False, "train as if every class had equally many images; probabilities are corrected back to the real shares"
    )
    seed: int = flag(42, "random seed of weights, augmentation, shuffling and folds")
    target_sensitivity: float = flag(0.95, "sensitivity that the decision threshold is chosen for, 0.5 to 1")
    tune: bool = flag(
        False,
        "search for the head and the preprocessing by cross-validation on the training split, then train the best; "
        "the same command with the same --output continues a stopped search",
    )
    trials: int = flag(30, "trials of --tune; the first is the tutorial's recipe")
    folds: int = flag(5, "patient-grouped folds that each trial of --tune is scored on")
    tuner: str = flag("bayesian", "how --tune chooses the next trial", choices=TUNERS)
    fine_tune: str | None = flag(
        None, "after the head, train this block of VGG16, too, at a low learning rate", choices=FINE_TUNED
    )
    strategy: str | None = flag(
        None,
        "devices of --fine_tune: 'mirrored' divides each batch over this machine's GPUs (without a GPU, over two "
        "logical CPU devices), 'multiworker' over the processes in TF_CONFIG (default: one device)",
        choices=STRATEGIES,
    )
    profile: bool = flag(False, "record a trace of the training for TensorBoard's Profile plugin")
    verbose: bool = flag(False, "show Keras's and KerasTuner's own output too")
    output: str | None = flag(
        None,
        "run folder to make (default: runs/<config>-<time>); a finished one is never overwritten, "
        "a stopped one is continued",
    )
    demo: bool = flag(
        False,
        "short for --config phantom --weights random: drawn radiographs, no download; --config may name another one",
    )

    def command(self, **changes) -> str:
        """Returns the command line that gives this config, with some fields changed."""
        flags = []
        for f in (*dataclasses.fields(self.data), *dataclasses.fields(self)[1:]):
            value = changes.get(f.name, getattr(self.data if hasattr(self.data, f.name) else self, f.name))
            if value != f.default:
                flags += [f"--{f.name}"] if value is True else [f"--{f.name}", str(value)]
        return shlex.join(["python", "-m", "trainer", *flags])

    def same_job(self, other: Config) -> bool:
        """Returns whether both give the same run, wherever it is written and whatever it prints."""
        one, another = (
            dataclasses.replace(c, output=None, verbose=False, profile=False, threads=None) for c in (self, other)
        )
        return one == another

    def to_json(self) -> str:
        """Returns config.json: one key a field, those of the dataset in `data`."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Returns the config that `to_json` made the text of.

        Raises:
            UsageError: If the text is damaged, or holds a field or a choice that this version does not have.
        """
        advice = "Restore it, train again, or use the version that wrote it; environment.json names it."
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError(f"expected an object, got {text[:40]!r}")
            config = dacite.from_dict(cls, values, dacite.Config(strict=True))
        except (ValueError, dacite.DaciteError) as error:
            raise UsageError(f"config.json is damaged or of another version: {error}. {advice}") from error
        for part in (config, config.data):
            for f in dataclasses.fields(part):
                value, choices = getattr(part, f.name), f.metadata.get("choices")
                if choices and value not in (*choices, f.default):
                    expected = ", ".join(choices)
                    raise UsageError(f"config.json has the {f.name} {value!r}, expected one of {expected}. {advice}")
        return config


def parser() -> argparse.ArgumentParser:
    """Returns a parser with one flag for each field of Config and of its dataset."""
    result = cli.Parser(
        prog="python -m trainer",
        description=f"Train a VGG16 head on chest radiographs, evaluate it, and write a run folder. {INTENDED_USE}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_dataset_flags(result)
    for title, names in GROUPS.items():
        add_flags(result.add_argument_group(title), Config, names)
    return result


def from_argv(argv: list[str] | None = None) -> Config:
    """Returns the config of a command line. Bad flags end the process with exit code 2.

    Raises:
        UsageError: If a value is wrong.
    """
    parsed = parser().parse_args(argv)
    config = dataclasses.replace(from_namespace(Config, parsed), data=from_namespace(DatasetRequest, parsed))
    if config.demo:
        given = {token.partition("=")[0] for token in (sys.argv[1:] if argv is None else argv)}
        config = _expand_demo(config, given)
    validate(config)
    return config


def _expand_demo(config: Config, given: set[str]) -> Config:
    """Returns what --demo is short for. given: the flags of the command line, such as "--weights"."""
    for flag_name in ("--dataset", "--weights", "--manual_dir"):
        if flag_name in given:
            raise UsageError(
                f"--demo draws its own dataset and has no trained weights: leave out {flag_name} or --demo."
            )
    name = config.data.config if "--config" in given else "phantom"
    if name not in PHANTOM_CONFIGS:
        raise UsageError(f"--demo takes the configs {', '.join(PHANTOM_CONFIGS)}, not {name}: leave out --demo.")
    return dataclasses.replace(config, data=dataclasses.replace(config.data, config=name), weights="random", demo=False)


def validate(config: Config) -> None:
    """Checks what can be checked before any work starts.

    Raises:
        UsageError: If a value is out of range, flags contradict each other, or a file or folder is not there.
    """
    if config.tune:
        for f in dataclasses.fields(config):
            if f.name in SEARCHED and getattr(config, f.name) != f.default:
                raise UsageError(f"--tune searches for the {f.name}: leave out --{f.name}, or leave out --tune.")
    if config.class_weights and config.recipe == "tutorial":
        raise UsageError("--class_weights: the tutorial has none. Leave it out, or leave out --recipe tutorial.")
    if config.strategy and not config.fine_tune:
        raise UsageError("--strategy applies to --fine_tune only: add --fine_tune block5, or leave out --strategy.")
    if config.strategy == "multiworker" and config.tune:
        raise UsageError(
            "--strategy multiworker and --tune can't be combined: each gives the processes other roles. Leave out one."
        )
    if config.folds < 2:
        raise UsageError(f"--folds must be at least 2, not {config.folds}.")
    for name in ("epochs", "batch_size", "trials", "threads"):
        if (value := getattr(config, name)) is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}.")
    if not 0 < config.learning_rate < 10:
        raise UsageError(f"--learning_rate must lie between 0 and 10, not {config.learning_rate}.")
    if not 0.5 <= config.target_sensitivity <= 1:
        raise UsageError(f"--target_sensitivity must lie between 0.5 and 1, not {config.target_sensitivity}.")
    if not 0 <= config.seed < 2**31:
        raise UsageError(f"--seed must lie between 0 and {2**31 - 1}, not {config.seed}.")
    config.data.validate()
    if config.weights not in ("imagenet", "random") and not Path(config.weights).is_file():
        raise UsageError(f"--weights {config.weights}: expected 'imagenet', 'random' or an existing .h5 file.")
