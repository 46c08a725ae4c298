"""Processes of a test's own, none of which outlives it."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def start_processes(*program):
    """Give a function that starts `python PROGRAM ARGUMENTS` with more environment variables, its output kept."""
    started = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:  # which closes its pipes and waits
            process.kill()
