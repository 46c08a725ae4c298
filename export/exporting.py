"""Export a run: run folder -> SavedModel, ONNX, int8, golden answers, parity check, page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covid_tfds.common.files import to_json, write_json
from covid_tfds.common.new_folder import clear, new_folder
from export.file_names import GOLDEN, ONNX, ONNX_INT8, PARITY, SAVED_MODEL
from export.graph.metadata import collect_metadata
from export.graph.network import Network
from export.graph.onnx_graph import write_onnx
from export.graph.quantize import write_int8
from export.graph.saved_model import write_saved_model
from export.page import write_page
from export.parity.check import ParityReport, check_parity, make_report
from export.parity.drawn_images import draw_images
from export.parity.golden import write_golden
from export.parity.reference import Reference
from export.parity.stages import Stages
from export.run_images import choose_calibration_rows, leave_out_turned, read_run_images, sample_evenly
from trainer.run_folder.run import load

MAX_RUN_IMAGES = 100  # compared in the parity check; more images of the same kinds show nothing new


class ParityError(Exception):
    """The artefacts do not give the Keras model's answers."""


def export_run(run_dir: Path, output: Path, int8: bool) -> ParityReport:
    """Export a run.

    Args:
        run_dir: A finished run folder.
        output: Folder to make.
        int8: Whether to write the int8 model, too.

    Raises:
        UsageError: For bad input.
        ParityError: If an artefact differs from the Keras model by more than its tolerance.

    After an error there is nothing at `output`.
    """
    run = load(run_dir)
    calibration = choose_calibration_rows(run) if int8 else []
    with new_folder(output) as folder:
        clear(folder)
        with _step("the run's own images"):
            compared = sample_evenly(run.predictions, MAX_RUN_IMAGES)
            own = read_run_images(run, [*compared, *calibration])
            upright, turned = leave_out_turned(own[: len(compared)])
            images = upright + draw_images()
        with _step("the trained model"):
            network = Network.load(run.model_path)
            info = collect_metadata(run, network)
        with _step("SavedModel"):
            write_saved_model(network, folder / SAVED_MODEL)
        with _step("ONNX"):
            write_onnx(network, info, folder / ONNX)
        if int8:
            with _step(f"int8, calibrated on {len(calibration)} training images"):
                encoded = [image.encoded for image in own[len(compared) :]]
                write_int8(folder / ONNX, info, encoded, folder / ONNX_INT8)
        with _step("golden answers"):
            reference = Reference(network)
            cases = write_golden(folder / GOLDEN, reference, info.labels)
        with _step(f"parity on {len(images)} images"):
            stages = check_parity(reference, folder, images, run.config.precision)
        report = make_report(stages, images, turned)
        write_json(folder / PARITY, to_json(report))
        _require_parity(stages, folder)
        n_train = sum(row.split == "train" for row in run.predictions)
        write_page(folder, info, report, cases, network.map_shape, n_train)
    return report


def _require_parity(stages: Stages, folder: Path) -> None:
    """Print every stage; raise ParityError for the first that failed."""
    for name, stage in stages.items():
        print(f"  {'ok' if stage.passed else 'FAILED':<6}  {name:<11}  {stage}")
    for name, stage in stages.items():
        if not stage.passed:
            raise ParityError(
                f"parity failed at stage '{name}', on {stage.where or 'nothing'}: {stage}. {stage.advice} Nothing was "
                f"exported; what was made and compared is in {folder}, see {PARITY}."
            )


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"{name} ...", flush=True)
    start = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
