"""The Beam pipeline of one part: read and resize in parallel, RunInference in batches, Parquet and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference

from covid_tfds.common.files import format_csv_row
from covid_tfds.imaging.limits import MAX_BYTES, ImageError
from covid_tfds.imaging.reader import DecodedImage, decode_image, read_image
from export.bulk import model
from export.runtime.model_file import open_session
from export.runtime.model_info import ModelInfo
from export.runtime.plausibility import find_warnings

UNREADABLE = "unreadable"
SCHEMA = pyarrow.schema(
    [
        ("image", pyarrow.string()),
        ("p_covid", pyarrow.float64()),
        ("decision", pyarrow.string()),
        ("warnings", pyarrow.string()),
        ("model_sha256", pyarrow.string()),
    ]
)


@dataclass(frozen=True)
class Judge:
    """What makes a row of an image's probabilities, float32 [2]."""

    info: ModelInfo
    model_sha256: str

    def row(self, predicted: tuple[tuple[str, str], PredictionResult]) -> dict:
        """A row of the Parquet files for ((name, warnings), what RunInference gave)."""
        (name, warnings), result = predicted
        p_covid = float(result.inference[0])
        values = (name, p_covid, self.info.decide(p_covid), warnings, self.model_sha256)
        return dict(zip(SCHEMA.names, values, strict=True))


class Prepare(beam.DoFn):
    """(name, encoded image or None) -> ((name, warnings), resized float32 [side, side, 3]).

    What can't be read goes to the output UNREADABLE as (name, reason).
    """

    def __init__(self, resize: bytes):
        """resize: the model's half in front of its resized image."""
        self._resize = resize

    def setup(self) -> None:
        """Load the half, once a worker."""
        self._session = open_session(self._resize, 1)

    def process(self, element: tuple[str, bytes | None]) -> Iterator:
        """Read and resize one image."""
        name, encoded = element
        try:
            found = _open(name) if encoded is None else decode_image(encoded, "")
        except ImageError as error:
            yield beam.pvalue.TaggedOutput(UNREADABLE, (name, str(error)))
            return
        warnings = "; ".join([*found.notes, *find_warnings(found.pixels)])
        (resized,) = self._session.run([model.RESIZED], {model.IMAGE: found.pixels[None]})
        yield (name, warnings), np.asarray(resized[0])


def build(
    pipeline: beam.Pipeline,
    source: beam.PTransform,
    resize: bytes,
    handler: model.Handler,
    judge: Judge,
    predictions: str,
    unreadable: str,
) -> None:
    """Put the steps of one part into a pipeline. predictions, unreadable: names of the files to write."""
    prepared = (
        pipeline
        | "images" >> source
        # Between the names, or the encoded images, and the pixels, which are too large to move from worker to worker.
        | "spread" >> beam.Reshuffle()
        | "read and resize" >> beam.ParDo(Prepare(resize)).with_outputs(UNREADABLE, main="resized")
    )
    _ = (
        prepared.resized
        | "predict" >> RunInference(KeyedModelHandler(handler))
        | "decide" >> beam.Map(judge.row)
        | "write" >> beam.io.WriteToParquet(predictions, SCHEMA, shard_name_template="")
    )
    _ = (
        prepared[UNREADABLE]
        | "as CSV" >> beam.Map(_csv_line)
        | "dead letters"
        >> beam.io.WriteToText(unreadable, shard_name_template="", header="image,error", skip_if_empty=True)
    )


def _open(name: str) -> DecodedImage:
    if "://" not in name:
        return read_image(name)
    from apache_beam.io.filesystems import FileSystems

    try:
        with FileSystems.open(name, compression_type="uncompressed") as file:
            encoded = file.read(MAX_BYTES + 1)
    except Exception as error:  # each of Beam's file systems raises kinds of its own
        raise ImageError(f"can't be opened: {error}") from error
    if len(encoded) > MAX_BYTES:
        raise ImageError(f"expected at most {MAX_BYTES >> 20} MB, got more")
    return decode_image(encoded, name)


def _csv_line(letter: tuple[str, str]) -> str:
    return format_csv_row(("image", "error"), {"image": letter[0], "error": letter[1]}).removesuffix("\n")
