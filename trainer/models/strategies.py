"""Where fine-tuning is computed: one device, all of this machine's, or those of several processes (tf.distribute)."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from covid_tfds.common.errors import UsageError
from trainer.config import Config

CPU_REPLICAS = 2
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, "task": {"type": "worker", "index": 0}}'


def is_helper(config: Config) -> bool:
    """Whether this process only lends its device to the first worker of TF_CONFIG, which writes the run.

    Raises UsageError when TF_CONFIG is needed and not there, or not understood.
    """
    return config.strategy == "multiworker" and _task_index() > 0


def strategy(config: Config) -> tf.distribute.Strategy:
    """The strategy that --strategy names; call it before TensorFlow computes anything.

    "mirrored" is every GPU or, without any, two logical devices on the CPU. "multiworker" waits for every process that
    TF_CONFIG names. Raises UsageError when the batch can't be divided evenly or TF_CONFIG is wrong.
    """
    if config.strategy == "mirrored":
        found = _mirrored()
    elif config.strategy == "multiworker":
        _task_index()
        found = tf.distribute.MultiWorkerMirroredStrategy()
    else:
        found = tf.distribute.get_strategy()
    if config.fine_tune and config.batch_size % found.num_replicas_in_sync:
        raise UsageError(
            f"--batch_size {config.batch_size} can't be divided by {found.num_replicas_in_sync} replicas, which would "
            "weigh images differently. Choose a multiple."
        )
    return found


def _mirrored() -> tf.distribute.Strategy:
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    if not tf.config.get_logical_device_configuration(cpu):
        try:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * CPU_REPLICAS)
        except RuntimeError as error:
            raise UsageError(
                "--strategy mirrored divides the CPU in two before TensorFlow computes anything, which in this process "
                "it has: start `python -m trainer` anew."
            ) from error
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    # On CPUs the sum of the gradients is a copy and an addition: NCCL is for GPUs.
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())


def _task_index() -> int:
    try:
        told = json.loads(os.environ["TF_CONFIG"])
        workers, task = told["cluster"]["worker"], told["task"]
        if set(told["cluster"]) != {"worker"} or task["type"] != "worker" or not 0 <= task["index"] < len(workers):
            raise ValueError("only workers, and an index of one of them")
        return task["index"]
    except (KeyError, ValueError, TypeError) as error:
        got = os.environ.get("TF_CONFIG", "nothing")
        raise UsageError(
            f"--strategy multiworker needs the environment variable TF_CONFIG, in each process with its own index, "
            f"such as {EXAMPLE}; got {got}."
        ) from error
