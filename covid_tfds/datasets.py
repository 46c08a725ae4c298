"""Load the dataset that a `DatasetRequest` names. The only module that reads prepared TFDS datasets.

TensorFlow and TFDS are imported when a builder config is read; a folder needs neither.

Example:
    >>> examples = load_examples(DatasetRequest(config="curated"))  # doctest: +SKIP
    >>> first, *_ = examples.read(examples.rows("test"))  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from covid_tfds import layouts, tf_data
from covid_tfds.classes import choose_classes
from covid_tfds.common import logs
from covid_tfds.common.errors import SourceError, UsageError
from covid_tfds.conflicts import leave_out_conflicts, write_conflicts
from covid_tfds.examples import FACTS, FULL_CONFIG, DatasetRequest, Examples

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

SPLITS = ("train", "validation", "test")
TEXTS = ("image_id", "patient_id", "sha256", *FACTS)
# Opening a slice takes as long as reading about 30 images: images in smaller gaps are read and dropped.
MAX_GAP = 32


def load_examples(request: DatasetRequest) -> Examples:
    """Loads a dataset; a builder config is downloaded and prepared first if it is not there.

    Raises:
        UsageError: If images can't be fetched, the prepared dataset is damaged, the folder has another layout, a class
            is not there, or the file of --exclude or --conflicts can't be read or written.
    """
    examples = layouts.read_dataset(request) if request.dataset else _read_prepared(prepare(request))
    examples = choose_classes(examples, request)
    if request.exclude:
        examples = leave_out_conflicts(examples, Path(request.exclude))
    if request.conflicts:
        write_conflicts(examples, Path(request.conflicts))
    return examples


def prepare(request: DatasetRequest) -> tfds.core.DatasetBuilder:
    """Downloads and prepares a builder config if it is not there, and returns its builder.

    Args:
        request: Names the builder config.

    Raises:
        UsageError: If images can't be fetched, or the prepared dataset is damaged.
    """
    with logs.silenced():
        import tensorflow  # noqa: F401 - TFDS imports it later, and noisily
        import tensorflow_datasets as tfds

        import covid_tfds

    config = request.config
    if request.num_examples:
        config = covid_tfds.phantom_config(request.num_examples, request.config)
    name = config if isinstance(config, str) else config.name
    with _naming_damage(Path(request.data_dir or tfds.core.constants.DATA_DIR, covid_tfds.Builder.name, name)):
        builder = covid_tfds.Builder(config=config, data_dir=request.data_dir)
    download = tfds.download.DownloadConfig(manual_dir=request.manual_dir, beam_options=_beam_options(builder))
    try:
        builder.download_and_prepare(download_config=download)
    except (SourceError, NotADirectoryError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    return builder


def _beam_options(builder: tfds.core.DatasetBuilder):
    """Beam's own engine in this process, for the config that is prepared by Beam; None for the others."""
    if builder.builder_config.name != FULL_CONFIG:
        return None
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(runner="FnApiRunner")  # TFDS's default, DirectRunner, first tries to download another


def _read_prepared(builder: tfds.core.DatasetBuilder) -> Examples:
    """Reads all features but the images of a prepared dataset. This checks every record."""
    with _naming_damage(Path(builder.data_dir).parent):
        splits = [split for split in SPLITS if split in builder.info.splits]
        parts = [
            [{name: record[name] for name in record if name != "image"} for record in _stream(builder, split)]
            for split in splits
        ]
    records = list(itertools.chain(*parts))
    texts = {name: np.asarray([record[name].decode() for record in records]) for name in TEXTS}
    split = np.repeat(splits, [len(part) for part in parts])
    return Examples(
        name=f"{builder.name}/{builder.builder_config.name}",
        version=str(builder.version),
        description=builder.builder_config.description,
        class_names=tuple(builder.info.features["label"].names),
        image_id=texts["image_id"],
        patient_id=texts["patient_id"],
        labels=np.asarray([record["label"] for record in records], dtype=np.int64),
        split=split,
        sha256=texts["sha256"],
        facts={name: texts[name] for name in FACTS}
        | {"age": np.asarray([float(record["age"]) for record in records]), "year": np.full(len(records), np.nan)},
        read=lambda rows: _read_images(builder, split, rows),
    )


def _read_images(builder: tfds.core.DatasetBuilder, split: np.ndarray, rows: np.ndarray) -> Iterator[bytes]:
    """The encoded images of `rows`, int [m], in that order. split: str [n], the split of each row of the dataset."""
    for run in _runs(rows, split):
        name, first, last = split[run[0]], run[0], run[-1]
        start = first - np.argmax(split == name)
        records = _stream(builder, name, start, start + last - first + 1)
        wanted = np.isin(np.arange(first, last + 1), run)
        yield from itertools.compress((record["image"] for record in records), wanted)


def _runs(rows: np.ndarray, split: np.ndarray) -> list[np.ndarray]:
    """Cuts rows into runs that one slice each can give: ascending, with small gaps, in one split.

    Example:
        >>> [run.tolist() for run in _runs(np.array([0, 1, 5, 4, 90, 100]), np.repeat(["train", "test"], 100))]
        [[0, 1, 5], [4], [90], [100]]
    """
    steps = np.diff(rows)
    is_cut = (steps < 1) | (steps > MAX_GAP) | (split[rows[1:]] != split[rows[:-1]])
    return np.split(rows, np.flatnonzero(is_cut) + 1) if len(rows) else []


def _stream(
    builder: tfds.core.DatasetBuilder, split: str, start: int | None = None, stop: int | None = None
) -> Iterator[dict]:
    """The records of a slice of a split, in the order in which they are stored; images stay encoded."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=tfds.core.ReadInstruction(str(split), from_=start, to=stop, unit="abs"),
        decoders={"image": tfds.decode.SkipDecoding()},
        # Files one after the other, so that a slice has the order of the whole split. No cache: TFDS would keep a
        # dataset below 250 MB in memory.
        read_config=tfds.ReadConfig(options=tf_data.options(), try_autocache=False, interleave_cycle_length=1),
    ).as_numpy_iterator()


@contextlib.contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TFDS, protobuf and TensorFlow raise many kinds for a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"The prepared dataset in {folder} is damaged: {reason} Remove it and give the same command again: it is "
            "then prepared again."
        ) from error
