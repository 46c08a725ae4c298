"""The model's first layers: resize an image of any size and scale its grey levels as the backbone expects.

`export/graph/onnx_resize.py` computes the same resize with operations that ONNX has.
"""

from __future__ import annotations

import keras
import numpy as np

IMAGE_SIZE = 224
INTERPOLATION = "bilinear"
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def build_preprocessing(scaling: str) -> keras.Sequential:
    """Returns layers from images of any size, float [batch, height, width, 3] in 0..255 RGB, to the backbone's input.

    The image is resized to 224 x 224 whatever its aspect ratio, bilinear without antialiasing, then scaled.

    Args:
        scaling: "unit" scales to [0, 1]; "caffe" to BGR with ImageNet's mean subtracted (a fixed 1 x 1 convolution,
            so that no custom layer is needed).
    """
    resize = keras.layers.Resizing(IMAGE_SIZE, IMAGE_SIZE, interpolation=INTERPOLATION, name="resize")
    if scaling == "unit":
        scale = keras.layers.Rescaling(1 / 255, name="unit_scaling")
    else:
        scale = keras.layers.Conv2D(3, 1, trainable=False, name="caffe_scaling")
    layers = keras.Sequential([keras.Input((None, None, 3)), resize, scale], name="preprocessing")
    if scaling == "caffe":
        swap = np.eye(3, dtype=np.float32)[::-1].reshape(1, 1, 3, 3)
        scale.set_weights([swap, -np.asarray(CAFFE_MEAN_BGR, dtype=np.float32)])
    layers.trainable = False
    return layers
