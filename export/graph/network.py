"""A run's model, taken apart into its named objects, and the one function that every artefact is traced from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from export.graph import heatmap
from trainer.run_folder import keras_file

PARTS = ("preprocessing", "backbone", "head")


@dataclass(frozen=True)
class Network:
    """resize, scale: the preprocessing layers. backbone: frozen VGG16. head: as `heatmap.with_activations` made it."""

    resize: keras.Layer
    scale: keras.Layer
    backbone: keras.Model
    head: keras.Model

    @classmethod
    def load(cls, path: Path) -> Network:
        """Read a run's model.keras; raises UsageError as `network_file.load` does, or when parts of a run's lack."""
        model = keras_file.load(path)
        names = [layer.name for layer in model.layers]
        if not set(PARTS) <= set(names):
            raise UsageError(f"{path}: expected layers named {', '.join(PARTS)}, got {', '.join(names)}.")
        preprocessing, backbone, head = (model.get_layer(name) for name in PARTS)
        if len(preprocessing.layers) != 2 or preprocessing.layers[0].name != "resize":
            names = ", ".join(layer.name for layer in preprocessing.layers)
            raise UsageError(f"{path}: expected preprocessing made of a resize and a scaling layer, got {names}.")
        return cls(*preprocessing.layers, backbone, heatmap.with_activations(head))

    @property
    def pooling(self) -> str:
        """The head's pooling, one of `heatmap.POOLINGS`."""
        return heatmap.pooling_of(self.head)

    @property
    def map_shape(self) -> tuple[int, int]:
        """(height, width) of the backbone's feature map, and so of the heat map, in cells."""
        return tuple(self.backbone.output_shape[1:3])

    @property
    def side(self) -> int:
        """Height and width that images are resized to, in pixels."""
        return self.backbone.input_shape[1]

    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """From images to answers, without anything random.

        image: uint8 [batch, height, width, 3], RGB. Returns probabilities float32 [batch, 2], covid first, and heatmap
        float32 [batch, h, w] >= 0 (see `heatmap.of_covid`).
        """
        return self.from_resized(self.resize(tf.cast(image, tf.float32)))

    def from_resized(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predict` for images that are resized already: float32 [batch, side, side, 3] in 0..255."""
        # Without training=False, Keras leaves dropout on in a head that is nested in another model.
        maps = self.backbone(self.scale(image), training=False)
        activations = self.head(maps, training=False)
        heat = heatmap.of_covid(maps, self.head, activations)
        return {"probabilities": activations["probabilities"], "heatmap": heat}
