"""Collect an exported model's metadata from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import sha256, to_json, write_json
from export.file_names import MODEL_JSON
from export.graph import heatmap
from export.graph.network import Network
from export.runtime.metadata_schema import METRICS
from export.runtime.model_info import ModelInfo
from trainer.run_folder.results import Evaluation
from trainer.run_folder.run import Run

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
INPUT = {
    "name": "image",
    "dtype": "uint8",
    "shape": ["batch", "height", "width", 3],
    "meaning": "RGB, 0 black to 255 white, any size; resized inside to 224 x 224, bilinear, not antialiased",
}
OUTPUTS = {
    "probabilities": "float32 [batch, K], one column a label",
    "heatmap": "float32 [batch, h, w] >= 0, Grad-CAM of the positive class, in units of its logit",
    "typicality": "float32 [batch] in (0, 1], how usual the distance is among the training images, a p-value",
    "distance": "float32 [batch] in [0, 1], mean distance to the 3 nearest training images",
}


def collect_metadata(run: Run, network: Network) -> ModelInfo:
    """Returns the metadata of a run's float model, the same for every export of the run."""
    environment, metrics = run.environment, run.metrics
    return ModelInfo(
        labels=list(environment.dataset.class_names),
        positive_class=metrics.positive_class,
        threshold=metrics.threshold,
        heatmap_region=_find_region(network),
        intended_use=INTENDED_USE,
        notes=list(environment.notes),
        input=INPUT,
        outputs={name: OUTPUTS[name] for name in network.outputs},
        run_id=environment.run_id,
        dataset={key: getattr(environment.dataset, key) for key in ("name", "version", "fingerprint")},
        weights=to_json(environment.weights),
        recipe=to_json(environment.recipe),
        versions=environment.versions | {name: version(name) for name in PACKAGES},
        temperature=metrics.temperature,
        shortcuts_verdict=metrics.shortcuts.verdict,
        shortcuts_because=metrics.shortcuts.because,
        test_metrics=_describe_test(metrics.test),
        attribution=environment.weights.attribution,
        declined_at=None if network.training_images is None else network.training_images.level,
    )


def _describe_test(test: Evaluation) -> dict[str, Any]:
    """The metrics of the test split that `metadata_schema` expects, as JSON."""
    estimates = {name: to_json(getattr(test, name)) for name in METRICS}
    return {"images": test.n, "patients": test.patients, **estimates}


def _find_region(network: Network) -> list[float]:
    """Top, left, bottom, right of the cells that the head reads, as fractions of the image's sides."""
    readable = heatmap.find_readable_cells(network.pooling, *network.map_shape)
    rows, columns = readable.any(axis=1), readable.any(axis=0)
    return [0.0, 0.0, float(rows.mean()), float(columns.mean())]


def write_model_json(folder: Path, info: ModelInfo, tolerances: Mapping[str, float]) -> None:
    """Write model.json: the metadata and the model files, for programs that can't read an ONNX file's metadata.

    Args:
        folder: The export, with its model files.
        info: The float model's metadata.
        tolerances: Name of each model file -> by how much its probabilities may differ from the trained model's.
    """
    files = {
        name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size, "tolerance": tolerance}
        for name, tolerance in tolerances.items()
    }
    write_json(folder / MODEL_JSON, info.to_json() | {"files": files})
