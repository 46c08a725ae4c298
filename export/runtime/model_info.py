"""What an exported model's file says of the model: class names, threshold, run, versions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of an exported model: each field is one entry of the ONNX file's `metadata_props`, as JSON.

    Attributes:
        labels: Class names in the order of the probabilities; class 0 is the positive class.
        positive_class: Name of class 0.
        threshold: Call an image positive when its probability of class 0 is at least this.
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
        attribution: Author and licence of the backbone's weights; None for untrained ones.
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
    attribution: str | None = None

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> ModelInfo:
        """Read the metadata of an ONNX file, names to JSON texts; other names are ignored.

        Raises:
            ValueError: If it lacks a field without a default, a text is no JSON, or it is not of two classes.
        """
        fields = dataclasses.fields(cls)
        if missing := [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in metadata]:
            raise ValueError(f"without {', '.join(missing)} in its metadata")
        try:
            info = cls(**{f.name: json.loads(metadata[f.name]) for f in fields if f.name in metadata})
        except (ValueError, RecursionError) as error:
            raise ValueError(f"with metadata that is not JSON: {error}") from error
        labels, positive = info.labels, info.positive_class
        if not isinstance(labels, list) or len(labels) != 2 or labels[0] != positive:
            raise ValueError(f"with labels {labels} and positive class {positive!r}, not two classes, positive first")
        if not isinstance(info.threshold, int | float):
            raise ValueError(f"with threshold {info.threshold!r}, not a number")
        return info

    def decide(self, p_positive: float) -> str:
        """Returns the label for a probability of class 0.

        Example:
            >>> info = ModelInfo(["covid", "normal"], "covid", 0.4, [0, 0, 1, 1], "A test.")
            >>> info.decide(0.4), info.decide(0.39)
            ('covid', 'normal')
        """
        return self.labels[0] if p_positive >= self.threshold else self.labels[1]
