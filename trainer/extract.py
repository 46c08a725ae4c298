"""`python -m trainer.extract`: the backbone features that a training will read, computed by Apache Beam beforehand.

    python -m trainer.extract --config phantom --num_examples 2000 --weights random
    python -m trainer.extract --dataset films --direct_num_workers 4 --direct_running_mode multi_processing

About 0.07 s an image and variant on two cores after 20 s of start-up; `python -m trainer` with the same flags then
computes none of them. What is there already is not computed again, so a stopped extraction goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.flags import add_flag, from_namespace
from covid_tfds.examples import BUILDER_CONFIGS, DatasetRequest, add_dataset_flags
from trainer import config

EPILOG = """\
Flags that are not listed here go to Beam: `--direct_num_workers 2 --direct_running_mode multi_processing` for two
processes on this machine, `--runner FlinkRunner --flink_master HOST:PORT` for a cluster. There every worker must see
--features, --data_dir and --dataset under the same path."""
STOPPED = "Stopped. What is computed is kept: the same command goes on."
FULL = "kermany_covid_full"  # too large to be trained on by accident, so not among the trainer's choices
OF_FEATURES = ("weights", "precision", "recipe", "seed")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_known_args, _extract, lambda _: STOPPED)


def _extract(parsed: tuple[argparse.Namespace, list[str]]) -> None:
    options, beam_flags = parsed
    # Beam warns of every cloud whose client is not installed, already while it is imported.
    logging.basicConfig(level=logging.ERROR)
    wanted = dataclasses.replace(from_namespace(config.Config, options), data=from_namespace(DatasetRequest, options))
    config.validate(wanted)
    # Imported late: TensorFlow and Beam take seconds, and --help needs neither.
    from trainer.features import extraction

    print(extraction.run(wanted, options.features, options.runner, beam_flags))


def parser() -> argparse.ArgumentParser:
    """The command line, without Beam's own flags: those of `python -m trainer` that features depend on."""
    result = argparse.ArgumentParser(
        prog="python -m trainer.extract",
        description=f"Compute backbone features for the trainer, by Apache Beam. {INTENDED_USE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_dataset_flags(result, (*BUILDER_CONFIGS, FULL))
    for field in dataclasses.fields(config.Config):
        if field.name in OF_FEATURES:
            add_flag(result, field)
    result.add_argument(
        "--features", type=Path, metavar="DIR", help="the cache (default: where the trainer looks, in ~/.cache)"
    )
    result.add_argument(
        "--runner", default="FnApiRunner", metavar="NAME", help="Beam runner (default: %(default)s, this machine)"
    )
    return result


if __name__ == "__main__":
    cli.end_at_once(STOPPED)
    sys.exit(main())
