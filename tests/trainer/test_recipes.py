from trainer import recipes
from trainer.config import Config


def test_the_tutorial_to_the_letter():
    recipe = recipes.choose_recipe(Config(recipe="tutorial"), 40)
    assert (recipe.scaling, recipe.pooling, recipe.cut) == ("unit", "corner", "block5_pool")
    assert (recipe.depth, recipe.units, recipe.dropout, recipe.l2, recipe.standardize) == (1, 64, 0.5, 0.0, False)
    assert (recipe.learning_rate, recipe.decay, recipe.epochs, recipe.batch_size) == (1e-3, "inverse_time", 25, 8)
    assert recipe.augmentation == recipes.Augmentation(rotation=15.0)
    assert 0 not in recipe.training_variants


def test_the_default_reads_the_whole_map_as_the_weights_expect():
    assert (recipes.DEFAULT.scaling, recipes.DEFAULT.pooling) == ("caffe", "average")
    assert list(recipes.DEFAULT.training_variants) == [0, 1, 2]


def test_without_augmentation_there_is_only_the_original():
    recipe = recipes.Recipe(augmentation=recipes.Augmentation(), keep_original=False)
    assert recipe.variants == 1
    assert list(recipe.training_variants) == [0]


def test_many_training_images_are_not_augmented_by_default():
    tutorial = Config(recipe="tutorial")
    assert recipes.choose_recipe(Config(), recipes.MOST_AUGMENTED).variants == 3
    assert recipes.choose_recipe(Config(), recipes.MOST_AUGMENTED + 1).variants == 1
    assert recipes.choose_recipe(tutorial, recipes.MOST_AUGMENTED + 1).variants == 3
