import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features import backbone_features, pipelines
from trainer.features.backbone_features import Backbone, Features
from trainer.features.training_set import load_training_set
from trainer.models import heads, preprocessing, vgg16
from trainer.recipes import DEFAULT, TUTORIAL

ROWS = np.array([0, 15])


@pytest.fixture(scope="module")
def backbone():
    return Backbone.load("random", 42)


@pytest.fixture(scope="module")
def examples(phantom_folder):
    return load_training_set(Config(data=DatasetRequest(dataset=str(phantom_folder))))


@pytest.fixture
def cached(examples, backbone, tmp_path):
    return Features(examples, backbone, DEFAULT, 42, tmp_path)


@pytest.mark.parametrize("recipe", [DEFAULT, TUTORIAL])
def test_cached_features_and_full_model_agree(examples, backbone, tmp_path, recipe):
    cached = Features(examples, backbone, recipe, 42, tmp_path)
    head = cached.build_head()
    prepare, cut = preprocessing.build_preprocessing(recipe.scaling), vgg16.cut_backbone(backbone.network, recipe.cut)
    full = vgg16.assemble_model(prepare, cut, head)
    images = np.concatenate(list(pipelines.eval_pipeline(examples, ROWS, 2)))
    through_cache = heads.predict_probabilities(head.get_weights(), cached.pooled(ROWS, 1)[:, 0])
    np.testing.assert_allclose(full.predict(images, verbose=0), through_cache, atol=1e-5)


def test_a_second_reading_computes_nothing(cached, monkeypatch):
    first = cached.pooled(ROWS, 2)
    monkeypatch.setattr(backbone_features, "_forward", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(cached.pooled(ROWS, 2), first)


def test_features_do_not_depend_on_what_else_is_computed(cached, tmp_path):
    together = cached.pooled(ROWS, 3)
    elsewhere = dataclasses.replace(cached, folder=tmp_path / "elsewhere")
    alone = elsewhere.pooled(ROWS[1:], 3)
    np.testing.assert_array_equal(together[1:], alone)


@pytest.mark.parametrize("damage", ["flip", "truncate", "foreign", "empty"])
def test_a_damaged_or_foreign_file_is_computed_again(cached, damage):
    good = cached.pooled(ROWS, 1)
    path, other = cached.path(0, 0), cached.path(15, 0)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0xFF
    if damage == "foreign":
        content = other.read_bytes()
    path.write_bytes({"truncate": content[:-1000], "empty": b""}.get(damage, content))
    np.testing.assert_array_equal(cached.pooled(ROWS, 1), good)
    assert cached.read(0, 0, "block5_pool/average") is not None


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"recipe": dataclasses.replace(DEFAULT, scaling="unit")},
        {"recipe": dataclasses.replace(DEFAULT, augmentation=dataclasses.replace(DEFAULT.augmentation, rotation=5))},
        {"backbone": Backbone(None, "another")},
        {"backbone": Backbone(None, vgg16.hash_weights(vgg16.load_backbone("random", 42)), "bfloat16")},
    ],
)
def test_the_key_holds_all_that_decides_a_variant(cached, change):
    assert dataclasses.replace(cached, **change).path(0, 1) != cached.path(0, 1)


def test_the_original_is_shared_by_seeds_and_recipes_that_agree_on_it(cached):
    other = dataclasses.replace(cached, seed=1, recipe=dataclasses.replace(DEFAULT, pooling="max", units=8))
    assert other.path(0, 0) == cached.path(0, 0)


@pytest.mark.parametrize("cut", ["block4_pool", "block5_pool"])
@pytest.mark.parametrize("pooling", ["corner", "average", "max", "average_and_max"])
def test_one_pass_serves_every_cut_and_pooling(cached, monkeypatch, cut, pooling):
    cached.compute(ROWS, 2)
    monkeypatch.setattr(backbone_features, "_forward", lambda *_: pytest.fail("computed again"))
    other = dataclasses.replace(cached, recipe=dataclasses.replace(DEFAULT, cut=cut, pooling=pooling))
    pooled = other.pooled(ROWS, 2)
    wanted = heads.build_pooling(pooling, other.map_shape).predict(np.stack(list(other.maps(ROWS))), verbose=0)
    np.testing.assert_allclose(pooled[:, 0], wanted, rtol=1e-5, atol=1e-5)


def test_variants_differ_from_the_original_and_each_other(cached):
    pooled = cached.pooled(ROWS[:1], 3)[0]
    assert len({vector.tobytes() for vector in pooled}) == 3


def test_an_undecodable_image_is_named(examples, backbone, tmp_path):
    encoded = list(examples.read(np.arange(len(examples))))
    encoded[3] = b"not an image"
    spoiled = dataclasses.replace(
        examples,
        read=lambda rows: (encoded[row] for row in rows),
        sha256=np.asarray([f"spoiled-{i}" for i in range(len(examples))]),
    )
    with pytest.raises(UsageError) as error:
        Features(spoiled, backbone, DEFAULT, 42, tmp_path).compute(np.arange(2, 6), 1)
    assert spoiled.image_id[3] in str(error.value)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert backbone_features.default_folder() == tmp_path / "covid_tfds" / "features"
    assert keras.config.floatx() == "float32"


def test_bfloat16_features_are_near_float32_ones(examples, backbone, tmp_path):
    exact = Features(examples, backbone, DEFAULT, 42, tmp_path).pooled(ROWS, 1)
    twin = dataclasses.replace(backbone, precision="bfloat16")
    rounded = Features(examples, twin, DEFAULT, 42, tmp_path).pooled(ROWS, 1)
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(rounded, exact, atol=0.03 * exact.max())


def test_bfloat16_is_refused_where_the_cpu_lacks_it(monkeypatch):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: "flags : fpu sse avx2")
    with pytest.raises(UsageError, match="AVX512-BF16"):
        Backbone.load("random", 42, "bfloat16")


def test_thumbnails_are_grey_means(tmp_path):
    for name, grey in (("covid", 200), ("normal", 50)):
        (tmp_path / name).mkdir()
        picture = Image.new("L", (448, 448), 10)
        picture.paste(grey, (0, 0, 14, 448))  # the leftmost column of 32
        picture.save(tmp_path / name / "0.png")
    examples = load_examples(DatasetRequest(dataset=str(tmp_path)))
    (images,) = pipelines.eval_pipeline(examples, np.arange(2), 8)
    thumbnails = backbone_features.thumbnails(images).numpy()
    assert thumbnails.shape == (2, 32, 32)
    np.testing.assert_allclose(thumbnails[:, :, 0], [[200] * 32, [50] * 32], atol=0.5)
    np.testing.assert_allclose(thumbnails[:, :, 1:], 10, atol=0.5)
