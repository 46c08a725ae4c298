"""`python -m export.bulk`: an exported model over many images, in parts, on one machine or a Dask cluster.

    python -m export.bulk --model export/model.onnx --input 'images/**/*.png' --output predicted
    python -m export.bulk --model /shared/model.onnx --input /shared/images --output /shared/predicted \
        --scheduler tcp://HOST:8786

About 0.1 s an image on two cores after a second of start-up. Needs onnx, onnxruntime, numpy, pillow, pyarrow, fsspec,
filelock and tqdm; pydicom for DICOM, tensorflow_datasets for TFDS datasets, distributed for --scheduler.
"""

from __future__ import annotations

import argparse
import os
import sys

from covid_tfds.common import cli
from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.parts import add_scheduler_flags
from export.predict import add_engine_flags

EPILOG = """\
DIR/predictions holds Parquet files with image, p_<class> of each class, decision (at the operating point, or
"declined" for an image that is too unlike the training images), decision_argmax, typicality, distance, declined,
declined_because, warnings and model_sha256; DIR/unreadable holds CSV files with the images that could not be read, and
why; DIR/done holds a JSON file for each finished part. Stopped anywhere and started again with the same flags, the
command continues with the parts that are missing.
With --scheduler the parts are tasks of a Dask cluster (`dask scheduler`, `dask worker tcp://HOST:8786 --nthreads 1`),
where --threads is the number for each part, by default 1: a worker runs as many parts at once as it has threads.
There --model, --input and --output must be names that every worker can open: a shared folder, or a name such as
gs://bucket/images or s3://bucket/images.
Exit code: 0; 1 when some image could not be read or some part failed; 2 when no image could be read, or the model or a
flag can't be used; 130 or 143 when stopped."""
STOPPED = "Stopped. What is done stays in --output: the same command continues."


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code: see `cli.run_command` and EPILOG."""
    return cli.run_command(argv, parser().parse_args, _predict, lambda _: STOPPED)


def _predict(options: argparse.Namespace) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of TFDS's TensorFlow
    # Imported late: ONNX and Arrow take a second, and --help needs neither.
    from export.bulk import running

    return running.run(options)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    result = cli.Parser(
        prog="python -m export.bulk",
        description=f"Predict any number of radiographs with an exported model.\n{INTENDED_USE}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--model", required=True, metavar="FILE", help="model.onnx or model.int8.onnx")
    result.add_argument(
        "--input",
        required=True,
        metavar="IMAGES",
        help="a folder, searched with all folders below; a quoted pattern (** matches folders); or a prepared TFDS "
        "dataset such as covid_tfds/phantom",
    )
    result.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the results; a stopped one is continued"
    )
    result.add_argument("--data_dir", metavar="DIR", help="folder of the prepared TFDS datasets (default: TFDS's own)")
    add_scheduler_flags(result)
    result.add_argument(
        "--images_per_part",
        type=cli.count,
        default=1000,
        metavar="N",
        help="images in a part; a stop costs at most one part (default: %(default)s)",
    )
    result.add_argument("--answer_anyway", action="store_true", help="decide on images that are declined, too")
    result.add_argument(
        "--batch_size", type=cli.count, default=8, metavar="N", help="images in a forward pass (default: %(default)s)"
    )
    add_engine_flags(result)
    return result


if __name__ == "__main__":
    sys.exit(main())
