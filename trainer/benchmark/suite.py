"""What the benchmark measures, a row of the table at a time; see `measure_all`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from covid_tfds.common.files import write_json
from trainer.benchmark import growth
from trainer.benchmark.bench import QUICK, Bench
from trainer.benchmark.processes import Measurement
from trainer.benchmark.table import HEADER, Row, divide, format_markdown
from trainer.report import plots
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


def measure_all(bench: Bench, output: Path) -> None:
    """Measures everything, prints the tables, and writes their numbers to `output` and the plot beside it."""
    trained = bench.new_output()
    bench.train(cache=bench.warm)
    rows = [*measure_help(bench), *measure_inner_loops(bench), *measure_training(bench)]
    rows += measure_prediction(bench, trained)
    print(format_markdown(HEADER, [row.cells() for row in rows]))
    grown = growth.measure_growth(bench)
    plots.save(growth.draw_growth(grown.seconds), output.with_suffix(".png"))
    print(f"\n{grown.describe()}")
    machine = {"cores": os.cpu_count(), "quick": bench.scale is QUICK}
    write_json(
        output, {**machine, "rows": [dataclasses.asdict(row) for row in rows], "growth": dataclasses.asdict(grown)}
    )


def measure_help(bench: Bench) -> list[Row]:
    """The slowest --help of all commands: seconds, not a ratio."""
    slowest = [
        max(bench.run(command, "--help", cache=bench.folder).seconds for command in COMMANDS)
        for _ in range(bench.scale.repetitions)
    ]
    return [Row("slowest --help", "(seconds)", "< 1", slowest)]


def measure_inner_loops(bench: Bench) -> list[Row]:
    """Features, against the forward passes alone, and the input pipeline, against a plain loop."""
    size, many = min(bench.scale.sizes), bench.scale.many
    features, _ = bench.run_kernel("features", size)
    pipeline, _ = bench.run_kernel("pipeline", many)
    return [
        Row(
            f"features of {size} images",
            "the forward passes (floor)",
            "<= 1.15",
            divide(features["float32"], features["floor"]),
        ),
        Row("the same, --precision bfloat16", "float32", ">= 1.8", divide(features["float32"], features["bfloat16"])),
        Row(
            f"input pipeline, {many} images",
            "plain loop",
            ">= 1.7",
            divide(pipeline["plain loop"], pipeline["eval_pipeline"]),
        ),
    ]


def measure_training(bench: Bench) -> list[Row]:
    """Whole processes that train or search, against the tutorial's whole process."""
    images, scale = bench.export_images(), bench.scale
    tutorial: list[Measurement] = []
    cold: list[Measurement] = []
    warm: list[Measurement] = []
    tuned: list[Measurement] = []
    for _ in range(scale.repetitions):
        tutorial.append(bench.run("trainer.benchmark.tutorial", str(images), str(scale.epochs)))
        cold.append(bench.train())
        warm.append(bench.train(cache=bench.warm))
        tuned.append(bench.train("--tune", "--trials", str(scale.trials), "--folds", str(scale.folds)))

    def row(work: str, against: str, goal: str, own: list[Measurement], tutorials: int = 1) -> Row:
        times = divide((tutorials * slow.seconds for slow in tutorial), (fast.seconds for fast in own))
        return Row(work, against, goal, times, max(fast.mebibytes for fast in own))

    fits = scale.trials * scale.folds
    search, many = f"--tune, {scale.trials} trials x {scale.folds} folds, cold", f"{fits} tutorial processes"
    return [
        row("python -m trainer, cold caches", "the tutorial's process", ">= 6", cold),
        row("python -m trainer, features cached", "the tutorial's process", ">= 12", warm),
        row(search, f"{many} (one, multiplied)", ">= 120", tuned, fits),
    ]


def measure_prediction(bench: Bench, run_folder: Path) -> list[Row]:
    """The exported model, against Keras; per image, so that start-up counts only in the first row."""
    bench.run("export", str(run_folder), "--int8")
    files = [str(path) for path in sorted((bench.folder / "many").iterdir())]
    exported = run_folder / "export"
    ways = {
        "keras": ("trainer.benchmark.keras_predict", str(run_folder / file_names.MODEL)),
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
    keras, onnx, int8 = (rest[name] for name in ways)
    images = f"{len(files)} images"
    return [
        Row(
            "first answer of export.predict", "model.keras in TensorFlow", ">= 8", divide(first["keras"], first["onnx"])
        ),
        Row(f"{images}, float ONNX", "Keras predict", ">= 1.2", divide(keras, onnx), memory["onnx"]),
        Row(f"{images}, int8 ONNX", "float ONNX", ">= 2.5", divide(onnx, int8), memory["int8"]),
        *measure_bulk_prediction(bench, exported / "model.onnx", onnx),
    ]


def measure_bulk_prediction(bench: Bench, model: Path, loop: list[float]) -> list[Row]:
    """`export.bulk` without its start-up, against `loop`: seconds of export.predict for the same images."""
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
            divide(loop, seconds[name]),
            # The peak memory of a process does not count its workers'.
            None if flags else memory[name],
        )
        for name, flags in ways.items()
    ]
