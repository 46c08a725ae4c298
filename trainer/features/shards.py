"""Keep arrays of images in shard files, many images in one. NumPy only.

    folder/<digest of the key>/<digest of the images and names>.npz

The key is all that the arrays depend on besides the image; the image is named by the SHA-256 of its bytes. A shard is
written whole under another name and then renamed, and no shard is ever changed: any number of processes on any number
of machines may write into one folder and be killed there. A damaged shard (by its checksums) and one of another key (by
the key stored in it) are removed, so that their images count as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from covid_tfds.common.files import atomic

KEY, IMAGES = "key", "images"
T = TypeVar("T")


def write_shard(folder: Path, key: str, images: Sequence[str], arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays of some images as one new file.

    Args:
        folder: The feature cache.
        key: What the arrays depend on besides the image.
        images: m SHA-256 digests.
        arrays: By name, float32 [m, ...].

    Raises:
        UsageError: If the folder can't be written.
    """
    digest = hashlib.sha256("\n".join([*images, *sorted(arrays)]).encode()).hexdigest()[:32]
    path = _folder_of(folder, key) / f"{digest}.npz"
    with contextlib.suppress(OSError):  # `atomic` reports it in one line
        path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {KEY: np.asarray(key), IMAGES: np.asarray(images)}
    content |= {name: _split_bytes(array) for name, array in arrays.items()}
    with atomic(path) as temporary:
        np.savez_compressed(temporary, **content)


def list_images(folder: Path, key: str, names: Sequence[str]) -> set[str]:
    """Returns the images of which all arrays of `names` are there."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for images, stored in _read_shards(folder, key, lambda shard: (shard.read(IMAGES).tolist(), shard.names)):
        for name in found.keys() & stored:
            found[name].update(images)
    return set.intersection(*found.values())


def read_arrays(folder: Path, key: str, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the images, str [m], and their arrays, float32 [m, ...], of each shard that has arrays of this name."""

    def read(shard: _Shard) -> tuple[np.ndarray, np.ndarray] | None:
        return (shard.read(IMAGES), _join_bytes(shard.read(name))) if name in shard.names else None

    return (found for found in _read_shards(folder, key, read) if found is not None)


class _Shard:
    """An open shard.

    Attributes:
        names: Of its arrays.
    """

    def __init__(self, file: IO[bytes]):
        self._archive = zipfile.ZipFile(file)
        self.names = {name.removesuffix(".npy") for name in self._archive.namelist()}

    def read(self, name: str) -> np.ndarray:
        """Returns one array. Read whole, because zipfile compares the checksum only at the end of a member."""
        content = io.BytesIO(self._archive.read(f"{name}.npy"))
        return np.lib.format.read_array(content, allow_pickle=False)


def _read_shards(folder: Path, key: str, read: Callable[[_Shard], T]) -> Iterator[T]:
    """What `read` returns for each shard of a key; damaged ones are removed."""
    for path in sorted(_folder_of(folder, key).glob("[!.]*.npz")):
        try:
            with path.open("rb") as file:
                shard = _Shard(file)
                if str(shard.read(KEY)) != key:
                    raise ValueError("a shard of another key")
                result = read(shard)
        except FileNotFoundError:  # another process has removed it
            continue
        except MemoryError:
            raise
        except Exception:  # zipfile, zlib and NumPy raise many kinds for a damaged file
            print(f"{path} is damaged: computed again.", file=sys.stderr)
            path.unlink(missing_ok=True)
            continue
        yield result


def _folder_of(folder: Path, key: str) -> Path:
    return folder / hashlib.sha256(key.encode()).hexdigest()[:32]


def _split_bytes(array: np.ndarray) -> np.ndarray:
    """The four bytes of each number in four planes, uint8 [4, ...]: exponents beside exponents compress best."""
    parts = np.ascontiguousarray(array, dtype="<f4").view(np.uint8).reshape(*array.shape, 4)
    return np.ascontiguousarray(np.moveaxis(parts, -1, 0))


def _join_bytes(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1)).view("<f4")[..., 0]
