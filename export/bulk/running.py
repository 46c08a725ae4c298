"""The whole work: part after part, each kept when it is whole, and what is kept never done again."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import filelock
import pyarrow.parquet
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from covid_tfds.common import beam_runner
from covid_tfds.common.errors import UsageError
from export.bulk import inputs, model, pipeline
from export.runtime.predictor import Predictor

ASKED = "bulk.json"
PREDICTIONS, UNREADABLE, DONE = "predictions", "unreadable", "done"


@dataclasses.dataclass(frozen=True)
class Output:
    """A folder of results on any file system that Beam knows."""

    folder: str

    def path(self, *names: str) -> str:
        """The name of a file in it."""
        return FileSystems.join(self.folder, *names)

    def read(self, *names: str) -> dict | None:
        """A JSON file in it, None when it is not there; raises UsageError when it is damaged."""
        path = self.path(*names)
        if not FileSystems.exists(path):
            return None
        try:
            return json.loads(model.read(path))
        except ValueError as error:
            raise UsageError(f"{path} is damaged ({error}): remove {self.folder} to start over.") from error

    def write(self, value: dict, *names: str) -> None:
        """Write a JSON file under its final name in one step."""
        path = self.path(*names)
        temporary = f"{path}.incomplete"
        with FileSystems.create(temporary, "application/json", "uncompressed") as file:
            file.write(json.dumps(value, indent=2).encode() + b"\n")
        FileSystems.rename([temporary], [path])

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep other processes of this machine out; raises UsageError when either can't be done."""
        try:
            for name in (PREDICTIONS, UNREADABLE, DONE):
                if not FileSystems.exists(self.path(name)):
                    FileSystems.mkdirs(self.path(name))
            lock = filelock.FileLock(Path(self.folder) / ".lock") if "://" not in self.folder else None
            if lock:
                lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UsageError(f"--output {self.folder}: another process is at work there.") from error
        except Exception as error:  # each of Beam's file systems raises kinds of its own
            raise UsageError(f"--output {self.folder} can't be written: {' '.join(str(error).split())}") from error
        with lock or contextlib.nullcontext():
            yield

    def sweep(self) -> None:
        """Remove what writers that were killed have left."""
        for name in (PREDICTIONS, UNREADABLE):
            if "://" in self.folder:
                found = FileSystems.match([self.path(name, "beam-temp-**")])[0].metadata_list
                FileSystems.delete([file.path for file in found])
                continue
            for left in Path(self.folder, name).glob("beam-temp-*"):
                shutil.rmtree(left)


def run(options: argparse.Namespace, flags: list[str]) -> int:
    """Predict what is not predicted yet, and give the exit code; raises UsageError or ModelError."""
    try:
        beam_options = beam_runner.options(options.runner, flags)
    except ValueError as error:
        raise UsageError(str(error)) from error
    judge, resize = _model(options.model)
    images = inputs.find(options.input, options.data_dir)
    parts = images.parts(options.images_per_part)
    output = Output(options.output)
    with output.held():
        _agree(output, options, images, judge)
        done = [output.read(DONE, f"{number:05d}.json") for number in range(len(parts))]
        todo = [number for number, found in enumerate(done) if found is None]
        if todo:
            output.sweep()
            steps = {
                "resize": resize,
                "handler": model.Handler(
                    options.model, judge.model_sha256, _threads(options, beam_options), options.batch_size
                ),
                "judge": judge,
            }
            _work(output, images, parts, done, steps, beam_options)
    return _tell(output, done, len(images))


def _work(output: Output, images, parts: list, done: list, steps: dict, beam_options: PipelineOptions) -> None:
    from tqdm import tqdm

    before = sum(found["images"] for found in done if found)
    with tqdm(total=len(images), initial=before, unit="image", disable=None) as bar:
        for number, part in enumerate(parts):
            if done[number]:
                continue
            start = time.perf_counter()
            predicted = _part(output, images.source(part), steps, f"{number:05d}-of-{len(parts):05d}", beam_options)
            seconds = time.perf_counter() - start
            found = {
                "images": part.count,
                "predicted": predicted,
                "unreadable": part.count - predicted,
                "seconds": seconds,
            }
            output.write(found, DONE, f"{number:05d}.json")
            done[number] = found
            bar.update(part.count)
            bar.write(
                f"part {number + 1} of {len(parts)}: {part.count} images, {found['unreadable']} unreadable, "
                f"{part.count / seconds:.1f} images/s"
            )


def _part(output: Output, source, steps: dict, name: str, beam_options: PipelineOptions) -> int:
    """Run one part's pipeline; gives the number of rows that it wrote."""
    predictions = output.path(PREDICTIONS, f"{name}.parquet")
    try:
        with beam.Pipeline(runner=beam_runner.runner(beam_options), options=beam_options) as whole:
            pipeline.build(
                whole, source, predictions=predictions, unreadable=output.path(UNREADABLE, f"{name}.csv"), **steps
            )
    except Exception as error:  # whatever the runner, a file system or a worker raises
        with tempfile.NamedTemporaryFile("w", prefix="bulk-", suffix=".log", delete=False) as log:
            log.write(traceback.format_exc())
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"part {name} failed: {said[-1]} (all of it in {log.name}). What is done stays: the same command goes on."
        ) from error
    with FileSystems.open(predictions, compression_type="uncompressed") as file:
        return pyarrow.parquet.ParquetFile(file).metadata.num_rows


def _agree(output: Output, options: argparse.Namespace, images, judge: pipeline.Judge) -> None:
    """Note what is asked for, or raise UsageError when the folder holds an answer to something else."""
    wanted = {
        "model": judge.model_sha256,
        "images_per_part": options.images_per_part,
        "images": len(images),
        "input": images.digest,
    }
    found = output.read(ASKED)
    if found is None:
        if FileSystems.match([output.path(PREDICTIONS, "*")])[0].metadata_list:
            raise UsageError(f"--output {output.folder} holds files but no {ASKED}: choose another folder.")
        output.write(wanted, ASKED)
        return
    for name, value in wanted.items():
        if found.get(name) != value:
            what = f"another {name}" if name in ("model", "input") else f"{name} {found.get(name)}, not {value}"
            raise UsageError(
                f"--output {output.folder} was begun with {what}. Give what it began with, or choose another folder."
            )


def _tell(output: Output, done: list[dict], images: int) -> int:
    unreadable = sum(found["unreadable"] for found in done)
    why = f" ({output.path(UNREADABLE)})" if unreadable else ""
    print(
        f"Complete: {images - unreadable} of {images} images in {output.path(PREDICTIONS)}, "
        f"{unreadable} could not be read{why}"
    )
    return 0 if not unreadable else 2 if unreadable == images else 1


def _model(path: str) -> tuple[pipeline.Judge, bytes]:
    """What judges by the model at `path`, once it is checked, and the half of it that resizes."""
    with contextlib.ExitStack() as stack:
        copy = Path(path)
        if "://" in path:
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory()), copy.name)
            copy.write_bytes(model.read(path))
        predictor = Predictor(copy)
        data = copy.read_bytes()
    judge = pipeline.Judge(predictor.info, hashlib.sha256(data).hexdigest())
    return judge, model.half(data, model.IMAGE, model.RESIZED)


def _threads(options: argparse.Namespace, beam_options: PipelineOptions) -> int:
    workers = beam_options.view_as(DirectOptions).direct_num_workers
    return options.threads or max(1, (os.cpu_count() or 1) // (workers or os.cpu_count() or 1))
