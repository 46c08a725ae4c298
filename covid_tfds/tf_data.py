"""TensorFlow's threads, and tf.data options for every dataset of the project: no autotuner.

The end of an iteration waits for the autotuner's thread, which checks at intervals that double (10 ms, 20 ms, 40 ms
and so on): an iteration of 3.5 s often ends only after 5.1 s (TensorFlow 2.21). On two cores it has nothing to tune.
"""

from __future__ import annotations

import contextlib

from covid_tfds.common import cores


def options():
    """Returns tf.data.Options without the autotuner."""
    import tensorflow as tf

    result = tf.data.Options()
    result.autotune.enabled = False
    return result


def limit_threads(threads: int | None) -> None:
    """Sets the threads of TensorFlow and of `count_threads`; to be called before TensorFlow computes anything."""
    import tensorflow as tf

    cores.limit_threads(threads)
    with contextlib.suppress(RuntimeError):  # a process that has computed keeps what it has
        tf.config.threading.set_intra_op_parallelism_threads(cores.count_threads())
