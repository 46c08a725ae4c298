"""How every dataset of the project is read: without tf.data's autotuner, and streamed.

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


def read_config():
    """The same as tfds.ReadConfig, for `builder.as_dataset(read_config=...)`; no part of a dataset is kept in memory.

    TFDS would keep all of one below 250 MB.
    """
    import tensorflow_datasets as tfds

    return tfds.ReadConfig(options=options(), try_autocache=False)
