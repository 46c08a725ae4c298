"""Training that goes on at the epoch where it was stopped, and ends as if it had not been: its state is on disk."""

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


class Epochs(keras.callbacks.Callback):
    """Keeps every epoch's figures and, on disk, all state: weights, optimizer, dropout's generators.

    history: one dict an epoch, those of an earlier process included. Keras's own BackupAndRestore writes weights and
    epoch one after the other, so that a kill between them trains an epoch twice, and knows neither history nor dropout.
    """

    def __init__(self, path: Path, about: dict, head: keras.Model, optimizer: keras.Optimizer):
        """path: the file. about: what must be the same for its content to be of use, as JSON."""
        super().__init__()
        self.history: list[dict] = []
        self._path, self._about = path, json.dumps(about, sort_keys=True)
        self._state = [*head.variables, *optimizer.variables]

    def go_on(self, images: tf.data.Dataset) -> int:
        """Take over what an earlier process has left, and return how many epochs it had done.

        images: the training pipeline; its shuffling and augmentation are wound on to where that process was. Raises
        UsageError when the file is another training's.
        """
        if not self._path.exists():
            return 0
        try:
            with np.load(self._path) as stored:
                about, history = str(stored["about"]), json.loads(str(stored["history"]))
                state = [stored[str(index)] for index in range(len(self._state))]
        except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
            print(f"{self._path} is damaged ({error}): training begins anew.", file=sys.stderr)
            return 0
        if about != self._about:
            raise UsageError(
                f"{self._path.parent} holds {len(history)} epochs of another training: other flags, images or package "
                "versions. Give the command that it began with, choose another --output, or remove it to start over."
            )
        for variable, value in zip(self._state, state, strict=True):
            variable.assign(value)
        self.history = history
        for _ in history:
            collections.deque(images, maxlen=0)
            iter(images)  # Keras starts it once more at the end of an epoch, which moves the shuffling's seed
        print(f"Going on after epoch {len(history)}.", file=sys.stderr)
        return len(history)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the epoch, in one step."""
        self.history.append({**logs, "learning_rate": float(self.model.optimizer.learning_rate)})
        state = {str(index): variable.numpy() for index, variable in enumerate(self._state)}
        with atomic(self._path) as temporary:
            np.savez(temporary, about=self._about, history=json.dumps(self.history), **state)
