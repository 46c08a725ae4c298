"""`python -m export.predict MODEL IMAGE...`: predictions for files and folders, without TensorFlow.

    python -m export.predict export/model.onnx films/ film.dcm --csv predictions.csv --heatmap pictures/

A second for start-up, then about 0.1 s an image on two cores. Needs onnxruntime, numpy, pillow and tqdm, and pydicom
for DICOM.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from covid_tfds.common import cli
from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import SUFFIXES, is_dicom, read_image

COLUMNS = ("image", "p_covid", "decision", "warnings", "error")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
PICTURE = ".heatmap.png"
FORMATS = """\
Read are JPEG, PNG, WebP and BMP (grey, colour, palette, 1 to 16 bits, transparent parts seen over black, the EXIF
orientation respected) and DICOM with one monochrome image. Folders are searched through for them.
Exit code: 0, 1 when some image could not be read, 2 when none could or the model is unusable, 130 or 143 when stopped:
then FILE.*.incomplete has the rows so far."""


class Image(NamedTuple):
    """One image asked for. place: where it lies within the folder given; error: why it can't even be tried."""

    path: Path
    place: Path
    error: str | None = None


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command` and FORMATS."""
    return cli.run_command(
        argv, parser().parse_args, _predict_images, lambda _: "Stopped. The same command begins anew."
    )


def _predict_images(options: argparse.Namespace) -> int:
    # Imported late, so that --help needs no runtime.
    from export.runtime.predictor import Predictor

    return predict_all(Predictor(options.model), options)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m export.predict",
        description=f"Predict radiographs with an exported model. {INTENDED_USE}",
        epilog=FORMATS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("model", metavar="MODEL", help="model.onnx or model.int8.onnx of `python -m export`")
    result.add_argument("images", metavar="IMAGE", nargs="+", help="image files and folders")
    result.add_argument("--json", action="store_true", help="print one JSON object a line instead of text")
    result.add_argument("--csv", metavar="FILE", help="write the predictions to a CSV file, too")
    result.add_argument("--heatmap", metavar="DIR", help="write each image under its heat map as a PNG into DIR")
    return result


def predict_all(predictor, options: argparse.Namespace) -> int:
    """Predict every image, print and write what comes out, and give the exit code."""
    from tqdm import tqdm

    images = list(_images(options.images))
    targets = _targets(images, Path(options.heatmap)) if options.heatmap else [None] * len(images)
    failed = 0
    with _csv(options.csv) as write:
        if not options.json:
            print(f"{'p_covid':>8}  {'decision':<{_width(predictor)}}  image")
        # Nothing of a bar where nobody watches, or where there is nothing to wait for.
        work = tqdm(images, unit="image", disable=None if len(images) > 1 else True)
        for image, target in zip(work, targets, strict=True):
            row = _predict(predictor, image, target)
            failed += "error" in row
            with tqdm.external_write_mode():
                write(row)
                _show(row, predictor, options.json)
    return 0 if not failed else 2 if failed == len(images) else 1


def _images(given: list[str]) -> Iterator[Image]:
    """The images that the arguments name: files as they are, folders searched through."""
    for path in map(Path, given):
        if not path.is_dir():
            yield Image(path, Path(path.name))
            continue
        found = [file for file in sorted(path.rglob("*")) if looks_like_image(file)]
        if not found:
            yield Image(path, Path(path.name), f"no images in this folder: looked for {', '.join(SUFFIXES)} and DICOM")
        yield from (Image(file, file.relative_to(path)) for file in found)


def looks_like_image(file: Path) -> bool:
    """Whether a folder's file is one to predict: by its suffix or, without one, by starting as DICOM does."""
    if file.name.startswith(".") or file.name.endswith(PICTURE) or file.name == "DICOMDIR" or not file.is_file():
        return False
    if file.suffix:
        return file.suffix.lower() in SUFFIXES
    # Scanners and archives name DICOM files without a suffix.
    with contextlib.suppress(OSError), file.open("rb") as opened:
        return is_dicom(opened.read(132))
    return False


def _targets(images: list[Image], folder: Path) -> list[Path]:
    """A picture file of its own for each image, in folders as the images are."""
    taken: dict[Path, None] = {}
    for image in images:
        path = folder / image.place.with_name(image.place.name + PICTURE)
        number = 2
        while path in taken:
            path = folder / image.place.with_name(f"{image.place.name}-{number}{PICTURE}")
            number += 1
        taken[path] = None
    return list(taken)


def _predict(predictor, image: Image, target: Path | None) -> dict:
    if image.error:
        return {"image": str(image.path), "error": image.error}
    try:
        picture = read_image(image.path)
    except ImageError as error:
        return {"image": str(image.path), "error": str(error)}
    prediction = predictor.predict_picture(picture)
    row = {"image": str(image.path), "p_covid": prediction.p_covid, "decision": prediction.decision}
    if target is not None:
        _draw(picture, prediction, predictor, image.path.name, target)
        row["heatmap"] = str(target)
    return row | {"warnings": prediction.warnings}


def _draw(picture, prediction, predictor, name: str, target: Path) -> None:
    from covid_tfds.imaging.overlay import overlay

    title = f"{name}: p_covid {prediction.p_covid:.4f}, {prediction.decision} at threshold {predictor.threshold:.3g}"
    page = overlay(picture.pixels, prediction.heatmap, predictor.metadata["heatmap_region"], title)
    with _written(target, "--heatmap") as temporary:
        try:
            page.save(temporary, "PNG")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _written(path: Path, flag: str) -> Iterator[Path]:
    """A file beside `path` that takes its name when the block ends well; raises UsageError when it can't be written."""
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(f"{target.name}.{os.getpid()}.incomplete")  # its own, where two write the same
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{flag} {path} can't be written: {error.strerror or error}") from error


@contextlib.contextmanager
def _csv(path: str | None) -> Iterator[Callable[[dict], None]]:
    """A function that writes a row to the CSV file, if wanted. Stopped halfway, FILE.*.incomplete has the rows."""
    if path is None:
        yield lambda row: None
        return
    # Flushed line by line, so that nothing predicted is lost when the rest is.
    with (
        _written(Path(path), "--csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8", buffering=1) as file,
    ):
        options = {"extrasaction": "ignore", "lineterminator": "\n"}
        plain, quoted = (
            csv.DictWriter(file, COLUMNS, quoting=q, **options) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        plain.writeheader()

        def write(row: dict) -> None:
            row = without_formulas(row | {"warnings": "; ".join(row.get("warnings", []))})
            # Python quotes a carriage return only where it ends lines; unquoted, it would begin a new row.
            (quoted if any("\r" in str(value) for value in row.values()) else plain).writerow(row)

        yield write


def without_formulas(row: dict) -> dict:
    """The row with an apostrophe before each text that a spreadsheet would take for a formula, as OWASP advises.

    A text that begins with an apostrophe gets one, too, so that taking one away again gives what it was.
    """
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
        for name, value in row.items()
    }


def _show(row: dict, predictor, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row, ensure_ascii=False), flush=True)
    elif "error" not in row:
        warned = f"  ({'; '.join(row['warnings'])})" if row["warnings"] else ""
        print(f"{row['p_covid']:8.4f}  {row['decision']:<{_width(predictor)}}  {row['image']}{warned}", flush=True)
    if "error" in row:
        print(f"error: {row['image']}: {row['error']}", file=sys.stderr, flush=True)


def _width(predictor) -> int:
    return max(len("decision"), *map(len, predictor.labels))


if __name__ == "__main__":
    sys.exit(main())
