import dataclasses

import keras_tuner
import pytest

from trainer.recipes import CUTS, DECAYS, POOLINGS, SCALINGS, TUTORIAL
from trainer.tuning import hypermodel


def space() -> keras_tuner.HyperParameters:
    """Every hyperparameter, conditional ones included."""
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=keras_tuner.Objective("score", "max"), seed=1)
    hp = keras_tuner.HyperParameters()
    hypermodel.build_recipe(hp)
    oracle.update_space(hp)
    return oracle.get_space()


def random_points(count):
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("score", "max"), seed=1, hyperparameters=space()
    )
    for _ in range(count):
        hp = oracle.get_space()
        hp.values = oracle._random_values()
        yield hp, hypermodel.build_recipe(hp)


def test_the_defaults_are_the_tutorials_point():
    assert hypermodel.build_recipe(keras_tuner.HyperParameters()) == TUTORIAL


def test_the_space_reaches_every_choice():
    recipes = [recipe for _, recipe in random_points(200)]
    for name, wanted in {"pooling": POOLINGS, "scaling": SCALINGS, "cut": CUTS, "decay": DECAYS}.items():
        assert {getattr(recipe, name) for recipe in recipes} == set(wanted)
    assert {recipe.augmentation for recipe in recipes} == set(hypermodel.AUGMENTATIONS.values())
    assert {recipe.depth for recipe in recipes} == {0, 1, 2}
    for name in ("units", "dropout", "l2", "learning_rate", "epochs", "standardize", "keep_original"):
        assert len({getattr(recipe, name) for recipe in recipes}) > 1


@pytest.mark.parametrize(("parent", "off", "children"), [("depth", 0, ("units", "dropout"))])
def test_what_has_no_effect_is_inactive(parent, off, children):
    seen = [hp for hp, _ in random_points(50) if hp[parent] == off]
    assert seen
    assert not any(child in hp for hp in seen for child in children)


def test_no_original_is_asked_for_where_nothing_is_augmented():
    plain = [hp for hp, recipe in random_points(80) if not recipe.augmentation]
    assert plain
    assert not any("keep_original" in hp for hp in plain)


def test_every_field_of_a_recipe_is_searched_or_fixed_on_purpose():
    varied = {
        field.name
        for field in dataclasses.fields(TUTORIAL)
        if len({getattr(recipe, field.name) for _, recipe in random_points(100)}) > 1
    }
    assert {field.name for field in dataclasses.fields(TUTORIAL)} - varied == {"batch_size", "copies"}
