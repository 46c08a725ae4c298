"""`python -m trainer.benchmark`: what users wait for, against what they would use instead, in one run on one machine.

    python -m trainer.benchmark --manual_dir DIR --output benchmark.json    # about 40 minutes on 2 cores
    python -m trainer.benchmark --quick                                     # under 3 minutes: shows only that it works

Prints a table of ratios with the spread of the repetitions, which take turns so that a slow spell of the machine hits
all alike, and writes the plot of how cost grows beside the JSON file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_json
from trainer.benchmark import processes
from trainer.run_folder import file_names

COMMANDS = (
    "trainer",
    "trainer.evaluate",
    "trainer.benchmark",
    "trainer.extract",
    "export",
    "export.predict",
    "export.bulk",
    "covid_tfds.audit",
)


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured."""

    repetitions: int
    epochs: int
    trials: int
    folds: int
    many: int
    sizes: tuple[int, ...]
    two_workers: bool


FULL = Scale(repetitions=3, epochs=25, trials=30, folds=5, many=200, sizes=(50, 200, 1000, 2000), two_workers=True)
QUICK = Scale(repetitions=1, epochs=1, trials=2, folds=2, many=10, sizes=(10,), two_workers=False)


class Bench:
    """One benchmark's folder, its dataset, and the commands that are measured on it."""

    def __init__(self, folder: Path, scale: Scale, manual_dir: str | None):
        self.folder, self.scale = folder, scale
        self.log = folder / "errors.log"
        self.count = 0
        self.warm = folder / "warm"  # a feature cache that is filled by the first training
        shared = ["--weights", "random", "--data_dir", str(folder / "data")]
        if manual_dir:
            self.dataset = ["--config", "curated", "--manual_dir", manual_dir, *shared]
        else:
            drawn = [] if scale is FULL else ["--num_examples", "30"]
            self.dataset = ["--config", "phantom", *drawn, *shared]

    def run(self, module: str, *arguments: str, cache: Path | None = None) -> processes.Measurement:
        """Run a command; without `cache` with an empty one of its own."""
        self.count += 1
        print(f"  {self.count}: {module} {' '.join(arguments)[:60]}", file=sys.stderr, flush=True)
        return processes.run(module, *arguments, cache=cache or self.folder / f"cache{self.count}", log=self.log)

    def train(self, *flags: str, cache: Path | None = None) -> processes.Measurement:
        """A whole training process into a new run folder."""
        if "--tune" not in flags:
            flags = (*flags, "--epochs", str(self.scale.epochs))
        return self.run("trainer", *self.dataset, *flags, "--output", str(self.new_output()), cache=cache)

    def new_output(self) -> Path:
        """The run folder of the next training."""
        return self.folder / f"run{self.count + 1}"

    def export_images(self) -> Path:
        """The dataset as files for the tutorial's script, and its first image many times for prediction."""
        from PIL import Image

        from trainer.config import from_argv
        from trainer.features import data

        examples = data.load(from_argv(self.dataset))
        for index, encoded in enumerate(examples.encoded().as_numpy_iterator()):
            path = self.folder / "images" / examples.class_names[examples.labels[index]] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
        with Image.open(next((self.folder / "images").glob("covid/*"))) as image:
            grey = image.convert("L").resize((512, 448))
        (self.folder / "many").mkdir()
        for index in range(self.scale.many):
            grey.save(self.folder / "many" / f"{index:04d}.png")
        return self.folder / "images"


def whole_processes(bench: Bench) -> list:
    """Rows for training and searching, against the tutorial's whole process."""
    from trainer.benchmark.table import Row

    images = bench.export_images()
    scale = bench.scale
    times: dict[str, list[processes.Measurement]] = {name: [] for name in ("tutorial", "cold", "warm", "tune")}
    for _ in range(scale.repetitions):
        times["tutorial"].append(bench.run("trainer.benchmark.tutorial", str(images), str(scale.epochs)))
        times["cold"].append(bench.train())
        times["warm"].append(bench.train(cache=bench.warm))
        times["tune"].append(bench.train("--tune", "--trials", str(scale.trials), "--folds", str(scale.folds)))
    fits = scale.trials * scale.folds
    against = {
        "cold": ("python -m trainer, cold caches", "the tutorial's process", ">= 6", 1),
        "warm": ("python -m trainer, features cached", "the tutorial's process", ">= 12", 1),
        "tune": (
            f"--tune, {scale.trials} trials x {scale.folds} folds, cold",
            f"{fits} tutorial processes (one, multiplied)",
            ">= 120",
            fits,
        ),
    }
    return [
        Row(
            work,
            other,
            goal,
            [factor * slow.seconds / own.seconds for slow, own in zip(times["tutorial"], times[name], strict=True)],
            max(own.mebibytes for own in times[name]),
        )
        for name, (work, other, goal, factor) in against.items()
    ]


def prediction(bench: Bench, run_folder: Path) -> list:
    """Rows for the exported model, against Keras; per image, so that start-up counts only where it is asked for."""
    from trainer.benchmark.table import Row

    bench.run("export", str(run_folder), "--int8")
    files = [str(path) for path in sorted((bench.folder / "many").iterdir())]
    exported = run_folder / "export"
    ways = {
        "keras": ("trainer.benchmark.keras_answer", str(run_folder / file_names.MODEL)),
        "onnx": ("export.predict", str(exported / "model.onnx")),
        "int8": ("export.predict", str(exported / "model.int8.onnx")),
    }
    first: dict[str, list[float]] = {name: [] for name in ways}
    rest: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float] = {}
    for _ in range(bench.scale.repetitions):
        for name, (module, model) in ways.items():
            one, many = bench.run(module, model, files[0]), bench.run(module, model, *files)
            first[name].append(one.seconds)
            rest[name].append(many.seconds - one.seconds)
            memory[name] = many.mebibytes
    count = len(files)
    bulk = bulk_prediction(bench, exported / "model.onnx", rest["onnx"])

    def ratios(times: dict[str, list[float]], slow: str, own: str) -> list[float]:
        return [a / b for a, b in zip(times[slow], times[own], strict=True)]

    return [
        Row("first answer of export.predict", "model.keras in TensorFlow", ">= 8", ratios(first, "keras", "onnx")),
        Row(f"{count} images, float ONNX", "Keras predict", ">= 1.2", ratios(rest, "keras", "onnx"), memory["onnx"]),
        Row(f"{count} images, int8 ONNX", "float ONNX", ">= 2.5", ratios(rest, "onnx", "int8"), memory["int8"]),
        *bulk,
    ]


def bulk_prediction(bench: Bench, model: Path, loop: list[float]) -> list:
    """Rows for `export.bulk`, start-up left out, against the plain loop's seconds for the same images: loop."""
    from trainer.benchmark.table import Row

    ways: dict[str, tuple[str, ...]] = {"1 worker": ()}
    if bench.scale.two_workers:
        ways["2 workers, each a process"] = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")
    images = bench.folder / "many"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float] = {}
    for _ in loop:
        for name, flags in ways.items():
            output = bench.new_output()
            model_and = ("--model", str(model), *flags, "--input")
            one = bench.run("export.bulk", *model_and, str(images / "0000.png"), "--output", str(output))
            many = bench.run("export.bulk", *model_and, str(images), "--output", f"{output}-many")
            seconds[name].append(many.seconds - one.seconds)
            memory[name] = many.mebibytes
    return [
        Row(
            f"{bench.scale.many} images, export.bulk, {name}",
            "export.predict",
            "",
            [plain / own for plain, own in zip(loop, seconds[name], strict=True)],
            # What the kernel knows of a process leaves out its workers' memory.
            None if flags else memory[name],
        )
        for name, flags in ways.items()
    ]


def kernel(bench: Bench, name: str, images: int, cache: Path | None = None) -> tuple[dict, float]:
    """What `trainer.benchmark.kernels` measures for a phantom of so many images, and its peak memory in MiB.

    The phantom is prepared anew for each kernel.
    """
    flags = ("--images", str(images), "--repetitions", str(bench.scale.repetitions))
    place = ("--data_dir", str(bench.folder / name))
    result = bench.run("trainer.benchmark.kernels", name, *flags, *place, cache=cache)
    return json.loads(result.output.strip().splitlines()[-1]), result.mebibytes


def inner_loops(bench: Bench) -> list:
    """Rows for features, against the forward passes alone, and for the input pipeline, against a plain loop."""
    from trainer.benchmark.table import Row

    size = min(bench.scale.sizes)
    times, _ = kernel(bench, "features", size)
    loop, _ = kernel(bench, "pipeline", bench.scale.many)

    def ratios(of: dict, over: str, under: str) -> list[float]:
        return [a / b for a, b in zip(of[over], of[under], strict=True)]

    return [
        Row(f"features of {size} images", "the forward passes (floor)", "<= 1.15", ratios(times, "float32", "floor")),
        Row("the same, --precision bfloat16", "float32", ">= 1.8", ratios(times, "float32", "bfloat16")),
        Row(
            f"input pipeline, {bench.scale.many} images",
            "plain loop",
            ">= 1.7",
            ratios(loop, "plain loop", "eval_pipeline"),
        ),
    ]


def helps(bench: Bench) -> list:
    """A row for the slowest --help: seconds, not a ratio."""
    from trainer.benchmark.table import Row

    slowest = [
        max(bench.run(command, "--help", cache=bench.folder).seconds for command in COMMANDS)
        for _ in range(bench.scale.repetitions)
    ]
    return [Row("slowest --help", "(seconds)", "< 1", slowest)]


def growth(bench: Bench, picture: Path) -> dict:
    """Seconds by phase and peak memory of a whole training, by number of images; the plot goes to `picture`."""
    from trainer.benchmark.table import growth_plot

    caches = {size: bench.folder / f"growth-cache{size}" for size in bench.scale.sizes}
    measured = {size: kernel(bench, "growth", size, caches[size]) for size in bench.scale.sizes}
    seconds = {size: phases for size, (phases, _) in measured.items()}
    peaks = {}
    for size in (min(bench.scale.sizes), max(bench.scale.sizes)):
        flags = ["--config", "phantom", "--num_examples", str(size), "--weights", "random"]
        flags += ["--data_dir", str(bench.folder / "growth"), "--epochs", str(bench.scale.epochs)]
        peaks[size] = bench.run("trainer", *flags, "--output", str(bench.new_output()), cache=caches[size]).mebibytes
    growth_plot(picture, seconds)
    return {
        "seconds": seconds,
        "peak_mebibytes": {size: peak for size, (_, peak) in measured.items()},
        "training_peak_mebibytes": peaks,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, lambda _: "Stopped. Nothing is written.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m trainer.benchmark", description=__doc__.split("\n\n")[0])
    result.add_argument("--quick", action="store_true", help="few images, one repetition: shows only that it works")
    result.add_argument("--manual_dir", help="measure training on the real `curated` images in this folder")
    result.add_argument(
        "--output", type=Path, default="benchmark.json", help="JSON file to write (default: %(default)s)"
    )
    return result


def _run(options: argparse.Namespace) -> None:
    output = options.output
    if output.exists():
        raise UsageError(f"--output {output} exists and is not touched: choose another name or remove it first.")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"--output {output}: its folder can't be written. Choose another.")
    with tempfile.TemporaryDirectory() as folder:
        measure(Bench(Path(folder), QUICK if options.quick else FULL, options.manual_dir), output)


def measure(bench: Bench, output: Path) -> None:
    """Measure everything, print the table, and write it with its raw figures and the plot."""
    from trainer.benchmark.table import markdown, markdown_table

    trained = bench.new_output()
    bench.train(cache=bench.warm)
    rows = [*helps(bench), *inner_loops(bench), *whole_processes(bench), *prediction(bench, trained)]
    print(markdown(rows))
    grown = growth(bench, output.with_suffix(".png"))
    phases = list(grown["seconds"][min(bench.scale.sizes)])
    print(
        "\n"
        + markdown_table(
            ("images", *(f"{phase}, s" for phase in phases), "peak memory"),
            [
                (str(size), *(f"{seconds[phase]:.1f}" for phase in phases), f"{grown['peak_mebibytes'][size]:.0f} MiB")
                for size, seconds in grown["seconds"].items()
            ],
        )
    )
    peaks = grown["training_peak_mebibytes"]
    few, many = min(peaks), max(peaks)
    grows = (peaks[many] - peaks[few]) * (1 << 20) / 1e6
    print(
        f"Peak memory of training: {few} images {peaks[few]:.0f} MiB, {many} images {peaks[many]:.0f} MiB; "
        f"it grows by {grows:.0f} MB (goal: less than 300)."
    )
    facts = {"cores": os.cpu_count(), "quick": bench.scale is QUICK}
    write_json(output, {**facts, "rows": [dataclasses.asdict(row) for row in rows], "growth": grown})


if __name__ == "__main__":
    sys.exit(main())
