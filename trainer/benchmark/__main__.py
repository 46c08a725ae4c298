"""Measure how long users wait, compared with the alternatives, in one run on one machine.

    python -m trainer.benchmark --manual_dir DIR --weights imagenet --output benchmark.json    # 35 minutes on 2 cores
    python -m trainer.benchmark --quick                                     # under 3 minutes: shows only that it works
    python -m trainer.benchmark --verdict --output verdict.json             # how often the verdict is right, 30 minutes

Prints the Markdown tables of the manual, and writes the plot of how cost grows beside the JSON file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from trainer import config
from trainer.benchmark.bench import FULL, QUICK, Bench


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _run, _describe_stop)


def _describe_stop(options: argparse.Namespace) -> str:
    return "Stopped. The same command continues." if options.verdict else "Stopped. Nothing is written."


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(prog="python -m trainer.benchmark", description=__doc__.split("\n\n")[0])
    result.add_argument("--quick", action="store_true", help="few images, one repetition: shows only that it works")
    result.add_argument(
        "--verdict",
        action="store_true",
        help="measure instead how often the shortcut verdict is right, on drawn data sets with a known shortcut",
    )
    result.add_argument(
        "--weights",
        default="random",
        help="backbone weights, as for `python -m trainer` (default: %(default)s)",
    )
    result.add_argument(
        "--manual_dir",
        metavar="DIR",
        help="folder with copies of the real `curated` images to measure on (default: drawn ones are used)",
    )
    result.add_argument(
        "--output", type=Path, default="benchmark.json", help="JSON file to write (default: %(default)s)"
    )
    return result


def _run(options: argparse.Namespace) -> None:
    output = options.output
    if options.verdict and options.manual_dir:
        raise UsageError("--manual_dir: --verdict draws its own images. Leave one of the two out.")
    config.validate(config.Config(data=DatasetRequest(config="phantom"), weights=options.weights))
    if output.exists():
        raise UsageError(f"--output {output} exists and is never overwritten: choose another name or remove it first.")
    if not os.access(output.parent, os.W_OK):
        raise UsageError(f"--output {output}: its folder can't be written. Choose another.")
    # Imported late: Matplotlib takes half a second, and --help needs none of it.
    if options.verdict:
        from trainer.benchmark.verdict_curves import measure_verdicts

        measure_verdicts(options.weights, output, options.quick)
        return
    from trainer.benchmark.suite import measure_all

    with tempfile.TemporaryDirectory() as folder:
        measure_all(Bench(Path(folder), QUICK if options.quick else FULL, options.weights, options.manual_dir), output)


if __name__ == "__main__":
    sys.exit(main())
