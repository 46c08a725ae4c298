"""tf.data options for every dataset of the project: no autotuner.

The end of an iteration waits for the autotuner's thread, which checks at intervals that double (10 ms, 20 ms, 40 ms
and so on): an iteration of 3.5 s often ends only after 5.1 s (TensorFlow 2.21). On two cores it has nothing to tune.
"""

from __future__ import annotations


def options():
    """Returns tf.data.Options without the autotuner."""
    import tensorflow as tf

    result = tf.data.Options()
    result.autotune.enabled = False
    return result
