"""Measure what a training costs beside VGG16: reading the images, and everything after the features.

    python -m trainer.benchmark.after_features FOLDER                        # 50, 500, 5,000 and 20,000 images
    python -m trainer.benchmark.after_features FOLDER --images 21165

Features are drawn at random in place of VGG16's forward passes; all else is a whole training of `stand_in`'s images,
which are drawn into FOLDER once. Prints a table of CPU seconds and peak memory by number of images.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from covid_tfds.common import cli
from covid_tfds.common.markdown import format_table
from covid_tfds.examples import DatasetRequest, Examples
from trainer import training
from trainer.benchmark import processes, stand_in
from trainer.config import Config
from trainer.features import forward
from trainer.features.backbone_features import Features
from trainer.recipes import Recipe

SIZES = [50, 500, 5_000, 20_000]


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, lambda _: "Stopped. The drawn images are kept.")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(prog="python -m trainer.benchmark.after_features", description=__doc__.split("\n\n")[0])
    result.add_argument("folder", type=Path, help="folder of the drawn images; what is there is used again")
    result.add_argument("--images", type=int, nargs="+", default=SIZES, help="how many (default: %(default)s)")
    result.add_argument("--train", type=Path, help=argparse.SUPPRESS)  # in a process of its own, for its peak memory
    return result


def _run(options: argparse.Namespace) -> None:
    if options.train:
        print(json.dumps(measure_training(options.train)))
        return
    rows = []
    for images in options.images:
        drawn = options.folder / f"stand_in_{images}"
        if not drawn.exists():
            stand_in.write_stand_in(drawn, images)
        with tempfile.TemporaryDirectory() as cache:
            arguments = ("trainer.benchmark.after_features", str(options.folder), "--train", str(drawn))
            run = processes.run(*arguments, cache=Path(cache), log=options.folder / "errors.log")
        seconds = json.loads(run.output.splitlines()[-1])
        rows.append([f"{images:,}", *(f"{value:.3g}" for value in seconds.values()), f"{run.mebibytes:,.0f} MiB"])
    print(format_table(["images", *seconds, "peak memory"], rows))


def measure_training(folder: Path) -> dict[str, float]:
    """Returns the CPU seconds of each phase of a training on the images of a folder, with features drawn at random."""
    seconds = {"reading": 0.0, "drawing features": 0.0}

    def timed(phase: str, function: Callable) -> Callable:
        def call(*arguments, **options):
            start = time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                seconds[phase] += time.process_time() - start

        return call

    with (
        mock.patch.object(forward, "compute_passes", draw_passes),
        mock.patch.object(Features, "_compute", timed("drawing features", Features._compute)),
        mock.patch.object(training, "load_training_set", timed("reading", training.load_training_set)),
        tempfile.TemporaryDirectory() as output,
        contextlib.redirect_stdout(sys.stderr),
    ):
        start = time.process_time()
        training.train(Config(DatasetRequest(dataset=str(folder)), weights="random", output=f"{output}/run"))
        total = time.process_time() - start
    return seconds | {"after the features": total - sum(seconds.values())}


def draw_passes(
    examples: Examples,
    recipe: Recipe,
    network: keras.Model,
    precision: str,
    workers: int,
    missing: dict,
    seed: Callable,
) -> Iterator[tuple[list[tuple[int, int]], dict[str, np.ndarray]]]:
    """Yields what `forward.compute_passes` does, drawn at random; the classes differ a little."""
    random = np.random.default_rng(0)
    side, _, channels = network.get_layer(recipe.cut).output.shape[1:]
    for row, variants in missing.items():
        for variant in variants:
            maps = random.gamma(0.2, 1, (1, side, side, channels)).astype(np.float32)
            maps[..., examples.labels[row] :: 16] *= 1.2
            arrays = {recipe.cut: maps, f"{recipe.cut}/average": maps.mean((1, 2))}
            arrays[f"{recipe.cut}/{forward.QUARTERS}"] = np.resize(arrays[f"{recipe.cut}/average"], (1, 4 * channels))
            thumbnail = random.uniform(0, 255, (1, forward.THUMBNAIL_SIDE, forward.THUMBNAIL_SIDE))
            yield [(row, variant)], arrays | {forward.THUMBNAIL: thumbnail.astype(np.float32)}


if __name__ == "__main__":
    sys.exit(main())
