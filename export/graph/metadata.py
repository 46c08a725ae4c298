"""What an exported model says of itself, taken from its run folder."""

from __future__ import annotations

from importlib.metadata import version

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import to_json
from export.graph import heatmap
from export.graph.network import Network
from trainer.run_folder.run import Run

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def collect(run: Run, network: Network) -> dict:
    """The ONNX file's `metadata_props`: names to JSON values. The same for every export of one run."""
    environment, metrics = run.environment, run.metrics
    found = {
        "labels": environment.dataset.class_names,
        "positive_class": metrics.positive_class,
        "threshold": metrics.threshold,
        "temperature": metrics.temperature,
        "shortcuts_verdict": metrics.shortcuts.verdict,
        "shortcuts_because": metrics.shortcuts.because,
        "intended_use": INTENDED_USE,
        "notes": environment.notes,
        "input": {
            "name": "image",
            "dtype": "uint8",
            "shape": ["batch", "height", "width", 3],
            "meaning": "RGB, 0 black to 255 white, any size; resized inside to 224 x 224, bilinear, not antialiased",
        },
        "outputs": {
            "probabilities": "float32 [batch, 2], one column a label",
            "heatmap": "float32 [batch, h, w] >= 0, Grad-CAM of the positive class, in units of its logit",
        },
        "heatmap_region": region(network),
        "precision": "float32",
        "run_id": environment.run_id,
        "dataset": {key: getattr(environment.dataset, key) for key in ("name", "version", "fingerprint")},
        "weights": environment.weights,
        "recipe": environment.recipe,
        "versions": environment.versions | {name: version(name) for name in PACKAGES},
    }
    return to_json(found)


def region(network: Network) -> list[float]:
    """Top, left, bottom, right of the map cells that the head reads, as fractions of the image's sides."""
    readable = heatmap.readable_cells(network.pooling, *network.map_shape)
    rows, columns = readable.any(axis=1), readable.any(axis=0)
    return [0.0, 0.0, float(rows.mean()), float(columns.mean())]
