"""A Dask scheduler and workers as processes of their own, started and ended by the test."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
DASK = Path(sys.executable).with_name("dask")
STARTED_WITHIN = 120  # seconds, on a loaded machine


class Cluster:
    """A scheduler and its workers; `address` is what --scheduler takes."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.folder = folder
        self.workers: list[psutil.Popen] = []
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")

    def add_worker(self, **environment: str) -> psutil.Popen:
        """Start a worker with one thread and return at once."""
        flags = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", str(STARTED_WITHIN))
        worker = self._start("worker", self.address, *flags, **environment)
        self.workers.append(worker)
        return worker

    def wait_for_workers(self, count: int) -> None:
        """Return when the scheduler has `count` workers."""
        from distributed import Client

        with Client(self.address, timeout=STARTED_WITHIN, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=STARTED_WITHIN)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            process.wait()

    def _start(self, *words: str, **environment: str) -> psutil.Popen:
        paths = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        with (self.folder / f"{words[0]}-{time.monotonic_ns()}.log").open("w") as log:
            return psutil.Popen(
                [sys.executable, DASK, *words],
                env={**os.environ, "PYTHONPATH": paths, **environment},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )


@contextlib.contextmanager
def cluster_of(folder: Path, workers: int) -> Iterator[Cluster]:
    """A cluster whose workers are connected when the block begins."""
    cluster = Cluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        if workers:
            cluster.wait_for_workers(workers)
        yield cluster
    finally:
        cluster.close()
