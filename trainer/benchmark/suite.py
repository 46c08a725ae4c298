"""Measure the rows of the benchmark's table; see `measure_all`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from covid_tfds.common.files import write_json
from covid_tfds.common.markdown import format_table
from trainer.benchmark import growth
from trainer.benchmark.bench import QUICK, Bench
from trainer.benchmark.processes import Measurement
from trainer.benchmark.table import HEADER, Row, divide
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
    print(format_table(HEADER, [row.cells() for row in rows]))
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
    floor = divide(features["float32"], features["floor"])
    bfloat16 = divide(features["float32"], features["bfloat16"])
    loop = divide(pipeline["plain loop"], pipeline["eval_pipeline"])
    return [
        Row(f"features of {size} images", "the forward passes (floor)", "<= 1.15", floor),
        Row("the same, --precision bfloat16", "float32", ">= 1.8", bfloat16),
        Row(f"input pipeline, {many} images", "plain loop", ">= 1.7", loop),
    ]


def measure_training(bench: Bench) -> list[Row]:
    """Whole processes that train or search, against the tutorial's whole process."""
    images, scale = bench.export_images(), bench.scale
    runs: dict[str, list[Measurement]] = {"tutorial": [], "cold": [], "warm": [], "tune": []}
    for _ in range(scale.repetitions):
        runs["tutorial"].append(bench.run("trainer.benchmark.tutorial", str(images), str(scale.epochs)))
        runs["cold"].append(bench.train())
        runs["warm"].append(bench.train(cache=bench.warm))
        runs["tune"].append(bench.train("--tune", "--trials", str(scale.trials), "--folds", str(scale.folds)))

    def row(work: str, against: str, goal: str, name: str, tutorials: int = 1) -> Row:
        slow = (tutorials * run.seconds for run in runs["tutorial"])
        ratios = divide(slow, (run.seconds for run in runs[name]))
        return Row(work, against, goal, ratios, max(run.mebibytes for run in runs[name]))

    fits = scale.trials * scale.folds
    search = f"--tune, {scale.trials} trials x {scale.folds} folds, cold"
    return [
        row("python -m trainer, cold caches", "the tutorial's process", ">= 6", "cold"),
        row("python -m trainer, features cached", "the tutorial's process", ">= 12", "warm"),
        row(search, f"{fits} tutorial processes (one, multiplied)", ">= 120", "tune", fits),
    ]


def measure_prediction(bench: Bench, run_folder: Path) -> list[Row]:
    """The exported model, against Keras; per image, so that start-up counts only in the first row."""
    bench.run("export", str(run_folder), "--int8")
    onnx, int8 = (str(run_folder / "export" / name) for name in ("model.onnx", "model.int8.onnx"))
    ways = {
        "keras": ("trainer.benchmark.keras_predict", str(run_folder / file_names.MODEL)),
        "onnx": ("export.predict", onnx),
        "int8": ("export.predict", int8),
        "bulk": ("export.bulk", "--model", onnx),
    }
    first: dict[str, list[float]] = {name: [] for name in ways}
    rest: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float] = {}

    def predict(way: tuple[str, ...], images: Path) -> Measurement:
        if way[0] == "export.bulk":
            return bench.run(*way, "--input", str(images), "--output", str(bench.new_output()))
        return bench.run(*way, str(images))

    for _ in range(bench.scale.repetitions):
        for name, way in ways.items():
            one, many = predict(way, bench.folder / "many" / "0000.png"), predict(way, bench.folder / "many")
            first[name].append(one.seconds)
            rest[name].append(many.seconds - one.seconds)
            memory[name] = many.mebibytes
    images = f"{bench.scale.many} images"
    start_up = divide(first["keras"], first["onnx"])
    return [
        Row("first answer of export.predict", "model.keras in TensorFlow", ">= 8", start_up),
        Row(f"{images}, float ONNX", "Keras predict", ">= 1.2", divide(rest["keras"], rest["onnx"]), memory["onnx"]),
        Row(f"{images}, int8 ONNX", "float ONNX", ">= 2.5", divide(rest["onnx"], rest["int8"]), memory["int8"]),
        Row(f"{images}, export.bulk", "export.predict", "", divide(rest["onnx"], rest["bulk"]), memory["bulk"]),
    ]
