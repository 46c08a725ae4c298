"""Roles of the processes of a search (chief and workers), and which of them still run. No TensorFlow.

KerasTuner's chief gives out trials over gRPC; its workers share the chief's run folder. A worker holds a file lock
while it runs: the operating system releases it when the process ends, for whatever reason.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import grpc

from covid_tfds.common.errors import UsageError
from covid_tfds.common.new_folder import staging
from trainer.config import Config
from trainer.run_folder import file_names

SETTINGS = "search.json"
WORKERS = "workers"
LOST_CHIEF_SECONDS = 3600.0  # as long as KerasTuner's own client waits for an answer
RETRY_SECONDS = 1.0
POLL_SECONDS = 0.2  # between two looks at what another process does
WATCH_SECONDS = 1.0


def find_role(config: Config) -> str:
    """Returns "alone", "chief" or "worker", from KerasTuner's environment variables.

    Raises:
        UsageError: If one of the variables, or --output, is missing.
    """
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return "alone"
    missing = [name for name in ("KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID") if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"KERASTUNER_ORACLE_IP is set, but {missing[0]} is not. Set both, or neither to search in one process."
        )
    _shared_output(config)
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def _shared_output(config: Config) -> Path:
    if config.output is None:
        raise UsageError("A chief and its workers need the same --output: one folder that all can reach.")
    return Path(config.output)


def wait_for_chief(config: Config) -> Path:
    """Waits until the chief of a run has begun its search, and returns the folder in which the run is made.

    Raises:
        UsageError: If the run is finished.
    """
    output = _shared_output(config)
    printed, folder = False, staging(output)
    while not (folder / file_names.TUNER / SETTINGS).exists():
        if output.exists():
            raise UsageError(f"--output {output} exists: its search has ended. Choose another --output.")
        if not printed:
            print(f"Waiting for the chief to begin {output} (Ctrl-C to stop)", file=sys.stderr, flush=True)
            printed = True
        time.sleep(POLL_SECONDS)
    return folder


@contextlib.contextmanager
def registered(project: Path) -> Iterator[None]:
    """Holds the lock of a running worker of the search in `project`.

    Raises:
        UsageError: If another process has the same KERASTUNER_TUNER_ID.
    """
    tuner_id = os.environ["KERASTUNER_TUNER_ID"]
    lock = _lock(project, tuner_id)
    try:
        lock.acquire(timeout=10)
    except filelock.Timeout as error:
        raise UsageError(f"KERASTUNER_TUNER_ID {tuner_id} is taken by a running process. Choose another id.") from error
    with lock:
        yield


def is_alive(project: Path, tuner_id: str) -> bool:
    """Returns whether a process is registered as this worker."""
    try:
        with _lock(project, tuner_id).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


def _lock(project: Path, tuner_id: str) -> filelock.BaseFileLock:
    path = project / WORKERS / f"{tuner_id}.lock"
    path.parent.mkdir(exist_ok=True)
    return filelock.FileLock(path)


@contextlib.contextmanager
def watching(project: Path, retry_lost_trials: Callable[[Callable[[str], bool]], list[str]]) -> Iterator[None]:
    """Return the trials of ended workers to the oracle while the chief waits for requests."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(WATCH_SECONDS):
            for lost in retry_lost_trials(lambda tuner_id: is_alive(project, tuner_id)):
                print(f"Worker {lost} has ended; its trial goes to another worker.", file=sys.stderr, flush=True)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class RetryingStub:
    """Sends a worker's requests to the chief again when the connection breaks, so that no trial's result is lost.

    KerasTuner's client waits for a chief that is not there yet, but not for one that is lost in the middle of a
    request.

    Args:
        stub: KerasTuner's own, with one method for each kind of request.
    """

    def __init__(self, stub: Any):
        self._stub = stub

    def __getattr__(self, name: str) -> Callable[..., Any]:
        request = getattr(self._stub, name)

        def send(*args: Any, **kwargs: Any) -> Any:
            give_up = time.monotonic() + LOST_CHIEF_SECONDS
            while True:
                try:
                    return request(*args, **kwargs)
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > give_up:
                        raise
                time.sleep(RETRY_SECONDS)

        return send
