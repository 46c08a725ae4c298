import io

import numpy as np
import pytest
from PIL import Image

from tests.fakes.examples import make_examples
from trainer import recipes
from trainer.features.backbone_features import Features
from trainer.run_folder.typicality import join_features
from trainer.validation import typicality


def encode(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def features(tiny, drawn_images, tmp_path_factory):
    """Eight drawn radiographs to train on, and two images to test on: noise, and a radiograph that was trained on."""
    images = [np.asarray(image.convert("RGB").resize((96, 80))) for image in drawn_images]
    images[9] = images[3]
    images[8] = np.random.default_rng(0).integers(0, 256, images[8].shape, np.uint8)
    patients = np.asarray(["p0", "p0", *(f"p{number}" for number in range(2, 10))])
    split = np.asarray(["train"] * 8 + ["test"] * 2)
    examples = make_examples([0, 1] * 5, [encode(image) for image in images], patient_id=patients, split=split)
    return Features(examples, tiny, recipes.DEFAULT, seed=42, folder=tmp_path_factory.mktemp("features"))


def test_the_reference_holds_unit_vectors_of_the_training_images(features):
    reference = typicality.build_reference(features)
    assert reference.image_id.tolist() == [f"image-{row}" for row in range(8)]
    assert reference.patient[:3].tolist() == [0, 0, 1]
    assert reference.features.shape == (8, 4 * features.map_shape[-1] + 16 * 16 + 1)
    np.testing.assert_allclose(np.linalg.norm(reference.features.astype(float), axis=1), 1, atol=1e-3)
    assert reference.level == pytest.approx(1 / 8)


def test_noise_is_the_least_typical_test_image(features):
    result, drawn = typicality.measure_typicality(features, typicality.build_reference(features))
    noise, radiograph = result.images
    assert (noise.image_id, radiograph.image_id) == ("image-8", "image-9")
    assert (noise.declined, radiograph.declined, result.declined) == (True, False, 1)
    assert noise.typicality == pytest.approx(1 / 8)
    assert noise.distance > 3 * radiograph.distance
    assert (radiograph.nearest.image_id, radiograph.nearest.label) == ("image-3", "normal")
    assert len(result.reference_distances) == 8
    assert list(drawn) == [noise.pair, radiograph.pair] == ["typicality/00.jpg", "typicality/01.jpg"]
    assert Image.open(io.BytesIO(drawn["typicality/00.jpg"])).size == (224 + 6 + 224, 224)


def test_a_training_image_is_its_own_nearest(features):
    reference = typicality.build_reference(features)
    vectors = join_features(features.quarters(np.arange(8)), features.thumbnails(np.arange(8)))
    distances = reference.measure_distances(vectors)
    assert distances.argmin(1).tolist() == list(range(8))
    assert distances.diagonal().max() < 1e-3


def test_of_many_images_each_patient_gives_one_before_any_gives_two():
    groups = np.repeat([f"p{number}" for number in range(100)], 3)
    rows = typicality.choose_rows(groups, np.arange(300), seed=1)
    counts = np.unique(groups[rows], return_counts=True)[1]
    assert len(rows) == len(set(rows.tolist())) == 214
    assert sorted(set(counts.tolist())) == [2, 3]
    assert rows.tolist() == typicality.choose_rows(groups, np.arange(300), seed=1).tolist()
    assert rows.tolist() != typicality.choose_rows(groups, np.arange(300), seed=2).tolist()
