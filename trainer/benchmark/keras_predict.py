"""Predict image files with model.keras in TensorFlow: the alternative to `export.predict`.

python -m trainer.benchmark.keras_predict MODEL IMAGES       an image file or a folder of them
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf


def main(model: str, images: Path) -> None:
    """Prints each file's probability of the positive class."""
    files = [str(path) for path in (sorted(images.iterdir()) if images.is_dir() else [images])]
    network = keras.models.load_model(model, safe_mode=True)

    def decode(file):
        image = tf.io.decode_image(tf.io.read_file(file), channels=3, expand_animations=False)
        return tf.image.resize(tf.cast(image, tf.float32), (224, 224))

    dataset = tf.data.Dataset.from_tensor_slices(files).map(decode, num_parallel_calls=tf.data.AUTOTUNE).batch(8)
    for file, (p_positive, _) in zip(files, network.predict(dataset, verbose=0), strict=True):
        print(file, p_positive)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
