"""The Beam pipeline behind `python -m trainer.extract`: rows of a dataset in, files of the trainer's feature cache out.

The arithmetic and the files are those of `backbone_features.Features`, called by each worker for the rows it gets; Beam
decides which those are. Images are read where they are computed: no encoded image moves from worker to worker.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from covid_tfds import datasets
from covid_tfds.common import beam_runner, logs, progress
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import Examples
from trainer import recipes
from trainer.config import Config
from trainer.recipes import Recipe

# Also when a worker imports this, whose terminal is the user's.
with logs.silenced():
    from trainer.features import pipelines
    from trainer.features.backbone_features import Backbone, Features, default_folder
    from trainer.features.training_set import load_training_set

ROWS = 32  # that a worker gets at once
SECONDS_BETWEEN_COUNTS = 5
UNDECODABLE = "undecodable"


def run(config: Config, folder: Path | None, runner: str, flags: list[str]) -> str:
    """Compute the features that a training with `config` reads and that are not there yet.

    Args:
        config: of the training; what features do not depend on is ignored.
        folder: the cache; None for the trainer's own.
        runner: Beam's name of it.
        flags: Beam's own flags.

    Returns:
        What was done, in one line.

    Raises:
        UsageError: the dataset, the weights or a flag is unusable, or images can't be decoded; the others' features are
            there.
    """
    try:
        options = beam_runner.options(runner, flags)
    except ValueError as error:
        raise UsageError(str(error)) from error
    folder = (folder or default_folder()).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--features {folder} can't be made: {error.strerror}.") from error
    if (workers := options.view_as(DirectOptions).direct_num_workers) > 1:
        # Else each of them starts a thread for every core. Read by TensorFlow in processes that start after this.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    # Once here, so that weights that can't be had are one line, and are fetched by one process only.
    Backbone.load(config.weights, config.seed, config.precision)
    recipe = {"default": recipes.DEFAULT, "tutorial": recipes.TUTORIAL}[config.recipe]
    if not config.data.dataset:
        datasets.prepare(config.data, options)
    examples = load_training_set(config)
    variants = np.where(examples.split == "train", recipe.variants, 1)
    bad_file = folder / f"{UNDECODABLE}.txt"
    total = int(variants.sum())
    extract = Extract(config.weights, config.seed, config.precision, recipe, str(folder), examples)
    try:
        with _watched(folder, total, options):
            pipeline = beam.Pipeline(runner=beam_runner.runner(options), options=options)
            parts = pipeline | beam.Create(_parts(variants)) | beam.Reshuffle()
            bad = (parts | beam.ParDo(extract).with_outputs(UNDECODABLE))[UNDECODABLE]
            _ = bad | beam.io.WriteToText(str(bad_file), shard_name_template="")
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:  # whatever the runner, a disk or a worker raises
        with tempfile.NamedTemporaryFile("w", prefix="extract-", suffix=".log", delete=False) as log:
            log.write(traceback.format_exc())
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"{runner}: {said[-1]} (all of it in {log.name}). What is computed is kept: the same command goes on."
        ) from error
    undecodable = bad_file.read_text(encoding="utf-8").splitlines()
    bad_file.unlink()
    if undecodable:
        raise UsageError(
            f"{len(undecodable)} images can't be decoded. Mend or remove: {pipelines.listed(undecodable)}. "
            f"The features of the others are in {folder}."
        )
    computed = _counted(result)
    return f"Complete: features of {total} images and variants in {folder}, {computed} of them computed now."


def _parts(variants: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """Rows of which equally many variants are wanted, cut into parts for the workers: (rows, variants).

    variants: int [n], how many are wanted of each image, the original included.
    """
    groups = [(np.flatnonzero(variants == count), int(count)) for count in np.unique(variants)]
    return [(part, count) for rows, count in groups for part in np.array_split(rows, -(-len(rows) // ROWS))]


class Extract(beam.DoFn):
    """Some rows -> files in the cache. What can't be decoded goes to UNDECODABLE as "name: reason"."""

    def __init__(self, weights: str, seed: int, precision: str, recipe: Recipe, folder: str, examples: Examples):
        """What `Backbone.load` and `Features` take."""
        self._load = (weights, seed, precision)
        self._recipe, self._seed, self._folder, self._examples = recipe, seed, folder, examples

    def setup(self) -> None:
        """Load the backbone, once a worker."""
        self._backbone = Backbone.load(*self._load)

    def process(self, part: tuple[np.ndarray, int]) -> Iterator[beam.pvalue.TaggedOutput]:
        """Compute what is missing of a part."""
        rows, variants = part
        examples = self._examples.subset(rows)
        try:
            self._compute(examples, variants)
        except UsageError:
            bad = pipelines.undecodable(examples)
            if not bad:
                raise
            for name, why in bad.items():
                yield beam.pvalue.TaggedOutput(UNDECODABLE, f"{name}: {why}")
            self._compute(examples.subset(np.flatnonzero(~np.isin(examples.image_id, list(bad)))), variants)

    def _compute(self, examples: Examples, variants: int) -> None:
        features = Features(examples, self._backbone, self._recipe, self._seed, Path(self._folder), _count)
        features.compute(np.arange(len(examples)), variants)


def _count(done: int, total: int) -> None:
    if done == total:
        Metrics.counter("trainer.extract", "computed").inc(total)


@contextlib.contextmanager
def _watched(folder: Path, total: int, options: PipelineOptions) -> Iterator[None]:
    """Show how many files come into the cache while the block runs; a cluster has a page of its own for that."""
    if options.view_as(StandardOptions).runner not in beam_runner.LOCAL:
        yield
        return

    def count() -> int:
        return sum(1 for _ in folder.glob("??/[!.]*.npz"))

    ended = threading.Event()

    def watch() -> None:
        seen = count()
        with progress.Line(total, "backbone features", "image") as line:
            while not ended.wait(SECONDS_BETWEEN_COUNTS):
                now = count()
                line.advance(now - seen)
                seen = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _counted(result: beam.runners.runner.PipelineResult) -> int:
    found = result.metrics().query(MetricsFilter().with_name("computed"))["counters"]
    return sum(counter.committed for counter in found)
