"""Train the 2020 tutorial's recipe in one process, as anyone would run it today: the alternative.

    python -m trainer.benchmark.tutorial FOLDER [EPOCHS]

All images in memory, the whole network in every epoch, validation on the test images. Imports nothing of this
project.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split


def main(folder: Path, epochs: int) -> None:
    """Trains on FOLDER/<class>/* and prints the tutorial's report."""
    paths = sorted(folder.glob("*/*"))
    images = np.stack([np.asarray(Image.open(p).convert("RGB").resize((224, 224)), np.float32) / 255 for p in paths])
    names = sorted({path.parent.name for path in paths})
    labels = keras.utils.to_categorical([names.index(path.parent.name) for path in paths], 2)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=42)

    rotate = keras.layers.RandomRotation(15 / 360, fill_mode="nearest", seed=42)
    train = tf.data.Dataset.from_tensor_slices((train_x, train_y)).shuffle(len(train_x), seed=42).batch(8)
    train = train.map(lambda x, y: (rotate(x, training=True), y)).prefetch(tf.data.AUTOTUNE)

    # No weights can be downloaded everywhere a benchmark runs, and their values do not change the time.
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(224, 224, 3))
    base.trainable = False
    x = keras.layers.AveragePooling2D((4, 4))(base.output)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.Dropout(0.5)(x))
    model = keras.Model(base.input, x)
    decay = keras.optimizers.schedules.InverseTimeDecay(1e-3, decay_steps=1, decay_rate=1e-3 / 25)
    model.compile(keras.optimizers.Adam(decay), loss="categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=(test_x, test_y), validation_batch_size=8, epochs=epochs, shuffle=False, verbose=2)
    decided = model.predict(test_x, batch_size=8, verbose=0).argmax(1)
    print(classification_report(test_y.argmax(1), decided, target_names=names, zero_division=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 25)
