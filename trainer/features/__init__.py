"""From examples to backbone features: tf.data pipelines and the feature cache."""
