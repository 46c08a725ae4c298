"""What is to be predicted: files or the examples of a TFDS dataset, in a fixed order, in parts.

images = find("films/**.png", None)
for part in images.parts(1000):
    pipeline | images.source(part)     # (name, encoded image, or None for a file that the worker opens itself)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from covid_tfds.common.errors import UsageError
from export.runtime.image_files import find_images

TFDS_NAME = re.compile(r"[a-z]\w*(/[\w.-]+)?(:\d+\.\d+\.\d+)?")


@dataclass(frozen=True)
class Part:
    """Images first to first + count - 1 of a whole. split: of the dataset, None for files."""

    first: int
    count: int
    split: str | None = None


@dataclass(frozen=True)
class Files:
    """Image files by name."""

    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """SHA-256 of the names, in order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    def parts(self, size: int) -> list[Part]:
        """Parts of `size` files, the last one of what is left."""
        return list(_cut(len(self.names), size))

    def source(self, part: Part) -> beam.PTransform:
        """A transform from a pipeline to (name, None), spread over the workers."""
        return beam.Create([(name, None) for name in self.names[part.first : part.first + part.count]])


@dataclass(frozen=True)
class Dataset:
    """The examples of a prepared TFDS dataset. builder: a tfds.core.DatasetBuilder."""

    builder: object

    def __len__(self) -> int:
        return self.builder.info.splits.total_num_examples

    @property
    def digest(self) -> str:
        """SHA-256 of the dataset's full name and the lengths of its shards."""
        lengths = {name: list(split.shard_lengths) for name, split in sorted(self.builder.info.splits.items())}
        return hashlib.sha256(json.dumps([self.builder.info.full_name, lengths]).encode()).hexdigest()

    def parts(self, size: int) -> list[Part]:
        """Parts of at most `size` examples, each within one split."""
        splits = sorted(self.builder.info.splits.items())
        return [dataclasses.replace(p, split=name) for name, s in splits for p in _cut(s.num_examples, size)]

    def source(self, part: Part) -> beam.PTransform:
        """A transform from a pipeline to (image_id or TFDS's own id, encoded image), spread over the workers."""
        import tensorflow_datasets as tfds

        return tfds.beam.ReadFromTFDS(
            self.builder,
            f"{part.split}[{part.first}:{part.first + part.count}]",
            decoders={"image": tfds.decode.SkipDecoding()},
            # Each part is read once, and not to its end.
            read_config=tfds.ReadConfig(add_tfds_id=True, try_autocache=False),
        ) | "as bytes" >> beam.Map(_named)


def find(wanted: str, data_dir: str | None) -> Files | Dataset:
    """The images that --input names; raises UsageError when there are none.

    A folder is searched as `export.predict` does; a file or a pattern names files as they are; all else, or a folder
    without images, is the name of a prepared TFDS dataset: `covid_tfds/phantom` is both in a checkout of this project.
    """
    path = Path(wanted)
    images = find_images([path]) if path.is_dir() else []
    if images and not images[0].error:
        return Files(sorted(str(image.path) for image in images))
    if TFDS_NAME.fullmatch(wanted) and not path.is_file():
        return _dataset(wanted, data_dir)
    if images:
        raise UsageError(f"--input {wanted}: {images[0].error}")
    # A file's own name may hold characters that mean something in a pattern.
    names = [wanted] if path.exists() else _matching(wanted)
    if not names:
        raise UsageError(f"--input {wanted}: no such file, folder or TFDS dataset, and no file matches")
    return Files(names)


def _matching(pattern: str) -> list[str]:
    try:
        return sorted(found.path for found in FileSystems.match([pattern])[0].metadata_list)
    except Exception as error:  # each of Beam's file systems raises kinds of its own
        raise UsageError(f"--input {pattern}: {' '.join(str(error).split())}") from error


def _dataset(name: str, data_dir: str | None) -> Dataset:
    missing = f"--input {name}: no such file, no folder with images, and no"
    try:
        import tensorflow_datasets as tfds

        import covid_tfds  # noqa: F401  (registers the dataset)
    except ImportError as error:
        raise UsageError(f"{missing} TFDS dataset without tensorflow_datasets ({error}).") from error
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, tfds.core.registered.DatasetNotFoundError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"{missing} TFDS dataset of that name: {reason}") from error
    if not builder.info.splits.total_num_examples:
        where = "" if data_dir is None else f" --data_dir {data_dir}"
        raise UsageError(f"--input {name}: not prepared in {builder.data_dir}. Do it first: tfds build {name}{where}")
    if "image" not in builder.info.features:
        raise UsageError(f"--input {name}: expected a feature 'image', got {', '.join(builder.info.features)}.")
    return Dataset(builder)


def _named(example: dict) -> tuple[str, bytes]:
    name = example["image_id"] if "image_id" in example else example["tfds_id"]
    return name.numpy().decode(), example["image"].numpy()


def _cut(count: int, size: int) -> Iterator[Part]:
    return (Part(first, min(size, count - first)) for first in range(0, count, size))
