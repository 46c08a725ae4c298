"""Resume a training at the epoch where it was stopped, so that it ends as if it had not been stopped."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic
from trainer.models.head_fitting import DivergedError, describe_divergence
from trainer.recipes import Recipe


class EpochCheckpoint(keras.callbacks.Callback):
    """Keeps each epoch's metrics and, on disk, all state: weights, optimizer, dropout's generators.

    Keras's BackupAndRestore writes weights and epoch one after the other, so that a kill between them trains an epoch
    twice, and it keeps neither metrics nor dropout's generators. Keras's TerminateOnNaN raises no error and does not
    look at weights; this callback raises DivergedError after an epoch whose loss or weights are not finite.

    Args:
        path: The file that holds the state.
        about: What the training depends on, as JSON; the file is of use only to the same training.
        head: The part of the model that is trained.
        optimizer: Its optimizer, built.
        recipe: The recipe of the training.

    Attributes:
        history: One dict per epoch, also those of an earlier process.
    """

    def __init__(self, path: Path, about: dict, head: keras.Model, optimizer: keras.Optimizer, recipe: Recipe):
        super().__init__()
        self.history: list[dict] = []
        self._path, self._about = path, json.dumps(about, sort_keys=True)
        self._head, self._recipe = head, recipe
        self._state = [*head.variables, *optimizer.variables]
        self._finite: list[list[np.ndarray]] | None = None  # the head's weights after the last epoch

    def restore(self, images: tf.data.Dataset) -> int:
        """Restores what an earlier process has left, and returns how many epochs it had done.

        Args:
            images: The training pipeline; its shuffling and augmentation are advanced to where that process was.

        Raises:
            UsageError: If the file belongs to another training.
        """
        if not self._path.exists():
            return 0
        try:
            with self._path.open("rb") as file, np.load(file) as stored:
                about, history = str(stored["about"]), json.loads(str(stored["history"]))
                state = [stored[str(index)] for index in range(len(self._state))]
        except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
            print(f"{self._path} is damaged ({error}): training starts from the beginning.", file=sys.stderr)
            return 0
        if about != self._about:
            raise UsageError(
                f"{self._path.parent} holds {len(history)} epochs of another training: other flags, images or package "
                "versions. Give the command that started it, choose another --output, or remove it to start over."
            )
        for variable, value in zip(self._state, state, strict=True):
            variable.assign(value)
        self.history, self._finite = history, [self._head.get_weights()]
        for _ in history:
            collections.deque(images, maxlen=0)
            iter(images)  # Keras starts it once more at the end of an epoch, which moves the shuffling's seed
        print(f"Continuing after epoch {len(history)}.", file=sys.stderr)
        return len(history)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Writes the epoch in one step, or raises DivergedError."""
        weights = self._head.get_weights()
        if not (np.isfinite(logs["loss"]) and all(np.isfinite(array).all() for array in weights)):
            raise DivergedError(describe_divergence(epoch, self._recipe), self._finite)
        self._finite = [weights]
        self.history.append({**logs, "learning_rate": float(self.model.optimizer.learning_rate)})
        state = {str(index): variable.numpy() for index, variable in enumerate(self._state)}
        with atomic(self._path) as temporary:
            np.savez(temporary, about=self._about, history=json.dumps(self.history), **state)
