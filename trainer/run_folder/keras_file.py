"""Save model.keras, and load it with allow-listed layers: some others execute code or read files."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from covid_tfds.common import cli
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic

CONFIG = "config.json"
MAX_BYTES = 10 << 20  # of the config; a run's has 30 kB
# All that a run's model is made of. Keras's safe_mode refuses code, too, but not every layer that reads files.
ALLOWED = {
    *("Functional", "Sequential", "InputLayer", "Resizing", "Rescaling", "Conv2D", "MaxPooling2D", "AveragePooling2D"),
    *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "Concatenate", "Flatten", "Dense", "Dropout"),
    *("GlorotUniform", "HeNormal", "Zeros", "L2", "DTypePolicy", "__keras_tensor__"),
}


def load_model(path: Path):
    """Returns a run's model.keras as a Keras model, not compiled.

    Args:
        path: The file.

    Raises:
        UsageError: If it is damaged, or holds a layer or object that no run has, such as a Lambda layer.
    """
    try:
        unexpected = sorted({name for name in _class_names(_config(path)) if name not in ALLOWED})
    except (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} can't be read as a Keras model: {error}. Restore it or train again.") from error
    if unexpected:
        raise UsageError(
            f"{path} is refused: it holds {', '.join(unexpected)[:200]}, which no run of `python -m trainer` has and "
            "which could run code or read files. Use a model that you trained."
        )
    import keras

    try:
        # Keras would turn Ctrl-C into an exception of its own, and the message would blame the file.
        with cli.held():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, h5py and keras raise many kinds for a damaged or foreign file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"{path} can't be read as a Keras model: {reason} Restore it or train again.") from error


def save_model(model, path: Path) -> None:
    """Writes a Keras model in one step."""
    with atomic(path) as temporary:
        model.save(temporary)


def _config(path: Path):
    with zipfile.ZipFile(path) as archive, archive.open(CONFIG) as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"its {CONFIG} is larger than {MAX_BYTES >> 20} MB")
    return json.loads(text)


def _class_names(config) -> Iterator[str]:
    """The names, own and registered, of everything in a config that Keras would make an object of."""
    if isinstance(config, dict):
        for key in ("registered_name", "class_name"):
            if config.get(key) is not None:
                yield str(config[key])
        for value in config.values():
            yield from _class_names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_names(value)
