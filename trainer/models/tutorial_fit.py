"""Train a head the tutorial's way: the whole network runs on newly augmented images in every epoch."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from trainer.models.checkpoints import EpochCheckpoint
from trainer.models.head_fitting import learning_rate_schedule
from trainer.recipes import Recipe


def fit_tutorial(
    network: keras.Model,
    head: keras.Model,
    recipe: Recipe,
    train: tf.data.Dataset,
    steps: int,
    test: tf.data.Dataset,
    checkpoint: Path,
    about: dict,
) -> list[dict[str, float]]:
    """Trains the head inside the network, from the checkpoint if there is one, and returns the epochs' metrics.

    Args:
        network: The full model; the head is its only trainable part.
        head: Its head.
        recipe: The recipe.
        train: Batches of augmented images and one-hot targets, shuffled again in each epoch.
        steps: Number of batches in an epoch.
        test: Batches of images and one-hot targets, evaluated after each epoch.
        checkpoint: File that holds the state after each epoch.
        about: What the training depends on, as JSON; a checkpoint of another training is refused.

    Raises:
        DivergedError: If a loss or weight is not finite.
        UsageError: If the checkpoint belongs to another training.
    """
    classes = head.output_shape[-1]
    optimizer = keras.optimizers.Adam(learning_rate_schedule(recipe, steps))
    only_positive = [1.0] + [0.0] * (classes - 1)
    auroc = keras.metrics.AUC(name="auroc", multi_label=True, num_labels=classes, label_weights=only_positive)
    # The tutorial says binary_crossentropy; on softmax outputs that was this loss (see head_fitting.py).
    network.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy", auroc])
    optimizer.build(network.trainable_variables)
    epochs = EpochCheckpoint(checkpoint, about, head, optimizer, recipe)
    done = epochs.restore(train)
    network.fit(
        train,
        validation_data=test,
        initial_epoch=done,
        epochs=recipe.epochs,
        shuffle=False,  # the pipeline shuffles
        verbose=2,
        callbacks=[epochs],
    )
    return epochs.history
