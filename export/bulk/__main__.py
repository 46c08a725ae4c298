"""`python -m export.bulk`: an exported model over many images, by Apache Beam.

    python -m export.bulk --model export/model.onnx --input 'films/**.png' --output predicted
    python -m export.bulk --model export/model.onnx --input covid_tfds/phantom --output predicted \
        --direct_num_workers 2 --direct_running_mode multi_processing

About 0.1 s an image on two cores after some seconds of start-up. Needs apache-beam, onnx, onnxruntime, numpy, pillow
and tqdm; pydicom for DICOM, tensorflow_datasets for TFDS datasets.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

from covid_tfds.common import cli
from covid_tfds.common.errors import INTENDED_USE

EPILOG = """\
Flags that are not listed here go to Beam: `--direct_num_workers 2 --direct_running_mode multi_processing` for two
processes on this machine, `--runner FlinkRunner --flink_master HOST:PORT` for a cluster; there --model, --input and
--output must be names that every worker can open.
DIR/predictions holds Parquet files with image, p_covid, decision, warnings and model_sha256, DIR/unreadable CSV files
with the images that could not be read, and why. The work is done in parts, each kept as soon as it is whole: stopped
anywhere and started again with the same flags, it goes on with the first part that is not.
Exit code: 0, 1 when some image could not be read, 2 when none could or the model or a flag is unusable, 130 or 143
when stopped."""
STOPPED = "Stopped. What is done stays in --output: the same command goes on."


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command` and EPILOG."""
    return cli.run_command(argv, parser().parse_known_args, _predict, lambda _: STOPPED)


def _predict(parsed: tuple[argparse.Namespace, list[str]]) -> int:
    options, flags = parsed
    # Beam warns of every cloud whose client is not installed, already while it is imported.
    logging.basicConfig(level=logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of TFDS's TensorFlow, in the workers, too
    # Imported late: Beam takes seconds, and --help needs none of it.
    from export.bulk import running

    return running.run(options, flags)


def parser() -> argparse.ArgumentParser:
    """The command line, without Beam's own flags."""
    result = argparse.ArgumentParser(
        prog="python -m export.bulk",
        description=f"Predict any number of radiographs with an exported model, by Apache Beam. {INTENDED_USE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--model", required=True, metavar="FILE", help="model.onnx or model.int8.onnx")
    result.add_argument(
        "--input",
        required=True,
        metavar="IMAGES",
        help="a folder, which is searched through; a quoted pattern, where ** crosses folders; or a prepared TFDS "
        "dataset such as covid_tfds/phantom",
    )
    result.add_argument("--output", required=True, metavar="DIR", help="folder for the results; one begun is gone on")
    result.add_argument("--data_dir", metavar="DIR", help="where prepared TFDS datasets live (default: TFDS's own)")
    result.add_argument(
        "--runner",
        default="FnApiRunner",
        metavar="NAME",
        help="Beam runner (default: %(default)s, Beam's own on this machine; DirectRunner first tries to download "
        "another)",
    )
    result.add_argument(
        "--images_per_part",
        type=_count,
        default=1000,
        metavar="N",
        help="images that are lost at most when the work is stopped; one Beam job each (default: %(default)s)",
    )
    result.add_argument("--batch_size", type=_count, default=8, metavar="N", help="(default: %(default)s)")
    result.add_argument(
        "--threads",
        type=_count,
        metavar="N",
        help="of ONNX Runtime in each worker (default: this machine's cores divided by --direct_num_workers)",
    )
    return result


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


if __name__ == "__main__":
    cli.end_at_once(STOPPED)
    sys.exit(main())
