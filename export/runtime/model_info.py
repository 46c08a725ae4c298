"""What an exported model's file says of the model: class names, threshold, run, versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from covid_tfds.common.files import to_json
from export.runtime.metadata_schema import parse_field

DECLINED = "declined"
DECLINES_NOTHING = (
    "This model was exported with --no_typicality: it declines no image, however unlike its training images."
)
ROUNDING = 1e-4  # relative: in float32 the smallest typicality may lie just above `declined_at`


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of an exported model: each field is one entry of the ONNX file's `metadata_props`, as JSON.

    Attributes:
        labels: Class names in the order of the probabilities; class 0 is the positive class.
        positive_class: Name of class 0.
        threshold: Operating point: decide for class 0 when its probability is at least this.
        heatmap_region: Top, left, bottom, right of the part of the image that the head reads, as fractions of its
            sides.
        intended_use: What the model may and may not be used for.
        precision: "float32" or "int8".
        notes: Caveats to show beside every metric.
        input: Name, data type, shape and meaning of the input.
        outputs: Data type, shape and meaning of each output.
        run_id: Id of the run that the model comes from.
        dataset: Name, version and fingerprint of the dataset it was trained on.
        weights: Name and SHA-256 of the backbone's first weights, and whether they were trained.
        recipe: The recipe it was trained with.
        versions: Version of Python and of each package that took part.
        temperature: What the last layer's weights were divided by, for calibration.
        shortcuts_verdict: "shortcut", "not detected" or "inconclusive".
        shortcuts_because: Why the verdict is what it is, in words.
        test_metrics: Metrics of the float model on the run's test split: numbers of images and patients, and estimates.
        attribution: Author and licence of the backbone's weights; None for untrained ones.
        declined_at: Decline an image when its typicality is at most this; None where nothing is declined.
    """

    labels: list[str]
    positive_class: str
    threshold: float
    heatmap_region: list[float]
    intended_use: str
    precision: str = "float32"
    notes: Sequence[str] = ()
    input: dict | None = None
    outputs: dict | None = None
    run_id: str | None = None
    dataset: dict | None = None
    weights: dict | None = None
    recipe: dict | None = None
    versions: dict | None = None
    temperature: float | None = None
    shortcuts_verdict: str | None = None
    shortcuts_because: str | None = None
    test_metrics: dict | None = None
    attribution: str | None = None
    declined_at: float | None = None

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> ModelInfo:
        """Read the metadata of an ONNX file, names to JSON texts; other names are ignored.

        Raises:
            ValueError: If it lacks a field without a default, or a field is not what `metadata_schema` says.
        """
        fields = dataclasses.fields(cls)
        if missing := [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in metadata]:
            raise ValueError(f"without {', '.join(missing)} in its metadata")
        info = cls(**{f.name: parse_field(f.name, metadata[f.name]) for f in fields if f.name in metadata})
        if info.positive_class != info.labels[0]:
            raise ValueError(
                f"with positive class {info.positive_class!r}, expected the first label {info.labels[0]!r}"
            )
        return info

    def to_json(self) -> dict[str, Any]:
        """Returns what the ONNX file's metadata and model.json hold of it."""
        return to_json(self) | {"declined_at": self.declined_at}

    def decide(self, probabilities: Sequence[float]) -> str:
        """Returns the label at the operating point: class 0 from the threshold on, else the most probable other class.

        Example:
            >>> info = ModelInfo(["covid", "normal", "pneumonia"], "covid", 0.3, [0, 0, 1, 1], "A test.")
            >>> info.decide([0.3, 0.2, 0.5]), info.decide([0.2, 0.5, 0.3])
            ('covid', 'normal')
        """
        return self.labels[0 if probabilities[0] >= self.threshold else 1 + int(np.argmax(probabilities[1:]))]

    def explain_declined(self, typicality: float | None, distance: float | None) -> str | None:
        """Returns why an image is too unlike the training images to decide on, in words; None for one that is not.

        Args:
            typicality: The model's output; None for a model without it.
            distance: The same.

        Example:
            >>> info = ModelInfo(["covid", "normal"], "covid", 0.3, [0, 0, 1, 1], "A test.", declined_at=0.025)
            >>> info.explain_declined(0.0250001, 0.5)
            'unlike the training images: typicality 0.025, declined up to 0.025; distance 0.5'
        """
        if self.declined_at is None or typicality is None or typicality > self.declined_at * (1 + ROUNDING):
            return None
        limit = f"typicality {typicality:.3g}, declined up to {self.declined_at:.3g}"
        return f"unlike the training images: {limit}; distance {distance:.3g}"

    def decide_argmax(self, probabilities: Sequence[float]) -> str:
        """Returns the most probable label, the first of equals.

        Example:
            >>> info = ModelInfo(["covid", "normal", "pneumonia"], "covid", 0.3, [0, 0, 1, 1], "A test.")
            >>> info.decide_argmax([0.3, 0.2, 0.5])
            'pneumonia'
        """
        return self.labels[int(np.argmax(probabilities))]
