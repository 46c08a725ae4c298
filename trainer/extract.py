"""`python -m trainer.extract`: the backbone features that a training or a search will read, computed beforehand.

    python -m trainer.extract --config phantom --num_examples 2000 --weights random
    python -m trainer.extract --dataset /shared/images --features /shared/cache --scheduler tcp://HOST:8786

About 0.07 s an image and variant on two cores after 10 s of start-up; `python -m trainer` with the same flags then
computes none of them. What is there already is not computed again, so a stopped extraction continues.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.flags import add_flags, from_namespace
from covid_tfds.common.parts import add_scheduler_flags
from covid_tfds.examples import DatasetRequest, add_dataset_flags
from trainer import config

EPILOG = """\
With --scheduler parts of 32 images are tasks of a Dask cluster (`dask scheduler`,
`dask worker tcp://HOST:8786 --nthreads 1`), where --threads is the number for each worker, by default 1. There
--features, --data_dir, --dataset and a --weights file must be the same folders for every worker."""
STOPPED = "Stopped. What is computed is kept: the same command continues."
OF_FEATURES = ("weights", "precision", "threads", "device", "recipe", "seed", "tune")


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code, see `cli.run_command`."""
    return cli.run_command(argv, parser().parse_args, _extract, lambda _: STOPPED)


def _extract(options: argparse.Namespace) -> None:
    wanted = dataclasses.replace(from_namespace(config.Config, options), data=from_namespace(DatasetRequest, options))
    config.validate(wanted)
    # Imported late: TensorFlow takes seconds, and --help needs none of it.
    with logs.silenced():
        from trainer.features import extraction

    print(extraction.extract_features(wanted, options.features, options.scheduler, options.patience))


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line: the flags of `python -m trainer` that features depend on."""
    result = cli.Parser(
        prog="python -m trainer.extract",
        description=f"Compute the backbone features that a training reads.\n{INTENDED_USE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_dataset_flags(result)
    add_flags(result, config.Config, OF_FEATURES)
    result.add_argument(
        "--features", type=Path, metavar="DIR", help="feature cache (default: the trainer's, in ~/.cache)"
    )
    add_scheduler_flags(result)
    return result


if __name__ == "__main__":
    sys.exit(main())
