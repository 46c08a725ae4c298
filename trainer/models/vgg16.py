"""The network: preprocessing layers, frozen VGG16 backbone and head, three named Keras models assembled into one.

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

from covid_tfds.common.cores import has_bfloat16, read_cpu_flags
from covid_tfds.common.errors import UsageError
from trainer.models.preprocessing import IMAGE_SIZE
from trainer.run_folder.environment import IMAGENET

STALL_SECONDS = 60
# Keras's file, and the SHA-256 of its arrays by `hash_weights`: other files hold the same arrays.
WEIGHTS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
WEIGHTS_BYTES, WEIGHTS_MD5 = 58_889_256, "6d6bbae143d832006294945121d1f1fc"
IMAGENET_SHA256 = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"


def load_backbone(weights: str, seed: int) -> keras.Model:
    """Returns VGG16 without its top, frozen, up to block5_pool: float [batch, 224, 224, 3] -> [batch, 7, 7, 512].

    Args:
        weights: "imagenet" (Keras downloads and verifies its own file), "random" (He-normal kernels and zero biases:
            Keras's default initializer makes the activations of 13 layers vanish), or the path of a file in the layout
            of WEIGHTS_FILE.
        seed: Of random weights.

    Raises:
        UsageError: If the weights can't be downloaded or the file holds something else.
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
                f"The ImageNet weights could not be downloaded ({' '.join(str(error).split())}). Get Keras's file "
                f"{WEIGHTS_FILE} ({WEIGHTS_BYTES} bytes, md5 {WEIGHTS_MD5}) elsewhere, give it with --weights FILE, or "
                "train on an untrained backbone with --weights random."
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
    """Time out connections that send nothing for STALL_SECONDS; Keras's downloads would wait for ever."""
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
    def refused(reason: str) -> UsageError:
        return UsageError(
            f"--weights {path}: expected Keras's {WEIGHTS_FILE} or an .h5 file in its layout, got {reason} "
            "Other choices: --weights imagenet, --weights random."
        )

    if path.suffix not in (".h5", ".hdf5"):
        raise refused("a file that does not end in .h5.")
    before = [weight.copy() for weight in model.get_weights()]
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and keras raise many kinds for a file that is not what it should be
        raise refused((str(error).strip() or type(error).__name__).splitlines()[0]) from error
    after = model.get_weights()
    if any(np.array_equal(old, new) for old, new in zip(before[::2], after[::2], strict=True)):
        raise refused("a file that leaves layers without weights.")
    if not all(np.isfinite(weight).all() for weight in after):
        raise refused("weights that are NaN or infinite.")


def hash_weights(model: keras.Model) -> str:
    """Returns the SHA-256 over a model's weights, in order, as float32 bytes."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight, dtype="<f4").tobytes())
    return digest.hexdigest()


def name_weights(weights: str, sha256: str) -> str:
    """Returns the name of a backbone's weights.

    Args:
        weights: As `load_backbone` takes it.
        sha256: As `hash_weights` gives it.

    Example:
        >>> name_weights("downloads/vgg16.h5", IMAGENET_SHA256), name_weights("downloads/mine.h5", "0" * 64)
        ('ImageNet', 'mine.h5')
    """
    if weights == "imagenet" or sha256 == IMAGENET_SHA256:
        return IMAGENET
    return Path(weights).name


def choose_precision(precision: str) -> str:
    """Returns "float32" or "bfloat16"; for "auto" the second where the CPU has AMX for it.

    Raises:
        UsageError: If this machine computes "bfloat16" slowly or not at all.
    """
    if precision == "float32":
        return precision
    if precision == "auto":
        return "bfloat16" if "amx_bf16" in read_cpu_flags() else "float32"
    if not has_bfloat16():
        raise UsageError(
            f"--precision {precision} needs a CPU with AVX512-BF16 or AMX, and /proc/cpuinfo names neither. "
            "Leave it out: float32 works everywhere."
        )
    return precision


def convert_precision(network: keras.Model, precision: str) -> keras.Model:
    """Returns the whole backbone itself for "float32", or a copy with the same weights that computes in "bfloat16"."""
    if precision == "float32":
        return network
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(f"mixed_{precision}")
    try:
        copy = keras.applications.VGG16(include_top=False, weights=None, input_shape=network.input_shape[1:])
    finally:
        keras.config.set_dtype_policy(usual)
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def cut_backbone(whole: keras.Model, cut: str) -> keras.Model:
    """Returns the backbone up to the layer `cut`: "block5_pool" [n, 7, 7, 512] or "block4_pool" [n, 14, 14, 512]."""
    model = keras.Model(whole.inputs, whole.get_layer(cut).output, name="backbone")
    model.trainable = False
    return model


def assemble_model(preprocessing: keras.Model, backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Returns one model of the three parts: float [batch, height, width, 3] in 0..255 -> probabilities."""
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, head(backbone(preprocessing(image))), name="covid_vgg16")
