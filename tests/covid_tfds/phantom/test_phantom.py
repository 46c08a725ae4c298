import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_tfds import phantom
from covid_tfds.phantom import drawing
from covid_tfds.phantom.anatomy import draw_chest

LUNGS = slice(10, 54)  # of a 64 x 64 thumbnail: the central 70 %


@pytest.fixture(scope="module")
def radiographs():
    return [phantom.draw(index) for index in range(50)]


@pytest.fixture(scope="module")
def is_covid(radiographs):
    return np.array([radiograph.label == "covid" for radiograph in radiographs])


def healthy(index):
    return draw_chest(np.random.default_rng([drawing.SEED, index]))


def thumbnails(radiographs):
    return np.stack(
        [
            np.asarray(Image.fromarray(radiograph.image).resize((64, 64), Image.Resampling.BILINEAR))
            for radiograph in radiographs
        ]
    )


def border(thumbnails):
    frame = np.ones((64, 64), bool)
    frame[LUNGS, LUNGS] = False
    return thumbnails[:, frame] / 255


def cross_validated_auroc(features, is_covid, seed):
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    scores = cross_val_predict(model, features, is_covid, cv=folds, method="predict_proba")[:, 1]
    return roc_auc_score(is_covid, scores)


def auroc_either_way(is_covid, values):
    auroc = roc_auc_score(is_covid, values)
    return max(auroc, 1 - auroc)


def test_same_index_same_pixels():
    for index in (0, 1, 17):
        one, two = phantom.draw(index), phantom.draw(index)
        assert hashlib.sha256(one.image.tobytes()).digest() == hashlib.sha256(two.image.tobytes()).digest()
        assert (one.sex, one.age) == (two.sex, two.age)
        np.testing.assert_array_equal(one.opacity_mask, two.opacity_mask)


def test_radiographs_differ(radiographs):
    assert len({radiograph.image.tobytes() for radiograph in radiographs}) == 50


def test_what_a_radiograph_is(radiographs):
    for index, radiograph in enumerate(radiographs):
        assert radiograph.image_id == f"phantom-{index:05d}"
        assert radiograph.label == phantom.LABELS[index % 2]
        assert radiograph.image.dtype == np.uint8
        assert radiograph.opacity_mask.dtype == bool
        assert radiograph.opacity_mask.shape == radiograph.image.shape
        assert all(320 <= side <= 560 for side in radiograph.image.shape)
        assert radiograph.sex in ("F", "M")
        assert 18 <= radiograph.age <= 90
        assert radiograph.view == "PA"


def test_lungs_are_dark_and_the_spine_is_bright(radiographs):
    for index, radiograph in enumerate(radiographs[:10]):
        lungs = healthy(index).lungs
        width = radiograph.image.shape[1]
        middle = radiograph.image[lungs.any(1), int(0.47 * width) : int(0.53 * width)]
        assert np.median(radiograph.image[lungs & ~radiograph.opacity_mask]) + 60 < np.median(middle)


def test_opacities_lie_in_both_lungs_and_nowhere_else(radiographs):
    for index, radiograph in enumerate(radiographs):
        if radiograph.label == "normal":
            assert not radiograph.opacity_mask.any()
            continue
        patient = healthy(index)
        assert not (radiograph.opacity_mask & ~patient.lungs).any()
        viewers_left = patient.plane.x < 0
        for side in (viewers_left, ~viewers_left):
            assert (radiograph.opacity_mask & side).sum() > 0.05 * (patient.lungs & side).sum()


def test_opacities_are_mostly_peripheral_and_basal(radiographs):
    lower, outer = [], []
    for index, radiograph in enumerate(radiographs[:20:2]):
        plane = healthy(index * 2).plane
        drawn = radiograph.opacity_mask
        lower.append((drawn & (plane.y > 0.5)).sum() / drawn.sum())
        outer.append((drawn & (np.abs(plane.x) > 0.31)).sum() / drawn.sum())
    assert np.mean(lower) > 0.6
    assert np.mean(outer) > 0.6


def test_twin_of_the_other_label_differs_in_the_lungs_only():
    for index in range(8):
        lungs = healthy(index).lungs
        covid, normal = drawing._draw(index, "covid"), drawing._draw(index, "normal")
        changed = covid.image != normal.image
        assert changed.any()
        assert not (changed & ~lungs).any()
        assert (covid.sex, covid.age) == (normal.sex, normal.age)


def test_lungs_stay_in_the_central_part(radiographs):
    for index, radiograph in enumerate(radiographs):
        rows, columns = np.nonzero(healthy(index).lungs)
        height, width = radiograph.image.shape
        assert rows.min() / height > 0.15
        assert rows.max() / height < 0.85
        assert columns.min() / width > 0.15
        assert columns.max() / width < 0.85


def test_split_is_stratified():
    splits = [phantom.split_of(index) for index in range(50)]
    assert splits.count("train") == 40
    for start in range(0, 50, 10):
        block = range(start, start + 10)
        assert sorted(phantom.LABELS[i % 2] for i in block if splits[i] == "test") == ["covid", "normal"]


def test_id_round_trip():
    radiograph = phantom.draw_by_id("phantom-00007")
    np.testing.assert_array_equal(radiograph.image, phantom.draw(7).image)
    assert phantom.draw_by_id("phantom-123456").image_id == "phantom-123456"


@pytest.mark.parametrize("name", ["phantom-7", "phantom-0000007", "phantom-00007.png", "person1_virus_6", ""])
def test_other_ids_are_refused(name):
    with pytest.raises(ValueError, match=f"^'{name}'"):
        phantom.draw_by_id(name)


def test_negative_index_is_refused():
    with pytest.raises(ValueError, match="-1"):
        phantom.draw(-1)


def test_png_keeps_pixels(radiographs):
    image = radiographs[0].image
    png = phantom.encode_png(image)
    assert png == phantom.encode_png(image.copy())
    with Image.open(io.BytesIO(png)) as decoded:
        assert (decoded.format, decoded.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(decoded), image)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_border_does_not_show_the_disease(radiographs, is_covid, seed):
    assert 0.3 < cross_validated_auroc(border(thumbnails(radiographs)), is_covid, seed) < 0.7


def test_border_classifier_would_find_a_shortcut(radiographs, is_covid):
    marked = thumbnails(radiographs)
    marked[is_covid, :8, :8] = 128
    assert cross_validated_auroc(border(marked), is_covid, 0) > 0.7


def test_file_facts_do_not_show_the_disease(radiographs, is_covid):
    facts = {
        "mean": [radiograph.image.mean() for radiograph in radiographs],
        "width": [radiograph.image.shape[1] for radiograph in radiographs],
        "height": [radiograph.image.shape[0] for radiograph in radiographs],
        "aspect": [radiograph.image.shape[1] / radiograph.image.shape[0] for radiograph in radiographs],
        "bytes": [len(phantom.encode_png(radiograph.image)) for radiograph in radiographs],
        "age": [radiograph.age for radiograph in radiographs],
        "sex": [radiograph.sex == "F" for radiograph in radiographs],
    }
    found = {name: auroc_either_way(is_covid, values) for name, values in facts.items()}
    assert {name: auroc for name, auroc in found.items() if auroc >= 0.75} == {}


@pytest.fixture(scope="module")
def backbone():
    import keras

    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(224, 224, 3))
    for number, layer in enumerate(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)):
        kernel = keras.initializers.HeNormal(seed=4200 + number)(layer.kernel.shape)
        layer.set_weights([np.asarray(kernel), np.zeros(layer.bias.shape)])
    return model


@pytest.mark.parametrize("scale", ["caffe", "unit"])
def test_untrained_backbone_features_show_the_disease(radiographs, is_covid, backbone, scale):
    import keras
    import tensorflow as tf

    pixels = np.stack(
        [tf.image.resize(radiograph.image[..., None], (224, 224)).numpy() for radiograph in radiographs]
    ).repeat(3, -1)
    images = keras.applications.vgg16.preprocess_input(pixels) if scale == "caffe" else pixels / 255
    maps = backbone.predict(images, batch_size=10, verbose=0)
    assert maps.shape == (50, 7, 7, 512)
    for seed in (0, 1):
        assert cross_validated_auroc(maps.mean((1, 2)), is_covid, seed) > 0.9
        # All that an AveragePooling2D((4, 4)) leaves of a 7 x 7 map.
        assert cross_validated_auroc(maps[:, :4, :4].mean((1, 2)), is_covid, seed) > 0.85


def test_a_lobe_is_consolidated_in_one_lung():
    for index in range(2, 30, 3):
        drawn = phantom.draw(index, phantom.THREE_LABELS)
        assert (drawn.label, drawn.image_id) == ("pneumonia", f"phantom3-{index:05d}")
        assert drawn.lung_mask.any()
        assert not (drawn.opacity_mask & ~drawn.lung_mask).any()
        viewers_left = healthy(index).plane.x < 0
        shares = sorted(
            (drawn.opacity_mask & side).sum() / (drawn.lung_mask & side).sum() for side in (viewers_left, ~viewers_left)
        )
        assert shares[0] == 0
        assert 0.15 < shares[1] < 0.9


def test_three_classes_have_ids_of_their_own():
    drawn = phantom.draw_by_id("phantom3-00001")
    assert drawn.image_id == "phantom3-00001"
    assert [phantom.split_of(index, phantom.THREE_LABELS) for index in range(15)].count("test") == 3
