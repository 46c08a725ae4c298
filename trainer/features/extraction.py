"""The Beam pipeline behind `python -m trainer.extract`: encoded images in, files of the trainer's feature cache out.

The arithmetic and the files are those of `features.Features`, called by each worker for the images it gets; Beam
decides which those are. Images are read where they are computed: no encoded image moves from worker to worker.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from covid_tfds import tf_data
from covid_tfds.common import beam_runner, logs, progress
from covid_tfds.common.errors import UsageError
from trainer import recipes
from trainer.config import Config
from trainer.recipes import Recipe

# Also when a worker imports this, whose terminal is the user's.
with logs.silenced():
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from trainer.features import data, pipelines
    from trainer.features.backbone_features import Backbone, Features, default_folder

# Images between two looks at the clock: the tf.data pipeline of a batch costs as much as two images.
BATCH = 64
# Parts that a dataset's shards are read in, so that two workers have something to share even of a single shard.
PARTS, IMAGES_A_PART = 64, 32
SECONDS_BETWEEN_COUNTS = 5
UNDECODABLE = "undecodable"


class Image(NamedTuple):
    """One image on its way to a worker's backbone; variants: how many, the original included, are wanted of it."""

    image_id: str
    sha256: str
    encoded: bytes
    variants: int


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
    sources, total = _of_folder(config, recipe) if config.data.dataset else _of_tfds(config, recipe, options)
    bad_file = folder / f"{UNDECODABLE}.txt"
    extract = Extract(config.weights, config.seed, config.precision, recipe, str(folder))
    try:
        with _watched(folder, total, options):
            pipeline = beam.Pipeline(runner=beam_runner.runner(options), options=options)
            images = tuple(pipeline | name >> source for name, source in sources.items()) | beam.Flatten()
            bad = (
                images
                | beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
                | beam.ParDo(extract).with_outputs(UNDECODABLE)
            )[UNDECODABLE]
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
        named = "; ".join(undecodable[: pipelines.NAMED])
        more = f"; and {len(undecodable) - pipelines.NAMED} more" if len(undecodable) > pipelines.NAMED else ""
        raise UsageError(
            f"{len(undecodable)} images can't be decoded. Mend or remove: {named}{more}. "
            f"The features of the others are in {folder}."
        )
    computed = _counted(result)
    return f"Complete: features of {total} images and variants in {folder}, {computed} of them computed now."


class Extract(beam.DoFn):
    """A batch of images -> files in the cache. What can't be decoded goes to UNDECODABLE as "name: reason"."""

    def __init__(self, weights: str, seed: int, precision: str, recipe: Recipe, folder: str):
        """What `Backbone.load` and `Features` take."""
        self._load = (weights, seed, precision)
        self._recipe, self._seed, self._folder = recipe, seed, folder

    def setup(self) -> None:
        """Load the backbone, once a worker."""
        self._backbone = Backbone.load(*self._load)

    def process(self, batch: list[Image]) -> Iterator[beam.pvalue.TaggedOutput]:
        """Compute what is missing of a batch."""
        for variants, group in itertools.groupby(batch, key=lambda image: image.variants):
            examples = _examples(list(group))
            try:
                self._compute(examples, variants)
            except UsageError:
                bad = pipelines.undecodable(examples)
                if not bad:
                    raise
                for name, why in bad.items():
                    yield beam.pvalue.TaggedOutput(UNDECODABLE, f"{name}: {why}")
                self._compute(examples.subset(np.flatnonzero(~np.isin(examples.image_id, list(bad)))), variants)

    def _compute(self, examples: data.Examples, variants: int) -> None:
        features = Features(examples, self._backbone, self._recipe, self._seed, Path(self._folder), _count)
        features.compute(np.arange(len(examples)), variants)


def _count(done: int, total: int) -> None:
    if done == total:
        Metrics.counter("trainer.extract", "computed").inc(total)


def _examples(images: list[Image]) -> data.Examples:
    names = np.asarray([image.image_id for image in images])
    encoded = [image.encoded for image in images]
    return data.Examples(
        name="the dataset",
        version="",
        class_names=("covid", "other"),
        image_id=names,
        patient_id=names,
        labels=np.zeros(len(images), dtype=np.int64),
        split=np.full(len(images), "train"),
        sha256=np.asarray([image.sha256 for image in images]),
        facts={},
        encoded=lambda: tf.data.Dataset.from_tensor_slices(encoded).with_options(tf_data.options()),
        grouped=False,
    )


def _of_folder(config: Config, recipe: Recipe) -> tuple[dict[str, beam.PTransform], int]:
    """What reads a folder's images, and how many images and variants they are."""
    examples = data.load(config)
    folder = str(Path(config.data.dataset).resolve())
    wanted = np.where(examples.split == "train", recipe.variants, 1)
    rows = [
        (str(name), str(digest), int(variants))
        for name, digest, variants in zip(examples.image_id, examples.sha256, wanted, strict=True)
    ]

    def read(row: tuple[str, str, int]) -> Image:
        name, digest, variants = row
        return Image(name, digest, Path(folder, name).read_bytes(), variants)

    return {"folder": beam.Create(rows) | beam.Map(read)}, int(wanted.sum())


def _of_tfds(config: Config, recipe: Recipe, options: PipelineOptions) -> tuple[dict[str, beam.PTransform], int]:
    """What reads a prepared dataset's splits, prepared first if need be, and how many images and variants they are."""
    import covid_tfds
    from covid_tfds.common.errors import SourceError

    which = covid_tfds.phantom_config(config.data.num_examples) if config.data.num_examples else config.data.config
    builder = covid_tfds.Builder(config=which, data_dir=config.data.data_dir)
    download = tfds.download.DownloadConfig(manual_dir=config.data.manual_dir, beam_options=options)
    try:
        builder.download_and_prepare(download_config=download)
    except SourceError as error:
        raise UsageError(" ".join(str(error).split())) from error
    sources, total = {}, 0
    for name, split in builder.info.splits.items():
        variants = recipe.variants if name == "train" else 1
        parts = min(PARTS, -(-split.num_examples // IMAGES_A_PART))
        read = tfds.beam.ReadFromTFDS(
            builder,
            split=name,
            workers_per_shard=-(-parts // split.num_shards),
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        sources[name] = read | beam.Map(_image, variants)
        total += split.num_examples * variants
    return sources, total


def _image(example: dict, variants: int) -> Image:
    values = {name: example[name].numpy() for name in ("image_id", "sha256", "image")}
    return Image(values["image_id"].decode(), values["sha256"].decode(), values["image"], variants)


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
