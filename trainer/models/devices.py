"""Choose the devices and threads that TensorFlow computes with."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from covid_tfds.common.cores import count_cores
from trainer.config import Config


def configure_devices(config: Config) -> int:
    """Sets devices and threads as the flags say; to be called before TensorFlow computes anything.

    Returns:
        How many forward passes to run side by side. Side by side with one thread each they are faster than one after
        the other on all cores; --fine_tune and the tutorial's recipe, which also train layers of VGG16 or run all of
        it in every epoch, compute one batch at a time and so need all cores for each operation.
    """
    threads = config.threads or count_cores()
    one_batch_at_a_time = bool(config.fine_tune) or config.recipe == "tutorial"
    with contextlib.suppress(RuntimeError):  # a process that has computed keeps what it has: no bit depends on it
        tf.config.threading.set_intra_op_parallelism_threads(threads if one_batch_at_a_time else 1)
        if config.device == "cpu":
            tf.config.set_visible_devices([], "GPU")
    return 1 if one_batch_at_a_time else threads


def name_device() -> str:
    """Returns "CPU", or the name of the GPU that TensorFlow computes on."""
    gpus = tf.config.get_visible_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "CPU"
