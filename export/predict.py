"""`python -m export.predict MODEL IMAGE...`: predict image files and folders, without TensorFlow.

    python -m export.predict export/model.onnx images/ image.dcm --csv predictions.csv --heatmap overlays/

A second for start-up, then about 0.1 s an image on two cores. Needs onnxruntime, numpy, pillow and tqdm, and pydicom
for DICOM.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from covid_tfds.common import cli
from covid_tfds.common.cores import THREADS_HELP
from covid_tfds.common.errors import INTENDED_USE, UsageError

if TYPE_CHECKING:
    from export.runtime.image_files import ImageFile

EPILOG = """\
Reads JPEG, PNG, WebP and BMP (grey, colour, palette, 1 to 16 bits, transparent parts over black, turned upright by
their EXIF orientation) and DICOM with one monochrome image. Folders are searched for them, with all folders below.
An image that is too unlike the training images is declined: its decision is "declined", which is an answer.
Exit code: 0; 1 when some image could not be read; 2 when no image could be read or the model can't be used; 130 or 143
when stopped: FILE.*.incomplete has the rows so far."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command` and EPILOG."""
    stopped = "Stopped. The same command starts from the beginning."
    return cli.run_command(argv, parser().parse_args, _predict_images, lambda _: stopped)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(
        prog="python -m export.predict",
        description=f"Predict radiographs with an exported model.\n{INTENDED_USE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("model", metavar="MODEL", help="model.onnx or model.int8.onnx of `python -m export`")
    result.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image files and folders")
    result.add_argument("--json", action="store_true", help="print one JSON object a line instead of text")
    result.add_argument("--csv", metavar="FILE", type=Path, help="write the predictions to a CSV file, too")
    result.add_argument(
        "--answer_anyway",
        action="store_true",
        help="decide on images that are declined, too: those that are too unlike the training images",
    )
    result.add_argument(
        "--heatmap", metavar="DIR", type=Path, help="write each image with its heat map into DIR, as PNG"
    )
    result.add_argument(
        "--save_png", metavar="DIR", type=Path, help="write each image as the model takes it into DIR, as 8-bit PNG"
    )
    add_engine_flags(result)
    return result


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add --provider and --threads, which `python -m export.bulk` has, too."""
    parser.add_argument(
        "--provider",
        default="best",
        metavar="NAME",
        help="execution provider of ONNX Runtime: cpu, or another one that is installed, such as openvino or cuda "
        "(default: the best of them that gives the right answers to the golden images beside the model)",
    )
    parser.add_argument("--threads", type=cli.count, metavar="N", help=THREADS_HELP)


def _predict_images(options: argparse.Namespace) -> int:
    # Imported late, so that --help needs no runtime.
    from covid_tfds.common.cores import limit_threads
    from covid_tfds.common.files import refuse_overwriting
    from covid_tfds.common.names import printable
    from export.runtime.image_files import (
        HEATMAP_SUFFIX,
        PIXELS_SUFFIX,
        describe_passed_over,
        find_images,
        name_outputs,
    )
    from export.runtime.model_info import DECLINED
    from export.runtime.prediction_rows import describe_limits, make_record, predict_row, write_csv_rows
    from export.runtime.predictor import Predictor

    limit_threads(options.threads)
    predictor = Predictor(options.model, options.answer_anyway, options.provider)
    info = predictor.info
    for notice in predictor.notices:
        print(notice, file=sys.stderr)
    images = find_images(options.images)
    if passed_over := describe_passed_over(options.images):
        print(passed_over, file=sys.stderr)
    inputs = [Path(options.model), *(image.path for image in images)]
    if options.csv:
        refuse_overwriting("--csv", options.csv, inputs)
    none = [None] * len(images)
    heatmaps = name_outputs(images, options.heatmap, HEATMAP_SUFFIX) if options.heatmap else none
    pngs = name_outputs(images, options.save_png, PIXELS_SUFFIX) if options.save_png else none
    names = [*(f"p_{label}" for label in info.labels), "decision", "decision_argmax"]
    widths = [max(len(name), 6) for name in names[:-2]] + [
        max(map(len, [*info.labels, name, DECLINED])) for name in names[-2:]
    ]
    taken = {path.resolve() for path in inputs}
    if same := [output for output in (*heatmaps, *pngs) if output and output.resolve() in taken]:
        raise UsageError(f"{same[0]} is an input of this command, and would be overwritten: choose another folder.")

    def print_cells(cells: list[str], image: str) -> None:
        print("  ".join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)), image]), flush=True)

    if not options.json:
        print_cells(names, "image")
    failed = 0
    with write_csv_rows(options.csv, info) if options.csv else contextlib.nullcontext() as write:
        progress, apart = _show_progress(images)
        for image, heatmap, png in zip(progress, heatmaps, pngs, strict=True):
            row = predict_row(predictor, image, heatmap, png)
            with apart():
                if write:
                    write(row)
                if options.json:
                    print(json.dumps(make_record(row, info), ensure_ascii=False), flush=True)
                elif prediction := row.prediction:
                    because = [f"declined, {prediction.declined_because}"] if prediction.declined else []
                    warnings = "; ".join([*because, *prediction.warnings])
                    p = [f"{value:.4f}" for value in prediction.probabilities.values()]
                    print_cells(
                        [*p, prediction.decision, prediction.decision_argmax],
                        printable(row.image) + (f"  ({warnings})" if warnings else ""),
                    )
                if row.error:
                    failed += 1
                    print(f"error: {printable(row.image)}: {row.error}", file=sys.stderr, flush=True)
    if not options.json:
        print(describe_limits(info))
    return 0 if not failed else 2 if failed == len(images) else 1


def _show_progress(images: list[ImageFile]) -> tuple[Iterable[ImageFile], Callable[[], AbstractContextManager]]:
    """Returns the images, and a context in which a line can be printed beside the bar.

    There is no bar without a terminal, for a single image, or where tqdm is missing.
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return images, contextlib.nullcontext
    return tqdm(images, unit="image", disable=None if len(images) > 1 else True), tqdm.external_write_mode


if __name__ == "__main__":
    sys.exit(main())
