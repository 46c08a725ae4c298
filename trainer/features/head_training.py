"""Train a run's head over the frozen backbone, and assemble the full model.

The default way trains on features computed once. The tutorial's way runs the whole network on newly augmented images in
every epoch.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import to_json
from trainer.config import Config
from trainer.features import pipelines
from trainer.features.backbone_features import Features
from trainer.models import heads, preprocessing, vgg16
from trainer.models.head_fitting import DivergedError, Fold, fit_heads
from trainer.models.tutorial_fit import fit_tutorial
from trainer.run_folder import file_names
from trainer.run_folder.environment import describe_environment
from trainer.run_folder.keras_file import save_model


def train_head(features: Features, config: Config, folder: Path) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains the head and returns it with one dict of metrics per epoch.

    Args:
        features: Decide the recipe, the images and the backbone.
        config: Whether to train the tutorial's way, and whether to record a profile.
        folder: Gets the tutorial's checkpoint, the profile, and the last good model if the loss diverges.

    Raises:
        UsageError: If the loss diverges or an image can't be decoded.
    """
    try:
        with _profiled(folder) if config.profile else contextlib.nullcontext():
            if config.recipe == "default":
                return train_on_features(features)
            environment = describe_environment(config, features.examples, features.recipe, features.backbone.weights)
            return train_on_images(features, folder / file_names.EPOCHS, to_json(environment))
    except DivergedError as error:
        if error.weights is None:
            raise
        head = features.build_head()
        head.set_weights(error.weights[0])
        path = folder / file_names.LAST_GOOD
        save_model(build_model(features, head), path)
        raise UsageError(f"{error} The model as it was an epoch earlier is kept in {path}.") from error


def train_on_features(features: Features) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains the head on features computed once."""
    examples, recipe = features.examples, features.recipe
    # Also the test split's augmented copies: the cross-validation needs them next, and one pass over all is quicker.
    pooled = features.pooled(np.arange(len(examples)), recipe.variants)
    fold = Fold(examples.rows("train"), examples.rows("test"))
    fitted = fit_heads(recipe, pooled, features.targets, [fold], features.seed)
    head = features.build_head()
    head.set_weights(fitted.weights[0])
    return head, [{name: float(value[0]) for name, value in epoch.items()} for epoch in fitted.history]


def train_on_images(features: Features, checkpoint: Path, about: dict) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains the head the tutorial's way; see `tutorial_fit.fit_tutorial`."""
    examples, recipe = features.examples, features.recipe
    train, test = examples.rows("train"), examples.rows("test")
    head = features.build_head()
    images = pipelines.train_pipeline(examples, train, recipe.augmentation, recipe.batch_size, features.seed)
    targets = tf.data.Dataset.from_tensor_slices(features.targets[test]).batch(recipe.batch_size)
    held_out = tf.data.Dataset.zip(pipelines.eval_pipeline(examples, test, recipe.batch_size), targets)
    with pipelines.naming_undecodable(examples):
        history = fit_tutorial(
            build_model(features, head),
            head,
            recipe,
            train=images,
            steps=-(-len(train) // recipe.batch_size),
            test=held_out.cache(),
            checkpoint=checkpoint,
            about=about,
        )
    return head, history


def predict_probabilities(features: Features, head: keras.Model) -> np.ndarray:
    """Returns the head's probabilities of every image, float64 [n, classes]."""
    pooled = features.pooled(np.arange(len(features.examples)), 1)[:, 0]
    return heads.predict_probabilities(head.get_weights(), pooled)


def build_model(features: Features, head: keras.Model) -> keras.Model:
    """Returns the full model of a run: preprocessing layers, frozen backbone, head."""
    backbone = vgg16.cut_backbone(features.backbone.network, features.recipe.cut)
    return vgg16.assemble_model(preprocessing.build_preprocessing(features.recipe.scaling), backbone, head)


def _profiled(folder: Path) -> contextlib.AbstractContextManager:
    """Records the block for TensorBoard's Profile plugin."""
    return tf.profiler.experimental.Profile(str(folder / file_names.TENSORBOARD / "train"))
