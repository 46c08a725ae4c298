"""tf.data's options for every dataset of the project.

Ending an iteration waits for the autotuner's thread, which sleeps 10 ms, 20 ms, 40 ms and so on between two looks: an
iteration of 3.5 s often ends only after 5.1 s (TensorFlow 2.21). Two cores leave it nothing to find out.
"""

from __future__ import annotations


def options():
    """tf.data.Options without the autotuner."""
    import tensorflow as tf

    result = tf.data.Options()
    result.autotune.enabled = False
    return result
