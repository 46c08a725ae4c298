"""The network: preprocessing layers, frozen VGG16 backbone and head, three named Keras objects made into one model.

Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from covid_tfds.common.errors import UsageError
from trainer.recipes import Recipe

IMAGE_SIZE = 224
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
CLASSES = 2
STALL_SECONDS = 60


def preprocessing(scaling: str) -> keras.Sequential:
    """Layers from an image of any size, float [batch, height, width, 3] in 0..255 RGB, to what the backbone is fed.

    The image is resized to 224 x 224 whatever its aspect ratio, bilinear without antialiasing, then scaled: "unit" to
    [0, 1], "caffe" to BGR with ImageNet's mean subtracted (a fixed 1 x 1 convolution, so that no custom layer is
    needed).
    """
    resize = keras.layers.Resizing(IMAGE_SIZE, IMAGE_SIZE, interpolation="bilinear", name="resize")
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


def backbone(weights: str, seed: int) -> keras.Model:
    """VGG16 without its top, frozen, whole (up to block5_pool): float [batch, 224, 224, 3] -> [batch, 7, 7, 512].

    weights: "imagenet" (Keras downloads and verifies its own file), "random" (He-normal kernels from `seed`, zero
    biases: Keras's default initializer makes the activations of 13 layers vanish), or the path of a file in the layout
    of vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5. Raises UsageError when the weights can't be had.
    """
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    if weights == "imagenet":
        try:
            with _no_stalls():
                model = keras.applications.VGG16(
                    include_top=False, weights="imagenet", input_shape=shape, name="backbone"
                )
        except Exception as error:  # keras wraps every network fault in a bare Exception
            raise UsageError(
                f"The ImageNet weights could not be downloaded ({' '.join(str(error).split())}). Give a downloaded "
                "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 with --weights FILE, or train on an untrained "
                "backbone with --weights random."
            ) from error
    else:
        model = keras.applications.VGG16(include_top=False, weights=None, input_shape=shape, name="backbone")
        if weights == "random":
            _he_normal(model, seed)
        else:
            _load_file(model, Path(weights))
    model.trainable = False
    return model


@contextlib.contextmanager
def _no_stalls() -> Iterator[None]:
    """Give up on a connection that says nothing for STALL_SECONDS; Keras's downloads would wait for ever."""
    usual = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(usual)


def _he_normal(model: keras.Model, seed: int) -> None:
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for index, layer in enumerate(convolutions):
        initializer = keras.initializers.HeNormal(seed=seed * 100 + index)
        kernel, bias = layer.get_weights()
        layer.set_weights([np.asarray(initializer(kernel.shape)), np.zeros_like(bias)])


def _load_file(model: keras.Model, path: Path) -> None:
    expected = "expected Keras's vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 or an .h5 file in its layout"
    advice = "Other choices: --weights imagenet, --weights random."
    if path.suffix not in (".h5", ".hdf5"):
        raise UsageError(f"--weights {path}: {expected}, got a file that does not end in .h5. {advice}")
    before = [weight.copy() for weight in model.get_weights()]
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and keras raise many kinds for a file that is not what it should be
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"--weights {path}: {expected}, got: {reason} {advice}") from error
    after = model.get_weights()
    if any(np.array_equal(old, new) for old, new in zip(before[::2], after[::2], strict=True)):
        raise UsageError(f"--weights {path}: {expected}, got a file that leaves layers without weights. {advice}")
    if not all(np.isfinite(weight).all() for weight in after):
        raise UsageError(f"--weights {path}: {expected}, got weights that are NaN or infinite. {advice}")


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over a model's weights, in order, as float32 bytes."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight, dtype="<f4").tobytes())
    return digest.hexdigest()


def check_precision(precision: str) -> None:
    """Raise UsageError when this machine would compute `precision` ("float32", "bfloat16") slowly or not at all."""
    if precision == "float32":
        return
    facts = Path("/proc/cpuinfo")
    flags = set(facts.read_text(encoding="utf-8").split()) if facts.exists() else set()
    if not flags & {"avx512_bf16", "amx_bf16"}:
        raise UsageError(
            f"--precision {precision} needs a CPU with AVX512-BF16 or AMX, and /proc/cpuinfo names neither. "
            "Leave it out: float32 works everywhere."
        )


def in_precision(network: keras.Model, precision: str) -> keras.Model:
    """The whole backbone itself for "float32", or its twin that computes in "bfloat16" with the same weights."""
    if precision == "float32":
        return network
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{precision}")
    try:
        twin = keras.applications.VGG16(include_top=False, weights=None, input_shape=network.input_shape[1:])
    finally:
        keras.config.set_dtype_policy(usual)
    twin.set_weights(network.get_weights())
    twin.trainable = False
    return twin


def cut_backbone(whole: keras.Model, cut: str) -> keras.Model:
    """The backbone up to the layer `cut` ("block5_pool": [batch, 7, 7, 512]; "block4_pool": [batch, 14, 14, 512])."""
    model = keras.Model(whole.inputs, whole.get_layer(cut).output, name="backbone")
    model.trainable = False
    return model


def pool(pooling: str, feature_map) -> keras.KerasTensor:
    """Symbolic pooling of a feature map [batch, h, w, c] to a vector [batch, d], as `recipes.POOLINGS` names it."""
    average = keras.layers.GlobalAveragePooling2D(name="average_pool")
    maximum = keras.layers.GlobalMaxPooling2D(name="max_pool")
    if pooling == "corner":
        corner = keras.layers.AveragePooling2D((4, 4), name="corner_pool")(feature_map)
        return keras.layers.Flatten(name="flatten")(corner)
    if pooling == "average":
        return average(feature_map)
    if pooling == "max":
        return maximum(feature_map)
    return keras.layers.Concatenate(name="average_and_max")([average(feature_map), maximum(feature_map)])


def pooling_model(pooling: str, map_shape: tuple[int, int, int]) -> keras.Model:
    """The head's pooling alone, as a model: [batch, h, w, c] -> [batch, d]."""
    feature_map = keras.Input(map_shape)
    return keras.Model(feature_map, pool(pooling, feature_map), name="pooling")


def head(recipe: Recipe, map_shape: tuple[int, int, int], seed: int) -> keras.Model:
    """Pooling, `depth` times dense relu and dropout, and a softmax: [batch, h, w, c] -> probabilities [batch, 2].

    Column 0 is covid. Weights are drawn from `seed`.
    """
    feature_map = keras.Input(map_shape)
    return keras.Model(feature_map, _classify(recipe, pool(recipe.pooling, feature_map), seed), name="head")


def classifier(recipe: Recipe, width: int, seed: int) -> keras.Model:
    """A head without its pooling, with the same weights: pooled features [batch, width] -> probabilities [batch, 2]."""
    pooled = keras.Input((width,))
    return keras.Model(pooled, _classify(recipe, pooled, seed), name="classifier")


def initial_weights(recipe: Recipe, width: int, seed: int) -> list[np.ndarray]:
    """What `classifier` begins with, float32 kernels and biases in order, without the layers, which take far longer."""
    *hidden, last = _initializers(recipe, seed)
    arrays = []
    for initializer, outputs in [*((one, recipe.units) for one in hidden), (last, CLASSES)]:
        arrays += [np.asarray(initializer((width, outputs))), np.zeros(outputs, np.float32)]
        width = outputs
    return arrays


def _initializers(recipe: Recipe, seed: int) -> list[keras.Initializer]:
    """Of the kernels of the hidden layers and of the last one."""
    return [keras.initializers.GlorotUniform(seed=seed * 10 + index) for index in (*range(recipe.depth), 9)]


def _classify(recipe: Recipe, x, seed: int) -> keras.KerasTensor:
    *hidden, last = _initializers(recipe, seed)
    for index, initializer in enumerate(hidden):
        x = keras.layers.Dense(
            recipe.units, activation="relu", kernel_initializer=initializer, name=f"hidden{index + 1}"
        )(x)
        x = keras.layers.Dropout(recipe.dropout, seed=seed + index, name=f"dropout{index + 1}")(x)
    return keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer=last, name="probabilities")(x)


def assemble(preprocessing_layers: keras.Model, backbone_model: keras.Model, head_model: keras.Model) -> keras.Model:
    """One model from the three parts: float [batch, height, width, 3] in 0..255 -> probabilities [batch, 2]."""
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, head_model(backbone_model(preprocessing_layers(image))), name="covid_vgg16")
