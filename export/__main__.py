"""`python -m export`: turn a run folder into a SavedModel and an ONNX model, compared with the trained model."""

import argparse
import sys
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.cores import THREADS_HELP
from covid_tfds.common.errors import INTENDED_USE, UsageError
from export.file_names import PAGE, WEB
from export.web.assemble import MODELS, WebRequest
from export.web.runtime_files import get_runtime


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: as `cli.run_command` says, and 1 when parity fails."""
    return cli.run_command(
        argv,
        parser().parse_args,
        _export,
        lambda options: f"Stopped: nothing is at {_output(options)}. The same command starts from the beginning.",
    )


def _export(options: argparse.Namespace) -> int:
    web = _request_web(options)
    # Imported late: TensorFlow takes seconds, and --help needs none of it.
    with logs.silenced():
        from covid_tfds import tf_data
        from export import exporting

    tf_data.limit_threads(options.threads)
    output = _output(options)
    try:
        exporting.export_run(options.run_dir, output, options.int8, web, not options.no_typicality)
    except exporting.ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Exported: {output}\nPage to read first: {output / PAGE}")
    if web:
        print(f"In the browser: python -m export.serve {output / WEB}")
    return 0


def _request_web(options: argparse.Namespace) -> WebRequest | None:
    """Returns what web/ is made of, fetched before the work of minutes begins; None without --web."""
    if not options.web:
        if options.web_model or options.web_runtime:
            raise UsageError("--web_model and --web_runtime apply to --web only: add --web, or leave them out.")
        return None
    if options.web_model == "int8" and not options.int8:
        raise UsageError("--web_model int8 needs the 8-bit model: add --int8, or leave out --web_model.")
    return WebRequest(get_runtime(options.web_runtime), options.web_model)


def _output(options: argparse.Namespace) -> Path:
    return options.output or options.run_dir / "export"


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(
        prog="python -m export",
        description="Turn a run folder into a SavedModel and an ONNX model, and check them against the trained "
        f"model. {INTENDED_USE}",
    )
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="finished run folder of `python -m trainer`")
    result.add_argument("--int8", action="store_true", help="make model.int8.onnx, too: a quarter of the size, faster")
    result.add_argument("--web", action="store_true", help="make web/, too: a page that runs the model in the browser")
    result.add_argument("--web_model", choices=MODELS, help="model of the page (default: int8 with --int8, else float)")
    result.add_argument(
        "--web_runtime",
        type=Path,
        metavar="DIR",
        help="unpacked copy of ONNX Runtime Web for the page (default: fetched with npm)",
    )
    result.add_argument(
        "--no_typicality",
        action="store_true",
        help="leave out the features of training images, for data that may not be passed on: the export then declines "
        "no image, however unlike them it is",
    )
    result.add_argument("--threads", type=cli.count, metavar="N", help=THREADS_HELP)
    result.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to make (default: RUN_DIR/export); an existing one is never overwritten",
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
