"""The benchmark's rows on exported models, against Keras and each other."""

from __future__ import annotations

from pathlib import Path

from trainer.benchmark.bench import Bench
from trainer.benchmark.processes import Measurement
from trainer.benchmark.table import Row, divide
from trainer.run_folder import file_names


def measure_prediction(bench: Bench, run_folder: Path) -> list[Row]:
    """Returns the rows of a run folder with its export.

    They are per image, so that start-up counts only in the first and the last one. `export.predict` takes as long for
    each image, so its time for as many images as `export.bulk` has is calculated.
    """
    onnx, int8 = (str(run_folder / "export" / name) for name in ("model.onnx", "model.int8.onnx"))
    ways = {
        "keras": ("trainer.benchmark.keras_predict", str(run_folder / file_names.MODEL)),
        "onnx": ("export.predict", "--provider", "cpu", onnx),
        "int8": ("export.predict", int8),
    }
    first: dict[str, list[float]] = {name: [] for name in ways}
    rest: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, float] = {}
    bulk: list[Measurement] = []
    cache = bench.folder / "proofs"
    for _ in range(bench.scale.repetitions):
        for name, way in ways.items():
            one = bench.run(*way, str(bench.folder / "many" / "0000.png"), cache=cache)
            many = bench.run(*way, str(bench.folder / "many"), cache=cache)
            first[name].append(one.seconds)
            rest[name].append(many.seconds - one.seconds)
            memory[name] = many.mebibytes
        bulk.append(
            bench.run(
                *("export.bulk", "--model", int8, "--input", str(bench.folder / "bulk")),
                *("--output", str(bench.new_output())),
                cache=cache,
            )
        )
    count, most = bench.scale.many, bench.scale.bulk
    predicted = [start + others * most / count for start, others in zip(first["onnx"], rest["onnx"], strict=True)]
    start_up = divide(first["keras"], first["onnx"])
    of_bulk = divide(predicted, (run.seconds for run in bulk))
    images = f"{count} images"
    return [
        Row("first answer of export.predict", "model.keras in TensorFlow", ">= 9", ">= 9", start_up),
        Row(
            f"{images}, float", "Keras predict", ">= 1.2", ">= 1.2", divide(rest["keras"], rest["onnx"]), memory["onnx"]
        ),
        Row(
            f"{images}, int8, best installed provider",
            "float, CPU provider",
            ">= 5",
            ">= 3",
            divide(rest["onnx"], rest["int8"]),
            memory["int8"],
        ),
        Row(
            f"{most:,} images, export.bulk, int8",
            f"export.predict, float ({count}, multiplied)",
            ">= 5",
            ">= 3",
            of_bulk,
            max(run.mebibytes for run in bulk),
        ),
    ]
