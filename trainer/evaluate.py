"""`python -m trainer.evaluate RUN_DIR --config source_matched`: evaluate a finished run on another dataset.

    python -m trainer.evaluate runs/curated --config source_matched --manual_dir DIR
    python -m trainer.evaluate runs/curated --dataset my_hospital

Takes about 10 s and 0.1 s per image. It writes external/<name>/ into the run's folder, writes the report again, and
prints internal beside external metrics. Nothing is trained, and the threshold stays as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.cores import THREADS_HELP
from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.common.flags import from_namespace
from covid_tfds.examples import DatasetRequest, add_dataset_flags
from trainer.run_folder import file_names
from trainer.run_folder.details import ExternalValidation, load_details, save_external
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.results import External, RunMetrics
from trainer.run_folder.run import load

METRICS = ("accuracy", "sensitivity", "specificity", "auroc", "pr_auc", "brier")
DECIDED = ("accuracy", "sensitivity", "specificity")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(
        argv,
        parser().parse_args,
        _evaluate,
        lambda _: "Stopped. The run is as it was; the same command starts the validation again.",
    )


def _evaluate(wanted: argparse.Namespace) -> None:
    request = from_namespace(DatasetRequest, wanted)
    request.validate()
    run = load(wanted.run_dir)
    details = load_details(run.path)
    _require_writable(run.path)
    # Imported late: TensorFlow takes seconds, and --help or a wrong folder needs none of it.
    with logs.silenced():
        from covid_tfds import tf_data
        from trainer.report.writing import write_report
        from trainer.validation import external

    tf_data.limit_threads(wanted.threads)
    validation = external.validate_externally(run, request)
    folder = save_external(run, validation)
    others = {one.name: one for one in details.external} | {validation.name: validation}
    write_report(run, dataclasses.replace(details, external=tuple(others[name] for name in sorted(others))))
    print(tabulate_metrics(run.metrics, validation))
    print(f"Written: {folder}\nReport to open: {run.path / file_names.REPORT}")


def _require_writable(folder: Path) -> None:
    """Raise UsageError where nothing can be written into a run folder, before minutes of work are lost."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UsageError(
            f"{folder}: the result goes into the run folder, which can't be written ({error.strerror}). Copy it, and "
            "evaluate the copy."
        ) from error


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line: a run folder and one dataset."""
    result = cli.Parser(
        prog="python -m trainer.evaluate",
        description=f"Evaluate a finished run on another dataset. {INTENDED_USE}",
    )
    result.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="finished run folder of `python -m trainer`")
    add_dataset_flags(result, required=True)
    result.add_argument("--threads", type=cli.count, metavar="N", help=THREADS_HELP)
    return result


def tabulate_metrics(internal: RunMetrics, external: ExternalValidation) -> str:
    """Returns a table of the run's own metrics and those on the other dataset, with 95 % intervals."""
    validated = internal.cross_validation
    columns = {
        "frozen, cross-val." if validated.of else "cross-validation": validated,
        "internal test": internal.test,
        f"external: {external.name}": external.metrics.test,
    }
    declined = external.metrics.declined
    if declined.share.value and declined.answered:
        columns["without declined"] = declined.answered
    table: list[tuple] = [("", *columns)]
    table += [(metric, *(_format(getattr(column, metric)) for column in columns.values())) for metric in METRICS]
    for metric in DECIDED:
        table.append((f"{metric}, argmax", *(_format(getattr(one.argmax, metric)) for one in columns.values())))
    if len(external.metrics.test.classes) > 2:
        table += [("macro_auroc", *(_format(column.macro_auroc) for column in columns.values()))]
    table += [("images", *(column.n for column in columns.values()))]
    table += [("patients", *(column.patients or "unknown" for column in columns.values()))]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*table, strict=True)]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.append(
        f"Images too unlike the training images, which an exported model declines: {_format(declined.share)} of the "
        f"external ones (typicality at most {declined.declined_at:.3g})"
    )
    lines += _describe_classes(external.metrics)
    if left_out := external.metrics.left_out:
        near = f" (near-duplicates: {external.metrics.near_duplicates})" if external.metrics.near_duplicates else ""
        lines.append(f"Images left out because they or their patients are in the run's own data: {left_out}{near}")
    return "\n".join(lines)


def _describe_classes(external: External) -> list[str]:
    """Classes that were matched under another name, and classes that only one of the datasets has."""
    lines = [f"Class '{other}' stands for '{own}'." for other, own in external.class_of.items() if other != own]
    if external.missing_classes:
        lines.append(f"Classes of the run without images here: {', '.join(external.missing_classes)}")
    if external.unknown_classes:
        left_out = ", ".join(f"{name} ({count})" for name, count in external.unknown_classes.items())
        lines.append(f"Images left out because the run does not have their class: {left_out}")
    return lines


def _format(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    value, low, high = estimate.value_and_limits
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    sys.exit(main())
