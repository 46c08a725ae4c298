"""Predict one part: read and resize, forward passes in batches, one Parquet file, one CSV file of unreadable images."""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow
import pyarrow.parquet

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import format_csv_row
from covid_tfds.common.in_order import map_in_order
from covid_tfds.common.names import printable
from covid_tfds.common.parts import this_worker
from covid_tfds.imaging.limits import ImageError
from export.bulk.inputs import DatasetPart, FilePart, read
from export.bulk.model import BulkModel, load_model
from export.bulk.output import DONE, PREDICTIONS, REQUEST, UNREADABLE, Output
from export.runtime.model_file import ModelError
from export.runtime.model_info import ModelInfo
from export.runtime.plausibility import find_warnings
from export.runtime.prediction_rows import PredictionRow, list_columns, make_record

COLUMNS = ("image", "error")  # of the images that can't be read
READERS = 2  # threads that decode and resize beside the forward pass


@dataclass(frozen=True)
class DonePart:
    """What is kept of a finished part, in done/<number>.json.

    Attributes:
        images: Images of the part.
        unreadable: How many of them could not be read.
        declined: How many of them are too unlike the training images.
        seconds: Wall time.
        worker: Host and process id that did it.
    """

    images: int
    unreadable: int
    declined: int
    seconds: float
    worker: str


@dataclass(frozen=True)
class PredictPart:
    """Predicts one part when called; picklable, so that a Dask worker can do it.

    Attributes:
        name: Of the part's files, "00000-of-00003".
        images: Which images.
        model: Name of the model file.
        request: What the output folder's bulk.json says: a worker that reads another one is refused.
        output: The output folder.
        batch_size: Images in a forward pass.
        threads: Of ONNX Runtime.
        provider: Execution provider, as `load_model` takes it.
    """

    name: str
    images: FilePart | DatasetPart
    model: str
    request: dict
    output: Output
    batch_size: int
    threads: int
    provider: str

    def __call__(self) -> dict:
        """Predicts the images, writes the part's files, its done file last, and returns the done file's content.

        Raises:
            UsageError: If this process finds another model or output folder than the command does.
        """
        start = time.perf_counter()
        model = load_model(self.model, self.threads, self.provider)
        if model.sha256 != self.request["model"]:
            raise ModelError(f"{self.model} is another model on this worker than in the command")
        if model.provider != self.request["provider"]:
            expected = self.request["provider"]
            raise ModelError(f"--provider {expected} is not used on this worker: {' '.join(model.notices)}")
        if self.output.read_json(REQUEST) != self.request:
            raise UsageError(f"--output {self.output.folder} is not the same folder on this worker as in the command")
        rows, unreadable = self._predict(model)
        parquet = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, make_schema(model.info)), parquet)
        self.output.write(parquet.getvalue(), PREDICTIONS, f"{self.name}.parquet")
        if unreadable:
            lines = [format_csv_row(COLUMNS, row) for row in ({name: name for name in COLUMNS}, *unreadable)]
            self.output.write("".join(lines).encode(), UNREADABLE, f"{self.name}.csv")
        declined = sum(row["declined"] for row in rows)
        seconds = time.perf_counter() - start
        done = DonePart(len(self.images), len(unreadable), declined, seconds, this_worker())
        self.output.write_json(dataclasses.asdict(done), DONE, f"{self.name.partition('-')[0]}.json")
        return dataclasses.asdict(done)

    def _predict(self, model: BulkModel) -> tuple[list[dict], list[dict]]:
        """Returns the rows of the Parquet file, and those of the CSV file of images that can't be read."""
        rows: list[dict] = []
        unreadable: list[dict] = []
        with ThreadPoolExecutor(READERS) as readers:
            prepare = functools.partial(_prepare, model)
            prepared = map_in_order(readers, prepare, self.images.images(), 2 * self.batch_size)
            while batch := [*itertools.islice(prepared, self.batch_size)]:
                unreadable += [{"image": name, "error": why} for name, why, resized in batch if resized is None]
                readable = [(name, warnings) for name, warnings, resized in batch if resized is not None]
                pixels = [resized for *_, resized in batch if resized is not None]
                answers = model.predict(np.stack(pixels), self.request["answer_anyway"]) if pixels else []
                for (name, warnings), prediction in zip(readable, answers, strict=True):
                    record = make_record(PredictionRow(name, prediction), model.info)
                    rows.append({**record, "warnings": warnings, "model_sha256": model.sha256})
        return rows, unreadable


def make_schema(info: ModelInfo) -> pyarrow.Schema:
    """Returns the columns of the Parquet files."""
    number, text = pyarrow.float64(), pyarrow.string()
    kinds = {"typicality": number, "distance": number, "declined": pyarrow.bool_()}
    kinds |= {f"p_{label}": number for label in info.labels}
    names = [*list_columns(info)[:-1], "model_sha256"]  # not the error
    return pyarrow.schema([(name, kinds.get(name, text)) for name in names])


def _prepare(model: BulkModel, image: tuple[str, bytes | None]) -> tuple[str, str, np.ndarray | None]:
    """Returns name, warnings and resized image; for an image that can't be read its name, the reason and None."""
    name, encoded = image
    try:
        decoded = read(name, encoded)
    except ImageError as error:
        return printable(name), str(error), None
    warnings = [*decoded.notes, *find_warnings(decoded.pixels)]
    return printable(name), "; ".join(warnings), model.resize(decoded.pixels)
