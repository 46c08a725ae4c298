import inspect

import keras
import numpy as np
import pytest
from keras.src.applications import vgg16 as vgg16_of_keras

from covid_tfds.common.errors import UsageError
from trainer.features.backbone_features import Backbone
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import DEFAULT, TUTORIAL, Recipe
from trainer.run_folder.environment import Weights


@pytest.fixture(scope="module")
def backbone():
    return vgg16.load_backbone("random", 42)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    made = vgg16.load_backbone("random", 7)
    # Keras's published file is in its legacy layout, one group a layer.
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, made)
    return path


def test_caffe_scaling_is_keras_preprocess_input():
    image = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    wanted = keras.applications.vgg16.preprocess_input(image.copy())
    np.testing.assert_allclose(preprocessing.build_preprocessing("caffe")(image), wanted, atol=1e-4)


def test_unit_scaling():
    image = np.full((1, 300, 200, 3), 255, dtype=np.float32)
    np.testing.assert_allclose(preprocessing.build_preprocessing("unit")(image), np.ones((1, 224, 224, 3)), atol=1e-6)


def test_resizing_is_bilinear_without_antialias():
    import tensorflow as tf

    image = np.random.default_rng(0).uniform(0, 255, (1, 500, 301, 3)).astype(np.float32)
    wanted = tf.image.resize(image, (224, 224), method="bilinear", antialias=False) / 255
    np.testing.assert_allclose(preprocessing.build_preprocessing("unit")(image), wanted, atol=1e-6)


def test_random_weights_come_from_the_seed_and_do_not_vanish(backbone):
    assert vgg16.hash_weights(backbone) == vgg16.hash_weights(vgg16.load_backbone("random", 42))
    assert vgg16.hash_weights(backbone) != vgg16.hash_weights(vgg16.load_backbone("random", 43))
    noise = np.random.default_rng(0).uniform(0, 1, (1, 224, 224, 3)).astype(np.float32)
    assert np.asarray(backbone(noise)).std() > 0.05


def test_the_backbone_is_frozen(backbone):
    assert backbone.trainable_weights == []


def test_weights_file_in_keras_layout(weights_file):
    loaded = vgg16.load_backbone(str(weights_file), 42)
    assert vgg16.hash_weights(loaded) == vgg16.hash_weights(vgg16.load_backbone("random", 7))


def test_wrong_weights_files_are_refused_with_what_was_expected(tmp_path, weights_file):
    import h5py

    text = tmp_path / "weights.h5"
    text.write_text("<html>404</html>")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.create_dataset("x", data=np.zeros(3))
    cut = tmp_path / "cut.h5"
    cut.write_bytes(weights_file.read_bytes()[:100_000])
    for path in (text, other, cut, tmp_path / "weights.bin"):
        path.touch()
        with pytest.raises(UsageError, match="vgg16_weights_tf_dim_ordering_tf_kernels_notop") as error:
            vgg16.load_backbone(str(path), 42)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_imagenet_without_a_network_names_the_other_choices(monkeypatch):
    def unreachable(*args, **kwargs):
        raise Exception("URL fetch failure on the weights: None -- name resolution")

    monkeypatch.setattr("keras.src.applications.vgg16.file_utils.get_file", unreachable)
    with pytest.raises(UsageError, match=r"--weights FILE.*--weights random") as error:
        vgg16.load_backbone("imagenet", 42)
    for part in (vgg16.WEIGHTS_FILE, "58889256 bytes", "6d6bbae143d832006294945121d1f1fc"):
        assert part in str(error.value)


def test_the_md5_and_the_name_are_those_that_keras_downloads():
    source = inspect.getsource(vgg16_of_keras)
    assert vgg16.WEIGHTS_MD5 in source
    assert f'"{vgg16.WEIGHTS_FILE}"' in source


def test_imagenet_weights_are_recognized_wherever_the_file_lies(imagenet_weights, tmp_path):
    link = tmp_path / "some name.h5"
    link.symlink_to(imagenet_weights)
    loaded = Backbone.load(str(link), 42)
    assert loaded.weights == Weights("ImageNet", vgg16.IMAGENET_SHA256, trained=True)


def test_other_weights_are_named_as_their_file(weights_file):
    weights = Backbone.load(str(weights_file), 42).weights
    assert (weights.name, weights.trained) == (weights_file.name, True)


@pytest.mark.parametrize("recipe", [DEFAULT, TUTORIAL, Recipe(depth=0), Recipe(depth=2, cut="block4_pool")])
def test_saved_and_loaded_model_answers_alike(recipe, backbone, tmp_path):
    cut = vgg16.cut_backbone(backbone, recipe.cut)
    head = heads.build_head(recipe, cut.output_shape[1:], classes=2, seed=1)
    full = vgg16.assemble_model(preprocessing.build_preprocessing(recipe.scaling), cut, head)
    full.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.random.default_rng(0).uniform(0, 255, (1, 120, 90, 3)).astype(np.float32)
    answer = full.predict(image, verbose=0)
    assert answer.shape == (1, 2)
    np.testing.assert_allclose(loaded.predict(image, verbose=0), answer, atol=1e-6)
    assert [layer.name for layer in loaded.layers[1:]] == ["preprocessing", "backbone", "head"]
    assert not any("Lambda" in type(layer).__name__ for part in loaded.layers[1:] for layer in part.layers)
