"""A search on several processes or machines: which part each plays, and who is still there.

KerasTuner's chief hands out trials over gRPC; its workers share the chief's run folder. A worker holds a file lock
while it lives: the system lets go of it when the process dies, however it dies. Never TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from covid_tfds.common.errors import UsageError
from covid_tfds.common.new_folder import staging
from trainer.config import Config
from trainer.run_folder import file_names

SETTINGS = "search.json"
WORKERS = "workers"
POLL_SECONDS = 0.2  # between two looks at what another process does
WATCH_SECONDS = 1.0


def role(config: Config) -> str:
    """ "alone", "chief" or "worker", from KerasTuner's environment variables.

    Raises UsageError when one of them, or a worker's --output, is missing.
    """
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return "alone"
    missing = [name for name in ("KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID") if not os.environ.get(name)]
    if missing:
        raise UsageError(f"KERASTUNER_ORACLE_IP is set, but {missing[0]} is not. Set both, or none to search alone.")
    if config.output is None:
        raise UsageError("A chief and its workers need the same --output: one folder that all can reach.")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def wait_for_chief(output: Path) -> None:
    """Return when the chief of a run has prepared its dataset and begun; raises UsageError when the run is over."""
    told = False
    while not (staging(output) / file_names.TUNER / SETTINGS).exists():
        if output.exists():
            raise UsageError(f"--output {output} exists: its search is over.")
        if not told:
            print(f"Waiting for the chief to begin {output} (Ctrl-C to give up)", file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def present(project: Path) -> Iterator[None]:
    """Be seen as a living worker of the search in `project`; raises UsageError when another has this id."""
    me = os.environ["KERASTUNER_TUNER_ID"]
    lock = _lock(project, me)
    try:
        lock.acquire(timeout=10)
    except filelock.Timeout as error:
        raise UsageError(f"KERASTUNER_TUNER_ID {me} is taken by a running process: give each its own.") from error
    with lock:
        yield


def _lock(project: Path, tuner_id: str) -> filelock.BaseFileLock:
    path = project / WORKERS / f"{tuner_id}.lock"
    path.parent.mkdir(exist_ok=True)
    return filelock.FileLock(path)


def is_alive(project: Path, tuner_id: str) -> bool:
    """Whether a process is present as this worker."""
    try:
        with _lock(project, tuner_id).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True


@contextlib.contextmanager
def watching(project: Path, retry_lost_trials: Callable[[Callable[[str], bool]], list[str]]) -> Iterator[None]:
    """While the chief waits for requests, have the oracle take back the trials of workers that died."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(WATCH_SECONDS):
            for lost in retry_lost_trials(lambda tuner_id: is_alive(project, tuner_id)):
                print(f"Worker {lost} is gone; its trial goes to the next that asks.", file=sys.stderr, flush=True)

    thread = threading.Thread(target=watch, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
