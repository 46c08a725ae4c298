"""Audit a dataset: duplicates, leaks, labels, licences, and what tells the classes apart without the lungs.

    python -m covid_tfds.audit --config as_published      # exit code 1: something invalidates an evaluation
    python -m covid_tfds.audit --dataset my_hospital      # a folder with covid/ and one other class in it

50 images take 10 seconds on 2 cores, half of it for the start of TensorFlow, which a folder does without.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.flags import from_namespace
from covid_tfds.common.new_folder import clear, new_folder
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest, add_dataset_flags

ITEMS_PRINTED = 8


def parser() -> argparse.ArgumentParser:
    """The flags, named as those of `python -m trainer`."""
    result = argparse.ArgumentParser(
        prog="python -m covid_tfds.audit",
        description="Audit a dataset before believing a score on it: duplicates, patients on both sides, labels "
        "against findings, views, licences, and what tells the classes apart without the lungs. The exit code is 1 if "
        "something found invalidates an evaluation, 2 for what you can mend, else 0.",
        allow_abbrev=False,
    )
    add_dataset_flags(result)
    result.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="folder to make for audit.md, audit.json and pictures (default: audits/<config>-<time>); an existing one "
        "is not touched",
    )
    return result


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command`; 1 when an evaluation is invalid."""
    return cli.run_command(
        argv, parser().parse_args, _audit, lambda _: "Stopped: no audit is written. The same command begins anew."
    )


def _audit(asked: argparse.Namespace) -> int:
    # Imported late: they import pandas and SciPy, and --help needs neither.
    from covid_tfds.audit import pictures, report

    request = from_namespace(DatasetRequest, asked)
    request.validate()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    examples = load_examples(request)
    output = asked.output or Path("audits") / f"{request.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with new_folder(output) as folder:
        try:
            found = report.audit(examples)
            shown = pictures.save(examples, found.near_duplicates, folder)
            (folder / "audit.md").write_text(report.to_markdown(found, pictures=shown), encoding="utf-8")
            (folder / "audit.json").write_text(report.to_json(found), encoding="utf-8")
        except BaseException:
            clear(folder)  # no part of an audit is of use
            raise
    print(report.to_markdown(found, most_items=ITEMS_PRINTED))
    print(f"In full: {output / 'audit.md'} and audit.json")
    return 1 if found.invalid else 0


if __name__ == "__main__":
    sys.exit(main())
