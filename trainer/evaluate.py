"""`python -m trainer.evaluate RUN_DIR --config source_matched`: a finished run on another dataset.

    python -m trainer.evaluate runs/curated --config source_matched --manual_dir DIR
    python -m trainer.evaluate runs/curated --dataset my_hospital

Takes about 10 s and 0.1 s an image. It writes external/<name>/ into the run's folder, adds a section to the report and
prints internal against external figures. Nothing is trained, and no threshold is chosen anew.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.flags import from_namespace
from covid_tfds.examples import DatasetRequest, add_dataset_flags
from trainer.run_folder import file_names
from trainer.run_folder.results import Estimate, External, RunMetrics
from trainer.run_folder.run import load
from trainer.run_folder.typed_files import read_json_as

FIGURES = ("accuracy", "sensitivity", "specificity", "auroc", "pr_auc", "brier")
WIDTH = 24


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(
        argv,
        parser().parse_args,
        _evaluate,
        lambda _: "Stopped. The run is as it was; the same command starts the validation anew.",
    )


def _evaluate(wanted: argparse.Namespace) -> None:
    request = from_namespace(DatasetRequest, wanted)
    request.validate()
    run = load(wanted.run_dir)
    # Imported late: TensorFlow takes seconds, and --help or a wrong folder needs none of it.
    with logs.silenced():
        from trainer.validation import external

    folder = external.validate(run, request)
    print(side_by_side(run.metrics, read_json_as(External, folder / file_names.METRICS), folder.name))
    print(f"Written: {folder}\nReport to open: {run.path / file_names.REPORT}")


def parser() -> argparse.ArgumentParser:
    """The command line: a run folder and one dataset."""
    result = argparse.ArgumentParser(
        prog="python -m trainer.evaluate",
        description=f"Judge a finished run on another dataset. {INTENDED_USE}",
        allow_abbrev=False,
    )
    result.add_argument("run_dir", type=Path, help="run folder that `python -m trainer` made")
    add_dataset_flags(result, required=True)
    return result


def side_by_side(internal: RunMetrics, external: External, name: str) -> str:
    """A table of the run's own figures against those of the other dataset, with 95 % intervals."""
    validated = internal.cross_validation
    columns = {
        "frozen, cross-val." if validated.of else "cross-validation": validated,
        "internal test": internal.test,
        f"external: {name}": external.test,
    }
    table = [("", *columns)]
    table += [(figure, *(_cell(getattr(column, figure)) for column in columns.values())) for figure in FIGURES]
    table += [("images", *(column.n for column in columns.values()))]
    table += [("patients", *(column.patients or "unknown" for column in columns.values()))]
    lines = ["".join(f"{cell:<{WIDTH}}" for cell in row).rstrip() for row in table]
    if external.left_out:
        lines.append(f"Images left out because they or their patients are in the run's own data: {external.left_out}")
    return "\n".join(lines)


def _cell(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    low, high = estimate.ci95
    return f"{estimate.value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    sys.exit(main())
