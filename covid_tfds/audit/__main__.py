"""Audit a dataset: duplicates, leaks, labels, licences, and what separates the classes without the lungs.

    python -m covid_tfds.audit --config as_published      # exit code 1: a finding invalidates an evaluation
    python -m covid_tfds.audit --dataset my_hospital      # a folder with covid/ and one other class in it

50 images take 10 seconds on 2 cores, half of it for the start of TensorFlow, which a folder does without.
"""

import argparse
import sys
import time
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.files import write_json, write_text
from covid_tfds.common.flags import from_namespace
from covid_tfds.common.new_folder import clear, new_folder
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest, add_dataset_flags
from covid_tfds.layouts import describe_examples

ITEMS_PRINTED = 8


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line; flags are named as those of `python -m trainer`."""
    result = cli.Parser(
        prog="python -m covid_tfds.audit",
        description="Audit a dataset before a score on it is trusted: duplicates, patients on both sides, labels "
        "against findings, views, licences, and what separates the classes without the lungs. The exit code is 1 if a "
        "finding invalidates an evaluation, 2 if an input must be repaired first, else 0.",
    )
    add_dataset_flags(result)
    result.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="folder to make for audit.md, audit.json and images of near-duplicates (default: audits/<config>-<time>); "
        "an existing one is never overwritten",
    )
    return result


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command`; 1 when an evaluation is invalid."""
    return cli.run_command(
        argv,
        parser().parse_args,
        _audit,
        lambda _: "Stopped: no audit is written. The same command starts from the beginning.",
    )


def _audit(options: argparse.Namespace) -> int:
    # Imported late: they import pandas and SciPy, and --help needs neither.
    from covid_tfds.audit import pairs, report, text

    request = from_namespace(DatasetRequest, options)
    request.validate()
    examples = load_examples(request)
    output = options.output or Path("audits") / f"{request.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with new_folder(output) as folder:
        try:
            result = report.audit_examples(examples)
            drawn = pairs.draw_pairs(examples, result.near_duplicates, folder)
            write_text(folder / "audit.md", text.to_markdown(result, drawn=drawn))
            write_json(folder / "audit.json", result.to_json())
        except BaseException:
            clear(folder)  # no part of an audit is of use
            raise
    if request.dataset:
        print(describe_examples(examples), end="\n\n")
    print(text.to_markdown(result, most_items=ITEMS_PRINTED))
    print(f"Full report: {output / 'audit.md'} and audit.json")
    return 1 if result.invalid else 0


if __name__ == "__main__":
    sys.exit(main())
