import dataclasses
import hashlib

import keras
import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features import backbone_features, forward, pipelines
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


@pytest.fixture
def no_pass(monkeypatch):
    """Call it: from then on a forward pass fails the test."""
    return lambda: monkeypatch.setattr(forward, "build_forward", lambda *_, **__: pytest.fail("computed again"))


def test_a_second_reading_computes_nothing(cached, no_pass):
    first = cached.pooled(ROWS, 2)
    no_pass()
    np.testing.assert_array_equal(cached.pooled(ROWS, 2), first)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_workers_batches_and_constants_change_no_bit(cached, backbone, tmp_path, monkeypatch, precision):
    rows = np.arange(5)

    def computed(workers, batch=forward.BATCH, freeze_from=forward.FREEZE_FROM):
        monkeypatch.setattr(forward, "BATCH", batch)
        monkeypatch.setattr(forward, "FREEZE_FROM", freeze_from)
        monkeypatch.setattr(forward, "read_cpu_flags", lambda: {"amx_bf16"})
        own = dataclasses.replace(backbone, workers=workers, precision=precision)
        folder = tmp_path / f"{workers}-{batch}-{freeze_from}"
        return dataclasses.replace(cached, backbone=own, folder=folder).pooled(rows, 2)

    wanted = computed(1)
    for other in (computed(2), computed(4, batch=1), computed(2, batch=8, freeze_from=0)):
        np.testing.assert_array_equal(other, wanted)


def test_features_do_not_depend_on_what_else_is_computed(cached, tmp_path):
    together = cached.pooled(ROWS, 3)
    elsewhere = dataclasses.replace(cached, folder=tmp_path / "elsewhere")
    alone = elsewhere.pooled(ROWS[1:], 3)
    np.testing.assert_array_equal(together[1:], alone)


def shards_of(cached):
    return sorted(cached.folder.rglob("*.npz"))


def test_a_damaged_shard_is_computed_again(cached, capsys):
    good = cached.pooled(ROWS, 2)
    path = shards_of(cached)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    np.testing.assert_array_equal(cached.pooled(ROWS, 2), good)
    assert str(path) in capsys.readouterr().err
    assert len(shards_of(cached)) == 2


def test_images_with_the_same_bytes_are_computed_once(cached, tmp_path):
    twice = cached.examples.subset(np.array([3, 7, 3]))
    own = dataclasses.replace(cached, examples=twice, folder=tmp_path / "twice")
    assert own.compute(np.arange(3), 1) == 2
    pooled = own.pooled(np.arange(3), 1)
    np.testing.assert_array_equal(pooled[0], pooled[2])
    assert not np.array_equal(pooled[0], pooled[1])


def test_a_pass_takes_at_most_25_kb_and_many_are_one_file(cached):
    rows = np.arange(7)
    for own in (cached, dataclasses.replace(cached, for_search=True, folder=cached.folder / "search")):
        own.compute(rows, 3)
        files = sorted(own.folder.rglob("*.npz"))
        assert sum(path.stat().st_size for path in files) <= 25_000 * 21
        assert len(files) == 3


def test_an_image_that_changes_while_it_is_read_is_refused(cached):
    encoded = list(cached.examples.read(np.arange(20)))
    encoded[15] = encoded[14]
    changed = dataclasses.replace(cached.examples, read=lambda rows: (encoded[row] for row in rows))
    for how in (
        lambda: dataclasses.replace(cached, examples=changed).pooled(ROWS, 2),
        lambda: read_through_tf_data(changed),
    ):
        with pytest.raises(UsageError, match="has changed") as error:
            how()
        assert changed.image_id[15] in str(error.value)
    assert shards_of(cached) == []


def read_through_tf_data(examples):
    with pipelines.naming_undecodable(examples):
        list(pipelines.eval_pipeline(examples, ROWS, 2))


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
    assert dataclasses.replace(cached, **change).key(1) != cached.key(1)


def test_the_original_is_shared_by_seeds_and_recipes_that_agree_on_it(cached):
    other = dataclasses.replace(cached, seed=1, recipe=dataclasses.replace(DEFAULT, pooling="max", units=8))
    assert other.key(0) == cached.key(0)


@pytest.mark.parametrize("cut", ["block4_pool", "block5_pool"])
@pytest.mark.parametrize("pooling", ["corner", "average", "max", "average_and_max"])
def test_the_passes_of_a_search_serve_every_cut_and_pooling(cached, no_pass, cut, pooling):
    dataclasses.replace(cached, for_search=True).compute(ROWS, 2)
    other = dataclasses.replace(cached, recipe=dataclasses.replace(DEFAULT, cut=cut, pooling=pooling))
    maps = other.maps(ROWS)
    np.testing.assert_array_equal(np.stack(list(other.stream_maps(ROWS))), maps)
    side = maps.shape[1]
    halves = slice(0, (side + 1) // 2), slice(side // 2, side)
    quarters = np.concatenate([maps[:, r, c].mean((1, 2)) for r in halves for c in halves], axis=1)
    np.testing.assert_allclose(other.quarters(ROWS), quarters, rtol=1e-5, atol=1e-5)
    no_pass()
    pooled = other.pooled(ROWS, 2)
    wanted = heads.build_pooling(pooling, other.map_shape).predict(maps, verbose=0)
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
        sha256=np.asarray([hashlib.sha256(content).hexdigest() for content in encoded]),
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


@pytest.mark.parametrize(("flags", "chosen"), [("avx512_bf16", "float32"), ("avx512_bf16 amx_bf16", "bfloat16")])
def test_auto_takes_bfloat16_where_there_is_amx(monkeypatch, flags, chosen):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: f"flags : fpu sse {flags}")
    assert vgg16.choose_precision("auto") == chosen


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
    thumbnails = forward.thumbnails(images).numpy()
    assert thumbnails.shape == (2, 32, 32)
    np.testing.assert_allclose(thumbnails[:, :, 0], [[200] * 32, [50] * 32], atol=0.5)
    np.testing.assert_allclose(thumbnails[:, :, 1:], 10, atol=0.5)
