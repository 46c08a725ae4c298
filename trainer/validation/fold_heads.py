"""The heads of a cross-validation, kept for the Grad-CAM of images that they were not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.features.backbone_features import Features
from trainer.metrics.calibration import divide_last_layer
from trainer.validation.grad_cam import compute_heat_maps


@dataclass(frozen=True)
class FoldHeads:
    """The trained heads of a cross-validation over all images.

    Attributes:
        features: What they were trained on.
        folds: int64 [repeats, n], the fold that held each image out.
        temperatures: float64 [repeats, n], of that fold.
        weights: Of each fold's head, by (repeat, fold).
    """

    features: Features
    folds: np.ndarray
    temperatures: np.ndarray
    weights: dict[tuple[int, int], list[np.ndarray]]

    def compute_heat_maps(self, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Returns each image's Grad-CAM, the mean over the repeats' heads that held it out, float32 [m, h, w].

        Args:
            rows: int [m], the images.
            classes: int [m], the class of each image's heat map.
        """
        head = self.features.build_head()
        result = np.zeros((len(rows), *self.features.map_shape[:2]), np.float32)
        maps = self.features.maps(rows) if len(rows) else ()
        for place, (row, feature_map) in enumerate(zip(rows, maps, strict=True)):
            for repeat, fold in enumerate(self.folds[:, row].tolist()):
                head.set_weights(divide_last_layer(self.weights[repeat, fold], self.temperatures[repeat, row]))
                heat = compute_heat_maps(head, feature_map[None], classes[place : place + 1])
                result[place] += heat[0] / len(self.folds)
        return result
