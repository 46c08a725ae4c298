"""Find the images to predict: files, or the examples of a prepared TFDS dataset, in a fixed order, cut into parts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec

from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.imaging.formats import SUFFIXES
from covid_tfds.imaging.limits import MAX_BYTES, ImageError
from covid_tfds.imaging.reader import DecodedImage, decode_image, read_image
from export.runtime.image_files import find_images

TFDS_NAME = re.compile(r"[a-z]\w*(/[\w.-]+)?(:\d+\.\d+\.\d+)?")


@dataclass(frozen=True)
class FilePart:
    """Some image files, by name; a name with "://" is read through fsspec."""

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def images(self) -> Iterator[tuple[str, bytes | None]]:
        """Yields each name, and None: the file is read later, by `read`."""
        return ((name, None) for name in self.names)


@dataclass(frozen=True)
class DatasetPart:
    """Examples of a prepared TFDS dataset: `count` of them, `split` is TFDS's name of them, such as "train[0:1000]"."""

    dataset: str
    data_dir: str | None
    split: str
    count: int

    def __len__(self) -> int:
        return self.count

    def images(self) -> Iterator[tuple[str, bytes | None]]:
        """Yields image_id, or TFDS's own id, and the encoded image."""
        import tensorflow_datasets as tfds

        from covid_tfds import tf_data

        examples = _open_builder(self.dataset, self.data_dir).as_dataset(
            split=self.split,
            decoders={"image": tfds.decode.SkipDecoding()},
            read_config=tfds.ReadConfig(options=tf_data.options(), try_autocache=False, add_tfds_id=True),
        )
        for example in examples.as_numpy_iterator():
            yield example.get("image_id", example["tfds_id"]).decode(), example["image"]


@dataclass(frozen=True)
class Images:
    """All images to predict.

    Attributes:
        parts: In order.
        digest: SHA-256 of the names of the files, or of the dataset's name and the lengths of its shards.
    """

    parts: tuple[FilePart | DatasetPart, ...]
    digest: str

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def find_input(wanted: str, data_dir: str | None, part_size: int) -> Images:
    """Returns the images that --input names, in parts of at most `part_size`.

    A folder is searched with all folders below; a file or a pattern names files as they are. All else is the name of a
    prepared TFDS dataset, and so is a folder without images, because a checkout has a folder `covid_tfds/phantom`.

    Raises:
        UsageError: If there are none.
    """
    path = Path(wanted)
    images = find_images([path]) if path.is_dir() else []
    if images and not images[0].error:
        return _of_files([str(image.path) for image in images], part_size)
    if TFDS_NAME.fullmatch(wanted) and not path.is_file():
        return _of_dataset(wanted, data_dir, part_size)
    if images:
        raise UsageError(f"--input {wanted}: {images[0].error}")
    # A file's own name may hold characters that have a meaning in patterns.
    names = [wanted] if path.exists() else _match(wanted)
    if not names:
        raise UsageError(
            f"--input {wanted}: no such file, folder or TFDS dataset, and no file matches it as a pattern."
        )
    return _of_files(names, part_size)


def read(name: str, encoded: bytes | None) -> DecodedImage:
    """Returns the pixels of an image.

    Raises:
        ImageError: If it can't be read.
    """
    if encoded is None and "://" not in name:
        return read_image(name)
    if encoded is None:
        try:
            with fsspec.open(name) as file:
                encoded = file.read(MAX_BYTES + 1)
        except Exception as error:  # each file system raises kinds of its own
            raise ImageError(f"can't be opened: {error}") from error
    if len(encoded) > MAX_BYTES:
        raise ImageError(f"expected at most {MAX_BYTES >> 20} MB, got more")
    return decode_image(encoded, name)


def open_file_system(name: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Returns the file system of a name, such as "images/x.png" or "gs://bucket/images", and the name on it.

    Raises:
        UsageError: If it is of a kind that is unknown or needs a package that is not installed.
    """
    try:
        return fsspec.core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{name}: {describe_error(error)}") from error


def _match(pattern: str) -> list[str]:
    file_system, path = open_file_system(pattern)
    is_local = "://" not in pattern
    try:
        if is_local or not file_system.isdir(path):
            found = file_system.glob(path)
        else:
            found = [file for file in file_system.find(path) if file.lower().endswith(SUFFIXES)]
    except Exception as error:  # each file system raises kinds of its own
        raise UsageError(f"--input {pattern}: {describe_error(error)}") from error
    return sorted(file if is_local else file_system.unstrip_protocol(file) for file in found)


def _of_files(names: list[str], part_size: int) -> Images:
    parts = tuple(FilePart(tuple(names[first : first + part_size])) for first in range(0, len(names), part_size))
    return Images(parts, hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest())


def _of_dataset(name: str, data_dir: str | None, part_size: int) -> Images:
    builder = _open_builder(name, data_dir)
    if not builder.info.splits.total_num_examples:
        where = "" if data_dir is None else f" --data_dir {data_dir}"
        raise UsageError(f"--input {name}: not prepared in {builder.data_dir}. Do it first: tfds build {name}{where}")
    if "image" not in builder.info.features:
        raise UsageError(f"--input {name}: expected a feature 'image', got {', '.join(builder.info.features)}.")
    sizes = {split: info.num_examples for split, info in sorted(builder.info.splits.items())}
    parts = tuple(
        DatasetPart(name, data_dir, f"{split}[{first}:{last}]", last - first)
        for split, size in sizes.items()
        for first in range(0, size, part_size)
        for last in [min(first + part_size, size)]
    )
    lengths = {split: list(builder.info.splits[split].shard_lengths) for split in sizes}
    return Images(parts, hashlib.sha256(json.dumps([builder.info.full_name, lengths]).encode()).hexdigest())


def _open_builder(name: str, data_dir: str | None):
    try:
        import tensorflow_datasets as tfds

        import covid_tfds  # noqa: F401  (registers the dataset)

        return tfds.builder(name, data_dir=data_dir)
    except (ImportError, ValueError) as error:
        missing = f"--input {name}: no such file, no folder with images, and no TFDS dataset of that name"
        raise UsageError(f"{missing}: {str(error).strip().splitlines()[0]}") from error
