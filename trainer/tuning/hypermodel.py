"""The search space: from KerasTuner's hyperparameters to a recipe. The defaults are the tutorial's recipe."""

from __future__ import annotations

import dataclasses

import keras_tuner

from trainer.recipes import AUGMENTATIONS, CUTS, DECAYS, POOLINGS, SCALINGS, TUTORIAL, Recipe


def build_recipe(hp: keras_tuner.HyperParameters) -> Recipe:
    """Returns the recipe at a point of the space.

    Batch size and the number of augmented copies are not searched. A hyperparameter without effect (units of no hidden
    layer, keeping the original where nothing is augmented) is inactive, so that no two points are the same recipe.

    Example:
        >>> build_recipe(keras_tuner.HyperParameters()) == TUTORIAL
        True
    """
    augmentation = hp.Choice("augmentation", list(AUGMENTATIONS), default="rotation_15")
    keep_original, units, dropout = TUTORIAL.keep_original, TUTORIAL.units, TUTORIAL.dropout
    with hp.conditional_scope("augmentation", [name for name, policy in AUGMENTATIONS.items() if policy]):
        if AUGMENTATIONS[augmentation]:
            keep_original = hp.Boolean("keep_original", default=TUTORIAL.keep_original)
    depth = hp.Choice("depth", [0, 1, 2], default=TUTORIAL.depth)
    with hp.conditional_scope("depth", [1, 2]):
        if depth:
            units = hp.Choice("units", [16, 32, 64, 128, 256], default=TUTORIAL.units)
            dropout = hp.Float("dropout", 0.0, 0.75, step=0.25, default=TUTORIAL.dropout)
    return Recipe(
        scaling=hp.Choice("scaling", list(SCALINGS), default=TUTORIAL.scaling),
        cut=hp.Choice("cut", list(CUTS), default=TUTORIAL.cut),
        pooling=hp.Choice("pooling", list(POOLINGS), default=TUTORIAL.pooling),
        standardize=hp.Boolean("standardize", default=TUTORIAL.standardize),
        depth=depth,
        units=units,
        dropout=dropout,
        l2=hp.Choice("l2", [0.0, 1e-4, 1e-3, 1e-2], default=TUTORIAL.l2),
        learning_rate=hp.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=TUTORIAL.learning_rate),
        decay=hp.Choice("decay", list(DECAYS), default=TUTORIAL.decay),
        epochs=hp.Choice("epochs", [10, 25, 50, 100], default=TUTORIAL.epochs),
        augmentation=AUGMENTATIONS[augmentation],
        copies=TUTORIAL.copies,
        keep_original=keep_original,
        class_weights=hp.Boolean("class_weights", default=TUTORIAL.class_weights),
    )


def describe_space() -> dict:
    """Returns the space as JSON: a search continues only in the same space."""
    hp = keras_tuner.HyperParameters()
    build_recipe(hp)
    return {
        "hyperparameters": hp.get_config()["space"],
        "augmentations": {name: dataclasses.asdict(policy) for name, policy in AUGMENTATIONS.items()},
        "first": dataclasses.asdict(TUTORIAL),
    }
