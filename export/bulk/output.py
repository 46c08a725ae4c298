"""The folder of results: JSON, Parquet and CSV files that get their names when they are complete."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock

from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.common.files import atomic
from export.bulk.inputs import open_file_system

REQUEST = "bulk.json"
PREDICTIONS, UNREADABLE, DONE = "predictions", "unreadable", "done"


@dataclass(frozen=True)
class Output:
    """A folder on any file system that fsspec knows.

    Attributes:
        folder: Its name, such as "predicted" or "gs://bucket/predicted".
    """

    folder: str

    def path(self, *names: str) -> str:
        """Returns the name of a file in it."""
        return "/".join([self.folder.rstrip("/"), *names])

    def read_json(self, *names: str) -> dict | None:
        """Returns the content of a JSON file in it, None when it is not there.

        Raises:
            UsageError: If it is damaged.
        """
        file_system, path = open_file_system(self.path(*names))
        try:
            return json.loads(file_system.cat_file(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(
                f"{self.path(*names)} is damaged ({error}): remove {self.folder} to start over."
            ) from error

    def write(self, data: bytes, *names: str) -> None:
        """Write a file under its final name in one step.

        Raises:
            UsageError: If it can't be written.
        """
        with self._one_line():
            if "://" in self.folder:
                file_system, path = open_file_system(self.path(*names))
                file_system.pipe_file(path, data)  # object stores show a file when all of it has come
            else:
                with atomic(Path(self.path(*names))) as temporary:
                    temporary.write_bytes(data)

    def write_json(self, value: dict, *names: str) -> None:
        """Write a JSON file, as `write` does."""
        self.write(json.dumps(value, indent=2).encode() + b"\n", *names)

    def has_predictions(self) -> bool:
        """Returns whether a file of predictions is there."""
        file_system, path = open_file_system(self.path(PREDICTIONS))
        return bool(file_system.find(path))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other processes of this machine out of it.

        Raises:
            UsageError: If either can't be done.
        """
        with contextlib.ExitStack() as stack:
            with self._one_line():
                for name in (PREDICTIONS, UNREADABLE, DONE):
                    file_system, path = open_file_system(self.path(name))
                    file_system.makedirs(path, exist_ok=True)
                if "://" not in self.folder:
                    stack.enter_context(filelock.FileLock(Path(self.folder) / ".lock", timeout=0))
            yield

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except filelock.Timeout as error:
            wait = "another process is writing there. Wait, or choose another folder."
            raise UsageError(f"--output {self.folder}: {wait}") from error
        except Exception as error:  # each file system raises kinds of its own
            raise UsageError(f"--output {self.folder} can't be written: {describe_error(error)}") from error
