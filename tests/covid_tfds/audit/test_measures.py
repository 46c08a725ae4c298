"""What the audit measures by: the near-duplicate threshold on real images, pixels, and associations."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance
from sklearn.metrics import accuracy_score, roc_auc_score

from covid_tfds.audit import hash_tables, near_duplicates, shortcuts
from covid_tfds.audit.pixels import to_grey
from covid_tfds.sources import manifest

TURNS_AND_TRIMS = {
    "turned": lambda image: image.rotate(2, Image.Resampling.BILINEAR),
    "small": lambda image: image.resize((224, 224), Image.Resampling.BILINEAR),
    "re-encoded": lambda image: reencoded(image, quality=30),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "trimmed": lambda image: image.crop((image.width // 10, image.height // 16, image.width, image.height)),
}


def reencoded(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


@pytest.fixture(scope="module")
def real_images(manual_dir):
    """Every image of the three published configs, once, small enough to be quick."""
    rows = {
        row.sha256: row
        for name in ("curated", "as_published", "source_matched")
        for row in manifest.read_manifest(name)
    }
    images = []
    for row in rows.values():
        image = to_grey((manual_dir / row.source / row.revision / row.path).read_bytes())
        image.thumbnail((512, 512), Image.Resampling.BOX)
        images.append(image)
    return list(rows.values()), images


def test_threshold_on_real_images(real_images):
    rows, images = real_images
    assert len(rows) == 146
    fingerprints = np.asarray([near_duplicates.fingerprint(image) for image in images])

    def named(pairs):
        return {frozenset((rows[first].image_id, rows[second].image_id)) for first, second in pairs}

    # Published twice, the second time with a wider frame and under another patient number.
    same_image = frozenset(("radiopedia-covid-19-pneumonia-2", "covid-19-pneumonia-2"))
    assert named(near_duplicates.find_pairs(fingerprints)) == {same_image}
    assert named(near_duplicates.find_pairs(fingerprints, near_duplicates.THRESHOLD + 0.03)) == {same_image}
    nearest = near_duplicates.find_pairs(fingerprints, 0.23)
    assert all(
        rows[first].patient_id == rows[second].patient_id
        for first, second in nearest
        if named([(first, second)]) != {same_image}
    ), "what comes next are follow-ups of one patient"


@pytest.mark.parametrize("alteration", TURNS_AND_TRIMS)
def test_altered_copies_of_real_images_are_found(real_images, alteration):
    _, images = real_images
    some = images[::6]
    both = [near_duplicates.fingerprint(image) for image in [*some, *map(TURNS_AND_TRIMS[alteration], some)]]
    pairs = near_duplicates.find_pairs(np.asarray(both))
    assert all(second == first + len(some) for first, second in pairs)
    assert len(pairs) >= 0.95 * len(some)


@pytest.fixture
def planted():
    """Fingerprints of noise, five images of three versions; 0 and 4 nearly agree, and 1 and 3 do in two ways."""
    fingerprints = np.random.default_rng(0).integers(0, 256, (5, 3, near_duplicates.BITS // 8), np.uint8)
    fingerprints[4, 2] = fingerprints[0, 0]
    fingerprints[4, 2, 0] ^= 0b101
    fingerprints[1, 2] = fingerprints[3, 0]
    fingerprints[3, 1] = fingerprints[1, 0]
    fingerprints[3, 1, :10] ^= 0xFF
    return fingerprints


@pytest.mark.parametrize("block", [2, 4, 4096])
def test_find_gives_each_pair_once_with_its_smallest_share(planted, block, monkeypatch):
    monkeypatch.setattr(near_duplicates, "BLOCK", block)
    assert near_duplicates.find_pairs(planted) == {(0, 4): 2 / near_duplicates.BITS, (1, 3): 0}


def test_of_many_images_the_same_pairs_are_found():
    random, versions = np.random.default_rng(1), 4
    fingerprints = random.integers(0, 256, (600, versions, near_duplicates.BITS // 8), np.uint8)
    for copy in range(300):
        bits = np.unpackbits(fingerprints[copy, 0])
        bits[random.choice(near_duplicates.BITS, int(copy / 300 * 0.16 * near_duplicates.BITS), replace=False)] ^= 1
        fingerprints[300 + copy, copy % versions] = np.packbits(bits)
    all_pairs = near_duplicates.find_pairs(fingerprints)
    assert len(all_pairs) == 263
    assert collect(hash_tables.compare_likely(fingerprints, near_duplicates.THRESHOLD)) == collect(
        near_duplicates.compare_all(fingerprints, near_duplicates.THRESHOLD)
    )


def collect(matches):
    return {pair for images, others, shares in matches for pair in zip(images, others, shares, strict=True)}


def test_find_needs_no_second_image(planted):
    assert near_duplicates.find_pairs(planted[:1]) == {}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    labels = np.repeat(["covid", "normal"], [13, 17])
    age = np.round(rng.normal(60, 10, 30)) + 5 * (labels == "normal")
    age[[2, 20]] = np.nan
    return pd.DataFrame(
        {
            "label": labels,
            "channels": rng.choice(["1", "3", "4"], 30),
            "format": "PNG",
            "source": "",
            "view": ["PA"] * 13 + [""] * 17,
            "sex": "F",
            "width": rng.integers(100, 130, 30).astype(float),
            "height": 100.0,
            "age": age,
        }
    )


def compared(table):
    return {each.fact: each for each in shortcuts.compare_classes(table, ("covid", "normal"))}


@pytest.mark.parametrize("fact", ["width", "age"])
def test_numbers_against_scikit_learn(table, fact):
    known = table.dropna(subset=fact)
    positive = (known.label == "covid").to_numpy()
    auroc = roc_auc_score(positive, known[fact])
    got = compared(table)[fact]
    assert got.measure == "AUROC"
    assert got.association == pytest.approx(max(auroc, 1 - auroc))
    rules = [known[fact] > cut for cut in [-np.inf, *known[fact]]]
    best = max(max(accuracy_score(positive, rule), 1 - accuracy_score(positive, rule)) for rule in rules)
    majority_either_side = max(
        sum(max(positive[side].sum(), (~positive[side]).sum()) for side in (rule, ~rule)) for rule in rules
    ) / len(known)
    assert got.right_alone == pytest.approx(majority_either_side)
    assert got.right_alone >= best


def test_equal_numbers_are_not_cut_apart(table):
    tied = table.head(5).assign(label=["covid", "covid", "normal", "normal", "normal"], width=[1.0, 1, 1, 1, 2])
    assert compared(tied)["width"].right_alone == 0.6


def test_categories_against_their_definition(table):
    counts = pd.crosstab(table.channels, table.label).to_numpy()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / counts.sum()
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    got = compared(table)["channels"]
    assert got.association == pytest.approx(np.sqrt(chi_squared / counts.sum()))
    assert got.right_alone == pytest.approx(counts.max(1).sum() / 30)


def test_only_what_varies_and_is_known_of_both_classes_is_compared(table):
    facts = compared(table)
    assert "source" not in facts
    assert [facts[name].association for name in ("format", "view", "sex", "height")] == [None] * 4
    assert facts["view"].values == {"covid": {"PA": 13}, "normal": {"not stated": 17}}
    assert facts["age"].values["covid"]["known"] == 12


def test_small_folders_are_not_accused_by_chance():
    few = pd.DataFrame({"label": ["covid", "covid", "normal", "normal"], "width": [1.0, 2.0, 3.0, 4.0]})
    few = few.assign(height=1.0, age=np.nan, **dict.fromkeys(shortcuts.CATEGORIES, ""))
    width = compared(few)["width"]
    assert width.association == 1
    assert not width.strong
    many = pd.concat([few] * 5, ignore_index=True)
    assert compared(many)["width"].strong


def test_of_three_classes_the_one_that_differs_most_counts():
    labels = np.repeat(["covid", "normal", "pneumonia"], 12)
    width = np.concatenate([np.arange(12.0), np.arange(12.0) + 0.5, np.arange(12.0) + 100])
    known = pd.DataFrame({"label": labels, "width": width, "height": 1.0})
    (found,) = [
        one for one in shortcuts.compare_classes(known, ("covid", "normal", "pneumonia")) if one.fact == "width"
    ]
    assert found.association == 1
    assert found.right_alone == pytest.approx(24 / 36)
    assert found.strong
