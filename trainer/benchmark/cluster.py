"""Measure bulk prediction in one process and on a Dask scheduler with one and two workers of this machine.

    python -m trainer.benchmark.cluster MODEL IMAGES                                 # time and memory of all images
    python -m trainer.benchmark.cluster MODEL TINY_IMAGES --images_per_part 100 10 1    # what a part costs

MODEL is the model file of an export, IMAGES a folder. Prints a table; start-up of the command is included in it.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from covid_tfds.common import cli
from covid_tfds.common.markdown import format_table

WORKERS = (0, 1, 2)  # 0: the command alone
HEADER = ("images", "parts", "workers", "wall, s", "CPU, s", "CPU of an image, ms", "peak memory of a process")
START_SECONDS = 60


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, lambda _: "Stopped. Nothing is written.")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(prog="python -m trainer.benchmark.cluster", description=__doc__.split("\n\n")[0])
    result.add_argument("model", type=Path, help="model.onnx or model.int8.onnx")
    result.add_argument("images", type=Path, help="folder of images")
    result.add_argument("--images_per_part", type=int, nargs="+", default=[1_000], help="(default: %(default)s)")
    return result


def _run(options: argparse.Namespace) -> None:
    rows = [
        measure(options.model, options.images, size, workers) for size in options.images_per_part for workers in WORKERS
    ]
    print(format_table(HEADER, rows))


def measure(model: Path, images: Path, part_size: int, workers: int) -> tuple[str, ...]:
    """Predicts the images of a folder and returns a row of the table."""
    with tempfile.TemporaryDirectory() as output, _cluster(workers) as (flags, processes):
        before = sum(map(_cpu_seconds, processes))
        command = [sys.executable, "-m", "export.bulk", "--model", str(model), "--input", str(images)]
        command += ["--output", f"{output}/bulk", "--images_per_part", str(part_size), *flags]
        start = time.perf_counter()
        driver = psutil.Popen(command, stdout=subprocess.DEVNULL)
        spent, peak = 0.0, 0
        while driver.poll() is None:
            with contextlib.suppress(psutil.Error):
                spent = _cpu_seconds(driver)
                peak = max([peak, *(process.memory_info().rss for process in (driver, *processes))])
            time.sleep(0.1)
        wall = time.perf_counter() - start
        if driver.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with exit code {driver.returncode}")
        spent += sum(map(_cpu_seconds, processes)) - before
        parts = len(list(Path(output, "bulk", "done").iterdir()))
    count = sum(path.is_file() for path in images.rglob("*"))
    cells = (count, parts, workers or "none", f"{wall:.0f}", f"{spent:.0f}", f"{1e3 * spent / count:.0f}")
    return (*map(str, cells), f"{peak >> 20} MiB")


@contextlib.contextmanager
def _cluster(workers: int) -> Iterator[tuple[list[str], list[psutil.Popen]]]:
    """A scheduler and workers with one thread each as processes: the flags that name it, and the processes."""
    if not workers:
        yield [], []
        return
    import distributed

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, str(Path(sys.executable).with_name("dask"))]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += workers * [[*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]]
    with contextlib.ExitStack() as stack:
        processes = []
        for command in commands:
            processes.append(psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            stack.callback(processes[-1].wait)
            stack.callback(processes[-1].kill)
        with distributed.Client(address, timeout=START_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=START_SECONDS)
        yield ["--scheduler", address], processes


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    sys.exit(main())
