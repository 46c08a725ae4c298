"""What a command wants to read: `DatasetRequest` and its flags. TensorFlow is imported only when a dataset is read."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import UsageError
from covid_tfds.common.flags import add_flag, flag

BUILDER_CONFIGS = ("phantom", "curated", "source_matched", "as_published")
MIN_EXAMPLES = 10


@dataclass(frozen=True)
class DatasetRequest:
    """The dataset that a command reads: a builder config or a folder. Each field is a command line flag."""

    config: str = flag("curated", "builder config of covid_tfds (default: %(default)s)", choices=BUILDER_CONFIGS)
    num_examples: int | None = flag(None, "how many radiographs to draw for --config phantom (default: 50)", type=int)
    dataset: str | None = flag(
        None,
        "folder with one sub-folder of .jpg, .jpeg or .png files per class ('covid' and one other), used instead of "
        "--config; an optional patients.csv (path,patient_id) in it says whose images they are",
        metavar="DIR",
    )
    manual_dir: str | None = flag(
        None, "folder with radiographs you already have; see README, 'The real data'", metavar="DIR"
    )
    data_dir: str | None = flag(
        None, "where prepared TFDS datasets live (default: TFDS's own ~/tensorflow_datasets)", metavar="DIR"
    )

    @property
    def name(self) -> str:
        """The builder config's name, or the folder's, for file names and titles."""
        return Path(self.dataset).resolve().name or "dataset" if self.dataset else self.config

    def validate(self) -> None:
        """Raise UsageError for what can be seen to be wrong before anything is read."""
        if self.num_examples is not None and (
            self.config != "phantom" or self.dataset or self.num_examples < MIN_EXAMPLES
        ):
            raise UsageError(f"--num_examples needs --config phantom and must be at least {MIN_EXAMPLES}.")
        if self.dataset is not None and not Path(self.dataset).is_dir():
            raise UsageError(
                f"--dataset {self.dataset}: no such folder. Expected DIR/covid/*.jpg and DIR/<other>/*.jpg."
            )
        if self.manual_dir is not None and not Path(self.manual_dir).is_dir():
            raise UsageError(f"--manual_dir {self.manual_dir}: no such folder.")


def add_dataset_flags(
    parser: argparse.ArgumentParser, configs: tuple[str, ...] = BUILDER_CONFIGS, required: bool = False
) -> None:
    """Add the flags of DatasetRequest to a parser.

    Args:
        parser: the command's.
        configs: the builder configs that the command takes.
        required: whether --config or --dataset must be given, so that nothing is read by default.
    """
    which = parser.add_mutually_exclusive_group(required=required)
    changes = {"config": {"choices": configs}}
    for field in dataclasses.fields(DatasetRequest):
        group = which if field.name in ("config", "dataset") else parser
        add_flag(group, field, **changes.get(field.name, {}))
