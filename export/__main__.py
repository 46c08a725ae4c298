"""`python -m export`: turn a run folder into a SavedModel and an ONNX model, compared with the trained model."""

import argparse
import sys
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import INTENDED_USE
from export.file_names import PAGE


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: as `cli.run_command` says, and 1 when parity fails."""
    return cli.run_command(
        argv,
        parser().parse_args,
        _export,
        lambda options: f"Stopped: nothing is at {_output(options)}. The same command starts from the beginning.",
    )


def _export(options: argparse.Namespace) -> int:
    # Imported late: TensorFlow takes seconds, and --help needs none of it.
    with logs.silenced():
        from export import exporting

    output = _output(options)
    try:
        exporting.export_run(options.run_dir, output, options.int8)
    except exporting.ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Exported: {output}\nPage to read first: {output / PAGE}")
    return 0


def _output(options: argparse.Namespace) -> Path:
    return options.output or options.run_dir / "export"


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = argparse.ArgumentParser(
        prog="python -m export",
        description="Turn a run folder into a SavedModel and an ONNX model, and check them against the trained "
        f"model. {INTENDED_USE}",
        allow_abbrev=False,
    )
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="finished run folder of `python -m trainer`")
    result.add_argument("--int8", action="store_true", help="make model.int8.onnx, too: a quarter of the size, faster")
    result.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to make (default: RUN_DIR/export); an existing one is never overwritten",
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
