"""Whole processes, measured: wall time and peak memory of a command, as a user would start it. Never TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05


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
    with log.open("a") as errors, tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak_mebibytes(process.pid))
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - start
        output.seek(0)
        printed = output.read()
    if process.returncode:
        said = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}: {' '.join(said)}")
    return Measurement(seconds, peak, printed)


def _peak_mebibytes(pid: int) -> float:
    """The kernel's own high-water mark of a running process; getrusage's would hold its parent's memory, too."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it has just ended, or this system has no /proc
        return 0.0
    marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else 0.0
