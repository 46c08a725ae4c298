"""What a training run is asked to do: one frozen dataclass, its flags, its validation, its JSON. Never TensorFlow."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from covid_tfds.common.errors import INTENDED_USE, UsageError

BUILDER_CONFIGS = ("phantom", "curated", "source_matched", "as_published")
PRECISIONS = ("float32", "bfloat16")
RECIPES = ("default", "tutorial")
TUNERS = ("bayesian", "random", "hyperband")
FINE_TUNED = ("block5",)
STRATEGIES = ("mirrored", "multiworker")
SEARCHED = ("recipe", "epochs", "learning_rate")  # what --tune chooses and so can't be told


def _flag(default, text: str, **options):
    return field(default=default, metadata={"help": text, **options})


@dataclass(frozen=True)
class Config:
    """One training run. Each field is a command line flag of the same name; its help text is the field's meaning."""

    config: str = _flag("curated", "builder config of covid_tfds to train on", choices=BUILDER_CONFIGS)
    num_examples: int | None = _flag(None, "how many radiographs to draw for --config phantom (default: 50)")
    dataset: str | None = _flag(
        None,
        "folder with one sub-folder of .jpg, .jpeg or .png files per class ('covid' and one other), used instead of "
        "--config; an optional patients.csv (path,patient_id) in it keeps a patient's images in one split",
    )
    manual_dir: str | None = _flag(None, "folder with radiographs you already have; see README, 'The real data'")
    data_dir: str | None = _flag(None, "where prepared TFDS datasets live (default: TFDS's own ~/tensorflow_datasets)")
    weights: str = _flag(
        "imagenet",
        "backbone weights: 'imagenet' (downloaded by Keras), 'random' (untrained), or a VGG16 no-top .h5 file",
    )
    precision: str = _flag(
        "float32",
        "of the backbone's forward passes; bfloat16 is twice as fast on a CPU with AVX512-BF16 or AMX",
        choices=PRECISIONS,
    )
    recipe: str = _flag("default", "'default', or 'tutorial' for the 2020 tutorial to the letter", choices=RECIPES)
    epochs: int = _flag(25, "passes over the training images")
    batch_size: int = _flag(8, "images in a training step")
    learning_rate: float = _flag(1e-3, "Adam's learning rate at the first step")
    seed: int = _flag(42, "fixes weights, augmentation, shuffling and folds")
    target_sensitivity: float = _flag(0.95, "share of covid images to call so; fixes the decision threshold")
    tune: bool = _flag(
        False,
        "search for the head and the preprocessing by cross-validation on the training split, then train the best; "
        "started again with the same --output, it goes on where it was stopped",
    )
    trials: int = _flag(30, "trials of --tune; the first is the tutorial's point")
    folds: int = _flag(5, "patient-grouped folds that each trial of --tune is scored on")
    tuner: str = _flag("bayesian", "how --tune chooses the next trial", choices=TUNERS)
    fine_tune: str | None = _flag(
        None, "train this block of VGG16, too, at a low learning rate after the head", choices=FINE_TUNED
    )
    strategy: str | None = _flag(
        None,
        "of --fine_tune: 'mirrored' divides each batch over this machine's GPUs (without any, over two logical CPU "
        "devices), 'multiworker' over the processes in TF_CONFIG (default: one device)",
        choices=STRATEGIES,
    )
    profile: bool = _flag(False, "record a trace of the training for TensorBoard's Profile plugin")
    verbose: bool = _flag(False, "show Keras's and KerasTuner's own output too")
    output: str | None = _flag(
        None,
        "run folder to make (default: runs/<config>-<time>); a finished one is not touched, a stopped one goes on",
    )
    demo: bool = _flag(False, "the same job on embedded synthetic radiographs: no download, random weights")

    @property
    def dataset_name(self) -> str:
        """The builder config's name, or the folder's, for file names and titles."""
        return Path(self.dataset).name if self.dataset else self.config

    @property
    def weights_name(self) -> str:
        """ "imagenet", "random", or the weights file's name without its folder."""
        return Path(self.weights).name

    def command(self, **changes) -> str:
        """The command line that gives this config, with some fields changed."""
        flags = []
        for f in dataclasses.fields(self):
            value = changes.get(f.name, getattr(self, f.name))
            if value != f.default:
                flags += [f"--{f.name}"] if value is True else [f"--{f.name}", str(value)]
        return shlex.join(["python", "-m", "trainer", *flags])

    def same_job(self, other: Config) -> bool:
        """Whether both give the same run, wherever it is written and whatever is shown of it."""
        shown = {"output": None, "verbose": False, "profile": False}
        return dataclasses.replace(self, **shown) == dataclasses.replace(other, **shown)

    def to_json(self) -> str:
        """The config as a JSON object with one key a field."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The inverse of `to_json`; raises UsageError on what this version does not know."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(
                f"config.json is damaged: expected JSON, got {error}. Restore it or train again."
            ) from error
        if not isinstance(values, dict):
            raise UsageError(
                f"config.json is damaged: expected an object, got {text[:40]!r}. Restore it or train again."
            )
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise UsageError(
                f"config.json has fields this version does not know ({', '.join(unknown)}). "
                "Was it written by a newer one? environment.json names the version to use."
            )
        for f in dataclasses.fields(cls):
            if (
                (choices := f.metadata.get("choices"))
                and f.name in values
                and values[f.name] not in (*choices, f.default)
            ):
                raise UsageError(
                    f"config.json has the {f.name} {values[f.name]!r}, this version knows {', '.join(choices)}. "
                    "Was it written by a newer one? environment.json names the version to use."
                )
        return cls(**values)


def parser() -> argparse.ArgumentParser:
    """An argparse parser with one flag for each field of Config."""
    result = argparse.ArgumentParser(
        prog="python -m trainer",
        description=f"Train a VGG16 head on chest radiographs, judge it, and write a run folder. {INTENDED_USE}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for f in dataclasses.fields(Config):
        options = {"help": f.metadata["help"], "default": f.default}
        if isinstance(f.default, bool):
            options["action"] = "store_true"
        else:
            options["type"] = int if f.name == "num_examples" else str if f.default is None else type(f.default)
            options["choices"] = f.metadata.get("choices")
            if options["choices"] is None:
                options["metavar"] = {"int": "N", "float": "X"}.get(options["type"].__name__, f.name.upper())
        if f.default is None or f.default is False:
            options["default"] = argparse.SUPPRESS
        result.add_argument(f"--{f.name}", **options)
    return result


def from_argv(argv: list[str] | None = None) -> Config:
    """Parse and validate a command line. argparse exits with code 2 on bad flags; raises UsageError on bad values."""
    config = Config(**vars(parser().parse_args(argv)))
    if config.demo:
        if config.dataset:
            raise UsageError("--demo brings its own dataset: leave out --dataset, or leave out --demo.")
        config = dataclasses.replace(config, config="phantom", weights="random")
    validate(config)
    return config


def validate(config: Config) -> None:
    """Raise UsageError for what can be seen to be wrong before any work starts."""
    if config.tune:
        for f in dataclasses.fields(config):
            if f.name in SEARCHED and getattr(config, f.name) != f.default:
                raise UsageError(f"--tune searches for the {f.name}: leave out --{f.name}, or leave out --tune.")
    if config.strategy and not config.fine_tune:
        raise UsageError("--strategy says where --fine_tune is computed: add --fine_tune block5, or leave it out.")
    if config.strategy == "multiworker" and config.tune:
        raise UsageError("--strategy multiworker and --tune divide the processes differently: leave out one of them.")
    if config.folds < 2:
        raise UsageError(f"--folds must be at least 2, not {config.folds}.")
    for name in ("epochs", "batch_size", "trials"):
        if getattr(config, name) < 1:
            raise UsageError(f"--{name} must be at least 1, not {getattr(config, name)}.")
    if not 0 < config.learning_rate < 10:
        raise UsageError(f"--learning_rate must lie between 0 and 10, not {config.learning_rate}.")
    if not 0.5 <= config.target_sensitivity <= 1:
        raise UsageError(f"--target_sensitivity must lie between 0.5 and 1, not {config.target_sensitivity}.")
    if not 0 <= config.seed < 2**31:
        raise UsageError(f"--seed must lie between 0 and {2**31 - 1}, not {config.seed}.")
    if config.num_examples is not None and (config.config != "phantom" or config.dataset or config.num_examples < 10):
        raise UsageError("--num_examples needs --config phantom and must be at least 10.")
    if config.dataset is not None and not Path(config.dataset).is_dir():
        raise UsageError(f"--dataset {config.dataset}: no such folder. Expected DIR/covid/*.jpg and DIR/<other>/*.jpg.")
    if config.manual_dir is not None and not Path(config.manual_dir).exists():
        raise UsageError(f"--manual_dir {config.manual_dir}: no such folder.")
    if config.weights not in ("imagenet", "random") and not Path(config.weights).is_file():
        raise UsageError(f"--weights {config.weights}: expected 'imagenet', 'random' or an existing .h5 file.")
