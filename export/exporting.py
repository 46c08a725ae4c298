"""Export a run: run folder -> SavedModel, ONNX, int8, golden answers, parity check, page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covid_tfds.common.files import to_json, write_json
from covid_tfds.common.new_folder import clear, new_folder
from export.file_names import GOLDEN, ONNX, ONNX_INT8, PARITY, SAVED_MODEL
from export.graph.metadata import collect_metadata, write_model_json
from export.graph.network import Network
from export.graph.onnx_graph import write_onnx
from export.graph.quantize import write_int8
from export.graph.saved_model import write_saved_model
from export.page import write_page
from export.parity.check import check_parity
from export.parity.drawn_images import draw_images
from export.parity.golden import write_golden
from export.parity.reference import Reference
from export.parity.report import ParityReport, find_failed, make_report
from export.parity.stages import Stages, list_tolerances
from export.run_images import choose_calibration_rows, read_run_images, sample_evenly
from export.runtime.model_info import ModelInfo
from export.web.assemble import WebRequest, write_web
from trainer.run_folder import file_names
from trainer.run_folder.run import load
from trainer.run_folder.typicality import load_reference

MAX_RUN_IMAGES = 100  # compared in the parity check; more images of the same kinds show nothing new


class ParityError(Exception):
    """The artefacts do not give the Keras model's answers."""


class Int8Error(ParityError):
    """The int8 model does not give the Keras model's answers; the export is complete without it."""


def export_run(
    run_dir: str | Path, output: str | Path, int8: bool, web: WebRequest | None = None, typicality: bool = True
) -> ParityReport:
    """Export a run.

    Args:
        run_dir: A finished run folder.
        output: Folder to make.
        int8: Whether to write the int8 model, too.
        web: What to write the page for the browser with; None for no page.
        typicality: Whether the artefacts measure how typical an image is, for which they hold features of training
            images.

    Raises:
        UsageError: For bad input.
        ParityError: If an artefact differs from the Keras model by more than its tolerance.
        Int8Error: If only the int8 model does: all else is at `output` then.

    After another error there is nothing at `output`.
    """
    run = load(run_dir)
    calibration = choose_calibration_rows(run) if int8 else []
    with new_folder(output) as folder:
        clear(folder)
        with _step("the run's own images"):
            compared = sample_evenly(run.predictions, MAX_RUN_IMAGES)
            own = read_run_images(run, [*compared, *calibration])
            images = own[: len(compared)] + draw_images()
        with _step("the trained model"):
            training_images = load_reference(run.path / file_names.REFERENCE) if typicality else None
            network = Network.load(run.model_path, training_images)
            info = collect_metadata(run, network)
        with _step("SavedModel"):
            write_saved_model(network, folder / SAVED_MODEL)
        with _step("ONNX"):
            write_onnx(network, info, folder / ONNX)
        if int8:
            with _step(f"int8, calibrated on {len(calibration)} training images"):
                encoded = [image.encoded for image in own[len(compared) :]]
                write_int8(folder / ONNX, info, encoded, folder / ONNX_INT8)
        _write_model_json(folder, info)
        calibrated_on = {row.image_id for row in calibration}
        with _step(f"parity on {len(images)} images"):
            precision = run.environment.precision.name if run.environment.precision else "float32"
            parity = check_parity(Reference(network), folder, images, info, precision, calibrated_on)
        report = make_report(parity.stages, images, calibrated_on)
        write_json(folder / PARITY, to_json(report))
        _require_parity(parity.stages, folder)
        missed = find_failed(parity.stages, int8=True)
        if missed:
            (folder / ONNX_INT8).unlink()
            _write_model_json(folder, info)
        write_golden(folder / GOLDEN, parity.drawn, info.labels, list_tolerances(folder))
        web_model = write_web(folder, web) if web else None
        n_train = sum(row.split == "train" for row in run.predictions)
        write_page(folder, info, report, network.map_shape, n_train, web_model)
    if missed:
        raise Int8Error(
            f"parity failed at stage '{missed.stage}', on {missed.where}: {missed}. {missed.advice} {ONNX_INT8} was "
            f"left out; the float export is complete: {output}"
        )
    return report


def _write_model_json(folder: Path, info: ModelInfo) -> None:
    write_model_json(folder, info, {name: it.probabilities for name, it in list_tolerances(folder).items()})


def _require_parity(stages: Stages, folder: Path) -> None:
    """Print every stage; raise ParityError for the first that failed, int8's own apart."""
    for name, stage in stages.items():
        print(f"  {'ok' if stage.passed else 'FAILED':<6}  {name:<14}  {stage}")
    if failed := find_failed(stages, int8=False):
        raise ParityError(
            f"parity failed at stage '{failed.stage}', on {failed.where or 'nothing'}: {failed}. {failed.advice} "
            f"Nothing was exported; what was made and compared is in {folder}, see {PARITY}."
        )


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"{name} ...", flush=True)
    start = time.perf_counter()
    yield
    print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
