"""The whole export: run folder -> SavedModel, ONNX, int8, golden answers, proof of parity, page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covid_tfds.common.files import write_json
from covid_tfds.common.new_folder import clear, new_folder
from export import page
from export.graph import metadata, onnx_graph, quantize, saved_model
from export.graph.network import Network
from export.parity import check, golden, images
from export.parity.reference import Reference
from trainer.run_folder.run import Run, load

PARITY = "parity.json"
OWN_IMAGES = 100  # of the run's; more of the same kind prove nothing more


class ParityError(Exception):
    """The artefacts do not answer as the Keras model does."""


def export(run_dir: Path, output: Path, int8: bool) -> dict:
    """Export a run and return what parity.json says.

    Raises UsageError for what the user can mend, before anything is at `output`, and ParityError, with nothing at
    `output`, when an artefact differs from the model by more than its tolerance.
    """
    run = load(run_dir)
    calibration = quantize.calibration_rows(run) if int8 else []
    with new_folder(output) as folder:
        clear(folder)
        with _step("the run's own images"):
            pictures, left_out = _pictures(run)
        with _step("the trained model"):
            network = Network.load(run.model_path)
        with _step("SavedModel"):
            saved_model.write(network, folder / check.SAVED_MODEL)
        with _step("ONNX"):
            about = metadata.collect(run, network)
            onnx_graph.write(network, about, folder / check.FLOAT)
        if int8:
            with _step(f"int8, calibrated on {len(calibration)} training images"):
                quantize.write(folder / check.FLOAT, folder / check.INT8, images.own(run, calibration))
        with _step("golden answers"):
            reference = Reference(network)
            golden.write(folder / golden.FOLDER, reference, about["labels"])
        with _step(f"parity on {len(pictures)} images"):
            stages = check.check(reference, folder, pictures, run.config.precision)
        result = check.report(stages, pictures, left_out)
        write_json(folder / PARITY, result)
        for name, stage in stages.items():
            print(f"  {'ok' if stage.passed else 'FAILED':<6}  {name:<11}  {stage}")
        failed = [(name, stage) for name, stage in stages.items() if not stage.passed]
        if failed:
            name, stage = failed[0]
            raise ParityError(
                f"parity failed at stage '{name}', on {stage.where or 'nothing'}: {stage}. {stage.advice} Nothing was "
                f"exported; what was made and compared is in {folder}, see {PARITY}."
            )
        page.write(folder, run, about, result, network.map_shape)
    return result


def _pictures(run: Run) -> tuple[list[images.Picture], list[str]]:
    """What parity is checked on, and the run's images that are left out of it."""
    own = images.own(run, images.sample(run.predictions, OWN_IMAGES))
    turned = [picture.name for picture in own if picture.is_turned]
    return [picture for picture in own if picture.name not in turned] + images.phantoms(), turned


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"{name} ...", flush=True)
    start = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
