"""A run: what `python -m trainer` makes, in memory and in its folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import CHECKSUMS, read_json, verify
from covid_tfds.common.new_folder import INCOMPLETE, LOCK, destination
from trainer.config import Config
from trainer.run_folder import display, file_names
from trainer.run_folder.environment import Environment
from trainer.run_folder.predictions import Prediction
from trainer.run_folder.results import RunMetrics
from trainer.run_folder.typed_files import read_result, read_rows


@dataclass(frozen=True)
class Run:
    """A run with its results.

    Attributes:
        path: The folder.
        config: config.json.
        environment: environment.json.
        metrics: metrics.json.
        predictions: predictions.csv, in the dataset's order.
    """

    path: Path
    config: Config
    environment: Environment = field(repr=False)
    metrics: RunMetrics = field(repr=False)
    predictions: tuple[Prediction, ...] = field(repr=False)

    @property
    def model_path(self) -> Path:
        """The full Keras model: float [batch, height, width, 3] in 0..255 -> [batch, K], the positive class first."""
        return self.path / file_names.MODEL

    @property
    def report(self) -> display.ShownFiles:
        """report.html, which a notebook shows in a frame."""
        return display.ShownFiles((self.path / file_names.REPORT,))

    @property
    def heat_maps(self) -> display.ShownFiles:
        """The first images of the test split with their heat maps, those that are decided wrongly before the others."""
        return display.find_heat_maps(self.path)

    def plot(self, name: str) -> display.ShownFiles:
        """Returns a plot of the report, which a notebook shows: see `display.find_plot`."""
        return display.find_plot(self.path, name)

    def _repr_html_(self) -> str:
        return display.render_metrics(self.metrics)


def load(path: str | Path) -> Run:
    """Returns the run of a finished run folder, verified against its SHA256SUMS.

    Args:
        path: The folder.

    Raises:
        UsageError: If a file is missing, damaged or of a newer version; the message names it.
    """
    path = Path(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such run folder. `python -m trainer` makes one and prints its name.")
    for name in (*file_names.READ, CHECKSUMS):
        if not (path / name).is_file():
            raise UsageError(f"{path} is not a finished run folder: {name} is missing. Run `python -m trainer` again.")
    verify(path, file_names.READ)
    schema = read_json(path / file_names.ENVIRONMENT).get("schema")
    if schema != file_names.SCHEMA:
        raise UsageError(
            f"{path / file_names.ENVIRONMENT}: run folder schema {schema}, this version reads {file_names.SCHEMA}. Use "
            "the version that wrote it, or train again."
        )
    return Run(
        path=path,
        config=Config.from_json((path / file_names.CONFIG).read_text(encoding="utf-8")),
        environment=read_result(Environment, path / file_names.ENVIRONMENT),
        metrics=read_result(RunMetrics, path / file_names.METRICS),
        predictions=read_rows(Prediction, path / file_names.PREDICTIONS),
    )


def default_output(config: Config) -> Path:
    """Returns the folder runs/<config>-<time> of the last run of the same command that was stopped, or a new one."""
    for partial in sorted(Path("runs").glob(f"{config.data.name}-*{INCOMPLETE}"), reverse=True):
        with contextlib.suppress(OSError, ValueError, UsageError, filelock.Timeout):
            same = Config.from_json((partial / file_names.CONFIG).read_text(encoding="utf-8")).same_job(config)
            if same and not destination(partial).exists():
                with filelock.FileLock(partial / LOCK).acquire(timeout=0):  # else another process is writing it
                    return destination(partial)
    return Path("runs") / f"{config.data.name}-{time.strftime('%Y%m%d-%H%M%S')}"
