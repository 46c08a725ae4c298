"""Measure wall time and peak memory of a command, started as a user would start it. No TensorFlow."""

from __future__ import annotations

import contextlib
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
    """What one process cost.

    Attributes:
        seconds: Wall time of the whole process.
        mebibytes: Its peak resident memory.
        output: Its standard output.
    """

    seconds: float
    mebibytes: float
    output: str


def run(module: str, *arguments: str, cache: Path, log: Path) -> Measurement:
    """Runs `python -m module arguments...` and waits for it.

    Args:
        module: Name of the module.
        *arguments: Its command line.
        cache: Folder of its feature cache.
        log: File to which its standard error is appended.

    Raises:
        RuntimeError: If the process fails; the message has the command and the last line of its standard error.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with log.open("a") as errors, tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak_mebibytes(process.pid))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
        seconds = time.perf_counter() - start
        output.seek(0)
        printed = output.read()
    if process.returncode:
        last_line = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}: {' '.join(last_line)}")
    return Measurement(seconds, peak, printed)


def _peak_mebibytes(pid: int) -> float:
    """Peak resident memory of a running process by /proc; getrusage's number would include its parent's memory."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it has just ended, or this system has no /proc
        return 0.0
    marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else 0.0
