"""Take a run's model apart into its named layers, and define the one function that every artefact is traced from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from export.graph import heatmap
from export.graph.typicality import measure_typicality
from trainer.run_folder import keras_file
from trainer.run_folder.typicality import Reference

PARTS = ("preprocessing", "backbone", "head")


@dataclass(frozen=True)
class Network:
    """A trained model in its parts.

    Attributes:
        resize: First preprocessing layer, to [batch, side, side, 3].
        scale: Second preprocessing layer, from 0..255 to what the backbone takes.
        backbone: Frozen VGG16, to the feature map [batch, h, w, c].
        head: As `heatmap.expose_activations` returns it.
        training_images: What `typicality` and `distance` compare an image with; None to leave both out.
    """

    resize: keras.Layer
    scale: keras.Layer
    backbone: keras.Model
    head: keras.Model
    training_images: Reference | None = None

    @classmethod
    def load(cls, path: Path, training_images: Reference | None = None) -> Network:
        """Read a run's model.keras.

        Raises:
            UsageError: If `keras_file.load_model` refuses it, or its parts are not those of a run.
        """
        model = keras_file.load_model(path)
        names = [layer.name for layer in model.layers]
        if not set(PARTS) <= set(names):
            raise UsageError(f"{path}: expected layers named {', '.join(PARTS)}, got {', '.join(names)}.")
        preprocessing, backbone, head = (model.get_layer(name) for name in PARTS)
        names = [layer.name for layer in preprocessing.layers]
        if len(names) != 2 or names[0] != "resize":
            raise UsageError(f"{path}: expected a resize and a scaling layer in preprocessing, got {', '.join(names)}.")
        resize, scale = preprocessing.layers
        return cls(resize, scale, backbone, heatmap.expose_activations(head), training_images)

    @property
    def pooling(self) -> str:
        """The head's pooling, one of the values of `heatmap.POOLINGS`."""
        return heatmap.find_pooling(self.head)

    @property
    def map_shape(self) -> tuple[int, int]:
        """(height, width) of the feature map and the heat map, in cells."""
        return tuple(self.backbone.output_shape[1:3])

    @property
    def side(self) -> int:
        """Height and width that images are resized to, in pixels."""
        return self.backbone.input_shape[1]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs of `predict`."""
        return ["probabilities", "heatmap", *([] if self.training_images is None else ["typicality", "distance"])]

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return self.head.get_layer("probabilities").units

    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predict images, without dropout or augmentation.

        Args:
            image: uint8 [batch, height, width, 3], RGB, 0 black to 255 white.

        Returns:
            `probabilities` float32 [batch, K], `heatmap` float32 [batch, h, w] >= 0 of `heatmap.compute_heatmap`, and,
            unless they are left out, `typicality` and `distance` float32 [batch] of `typicality.measure_typicality`.
        """
        return self.predict_resized(self.resize(tf.cast(image, tf.float32)))

    def predict_resized(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """`predict` for images that are resized already: float32 [batch, side, side, 3] in 0..255."""
        # Without training=False, Keras leaves dropout on in a head that is nested in another model.
        feature_map = self.backbone(self.scale(image), training=False)
        activations = self.head(feature_map, training=False)
        heat = heatmap.compute_heatmap(feature_map, self.head, activations)
        outputs = {"probabilities": activations["probabilities"], "heatmap": heat}
        if self.training_images is not None:
            outputs |= measure_typicality(feature_map, image, self.training_images)
        return outputs
