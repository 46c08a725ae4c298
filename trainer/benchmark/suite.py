"""Measure the rows of the benchmark's table; see `measure_all`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from covid_tfds.common.cores import has_bfloat16
from covid_tfds.common.files import read_json, write_json
from covid_tfds.common.markdown import format_table
from trainer.benchmark import growth
from trainer.benchmark.bench import QUICK, Bench
from trainer.benchmark.instructions import identify_machine
from trainer.benchmark.prediction import measure_prediction
from trainer.benchmark.processes import Measurement
from trainer.benchmark.table import HEADER, Row, divide
from trainer.report import plots
from trainer.run_folder import file_names

BEFORE = "one batch of 8 after the other, all cores for each operation"
COMMANDS = (
    "trainer",
    "trainer.evaluate",
    "trainer.benchmark",
    "trainer.extract",
    "export",
    "export.predict",
    "export.bulk",
    "export.serve",
    "covid_tfds.audit",
)


def measure_all(bench: Bench, output: Path) -> None:
    """Measures everything, prints the tables, and writes their numbers to `output` and the plot beside it."""
    machine = identify_machine(bench)
    trained = bench.new_output()
    bench.train(cache=bench.warm)
    bench.run("export", str(trained), "--int8")  # it may miss its parity: before the long work, not after it
    weights = read_json(trained / file_names.ENVIRONMENT)["weights"]["name"]
    rows = [*measure_help(bench), *measure_inner_loops(bench), *measure_training(bench, weights)]
    rows += [measure_disk(bench), *measure_prediction(bench, trained)]
    print(f"{machine.describe()} Weights: {weights}.\n")
    print(format_table(HEADER, [row.cells() for row in rows]))
    grown = growth.measure_growth(bench)
    plots.save(growth.draw_growth(grown.seconds), output.with_suffix(".png"))
    print(f"\n{grown.describe()}")
    about = {"machine": dataclasses.asdict(machine), "weights": weights, "quick": bench.scale is QUICK}
    rows_of_table = [dataclasses.asdict(row) for row in rows]
    write_json(output, {**about, "rows": rows_of_table, "growth": dataclasses.asdict(grown)})


def measure_help(bench: Bench) -> list[Row]:
    """The slowest --help of all commands: seconds, not a ratio."""
    slowest = [
        max(bench.run(command, "--help", cache=bench.folder).seconds for command in COMMANDS)
        for _ in range(bench.scale.repetitions)
    ]
    return [Row("slowest --help", "(seconds)", "< 1", "< 1", slowest)]


def measure_inner_loops(bench: Bench) -> list[Row]:
    """Forward passes and features in both precisions, and the input pipeline against a plain loop."""
    size, many = min(bench.scale.sizes), bench.scale.many
    seconds: dict[str, list[float]] = {}
    for _ in range(bench.scale.repetitions):  # in turn: two processes, because each has threads of its own
        measured = [bench.run_kernel("features", size)[0]]
        measured.append({"before": bench.run_kernel("features_before", size)[0]["float32"]})
        for name, (value,) in [item for one in measured for item in one.items()]:
            seconds.setdefault(name, []).append(value)
    pipeline, _ = bench.run_kernel("pipeline", many, bench.scale.repetitions)
    exact, passes = seconds["float32"], seconds["passes, float32"]
    rows = [
        Row(f"features of {size} images", "the forward passes alone", "<= 1.15", "<= 1.15", divide(exact, passes)),
        Row("the same", BEFORE, ">= 1.1", ">= 1", divide(seconds["before"], exact)),
    ]
    if "bfloat16" in seconds:
        of_passes, of_features = (
            divide(seconds[f"{what}float32"], seconds[f"{what}bfloat16"]) for what in ("passes, ", "")
        )
        rows += [
            Row("forward passes on decoded pixels, bfloat16", "float32", ">= 4.3", ">= 2", of_passes),
            Row("features from files, --precision bfloat16", "float32", ">= 3.8", ">= 1.8", of_features),
        ]
    loop = divide(pipeline["plain loop"], pipeline["eval_pipeline"])
    return [*rows, Row(f"input pipeline, {many} images", "plain loop", ">= 1.7", ">= 1.7", loop)]


def measure_training(bench: Bench, weights: str) -> list[Row]:
    """Whole processes that train or search, against the tutorial's whole process."""
    images, scale = bench.export_images(), bench.scale
    search = ("--tune", "--trials", str(scale.trials), "--folds", str(scale.folds))
    fast = ("--precision", "bfloat16") if has_bfloat16() else ()
    ways = {
        "tutorial": lambda: bench.run("trainer.benchmark.tutorial", str(images), str(scale.epochs)),
        "float32": bench.train,
        "bfloat16": lambda: bench.train(*fast),
        "cached": lambda: bench.train(cache=bench.warm),
        "search": lambda: bench.train(*search, *fast),
    }
    if not fast:
        del ways["bfloat16"]
    runs: dict[str, list[Measurement]] = {name: [] for name in ways}
    for repetition in range(scale.repetitions):
        for name, way in ways.items():
            if name != "search" or repetition < scale.searches:
                runs[name].append(way())

    def row(work: str, against: str, goals: tuple[str, str], name: str, tutorials: int = 1) -> Row:
        slow = [tutorials * run.seconds for run in runs["tutorial"]][: len(runs[name])]
        ratios = divide(slow, [run.seconds for run in runs[name]])
        return Row(work, against, *goals, ratios, max(run.mebibytes for run in runs[name]))

    process = "the tutorial's process"
    rows = [row(f"python -m trainer, {weights} weights, cold, float32", process, (">= 6", ">= 5.5"), "float32")]
    if fast:
        rows.append(row("the same, --precision bfloat16", process, (">= 11", ">= 8"), "bfloat16"))
    fits, used = scale.trials * scale.folds, " ".join(fast) or "float32"
    return [
        *rows,
        row("the same, features cached, float32", process, (">= 18", ">= 15"), "cached"),
        row(
            f"--tune, {scale.trials} x {scale.folds}, cold, {used}",
            f"{fits} tutorial processes (one, multiplied)",
            (">= 230", ">= 190"),
            "search",
            fits,
        ),
    ]


def measure_disk(bench: Bench) -> Row:
    """Kilobytes that a forward pass of the training keeps on disk."""
    files = list((bench.warm / "covid_tfds" / "features").rglob("*.npz"))
    passes = sum(len(np.load(file)["images"]) for file in files)
    kilobytes = sum(file.stat().st_size for file in files) / 1000 / passes
    return Row("disk for a forward pass's features", "(kB)", "<= 25", "<= 25", [kilobytes])
