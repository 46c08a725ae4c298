"""Devices of fine-tuning: one, all of this machine's, or those of several processes (tf.distribute)."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from covid_tfds.common.errors import UsageError
from trainer.config import Config
from trainer.recipes import SMALLEST_BATCH

CPU_REPLICAS = 2
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, "task": {"type": "worker", "index": 0}}'


def is_helper(config: Config) -> bool:
    """Returns whether this process only computes for the first worker of TF_CONFIG, which alone writes the run.

    Raises:
        UsageError: If TF_CONFIG is needed and missing, or malformed.
    """
    return config.strategy == "multiworker" and _task_index() > 0


def strategy(config: Config) -> tf.distribute.Strategy:
    """Returns the strategy that --strategy names; to be called before TensorFlow computes anything.

    "mirrored" is every GPU or, without any, two logical devices on the CPU. "multiworker" waits for every process that
    TF_CONFIG names.

    Raises:
        UsageError: If the batch can't be divided evenly, or TF_CONFIG is missing or malformed.
    """
    if config.strategy == "mirrored":
        chosen = _mirrored()
    elif config.strategy == "multiworker":
        _task_index()
        chosen = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        chosen = tf.distribute.get_strategy()
    batch_size = config.batch_size or SMALLEST_BATCH  # larger ones are multiples of the smallest
    if config.fine_tune and batch_size % chosen.num_replicas_in_sync:
        raise UsageError(
            f"--batch_size {batch_size} can't be divided evenly among {chosen.num_replicas_in_sync} replicas. Choose a "
            f"multiple of {chosen.num_replicas_in_sync}."
        )
    return chosen


def _mirrored() -> tf.distribute.Strategy:
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    if not tf.config.get_logical_device_configuration(cpu):
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * CPU_REPLICAS)
        except RuntimeError as error:
            raise UsageError(
                "--strategy mirrored must divide the CPU in two before TensorFlow computes anything, which it already "
                "has in this process: start `python -m trainer` again."
            ) from error
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    # On CPUs the sum of the gradients is a copy and an addition: NCCL is for GPUs.
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())


def _task_index() -> int:
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, task = config["cluster"]["worker"], config["task"]
        if set(config["cluster"]) != {"worker"} or task["type"] != "worker" or not 0 <= task["index"] < len(workers):
            raise ValueError("only workers, and an index of one of them")
        return task["index"]
    except (KeyError, ValueError, TypeError) as error:
        got = os.environ.get("TF_CONFIG", "nothing")
        raise UsageError(
            f"--strategy multiworker needs the environment variable TF_CONFIG, in each process with its own index, "
            f"such as {EXAMPLE}; got {got}."
        ) from error
