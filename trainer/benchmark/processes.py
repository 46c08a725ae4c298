"""Whole processes, measured: wall time and peak memory of a command, as a user would start it. Never TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """seconds: wall time of the whole process. mebibytes: its peak resident memory. output: its standard output."""

    seconds: float
    mebibytes: float
    output: str


def run(module: str, *arguments: str, cache: Path, log: Path) -> Measurement:
    """Run `python -m module arguments...` with its feature cache in `cache` and wait for it.

    log: file that its standard error is added to. Raises RuntimeError with the command and its last words when it
    fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with log.open("a") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        output = process.stdout.read()
        # wait4 rather than wait: it gives this process's own peak memory, not the largest of all that ran so far.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}: {' '.join(said)}")
    kibibytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Measurement(seconds, kibibytes / 1024, output)
