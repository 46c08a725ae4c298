import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from trainer.run_folder.typicality import (
    Reference,
    is_declined,
    join_features,
    load_reference,
    quarter_weights,
    save_reference,
)


def make_reference(vectors, patient=None) -> Reference:
    unit = np.abs(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    patient = np.arange(len(unit)) if patient is None else patient
    return Reference(unit.astype(np.float16), patient, np.asarray([f"image-{row}" for row in range(len(unit))]))


def measure_by_definition(reference, vector):
    """The p-value written out: every image's distance in the set of all images, the new one included."""
    everything = np.vstack([reference.features.astype(float), vector / np.linalg.norm(vector)])
    patient = np.append(reference.patient, -1)
    distances = 1 - everything @ everything.T
    s = np.asarray([np.sort(row[patient != own])[:3].mean() for row, own in zip(distances, patient, strict=True)])
    weights = np.asarray([1 / (patient == own).sum() for own in patient])
    return s[-1], weights[s >= s[-1]].sum() / weights.sum()


def simulate(random, patients, images, rounds):
    """Typicalities of a new patient's image, all patients' images drawn alike: a patient's own mean and some noise."""
    typicalities = []
    for _ in range(rounds):
        means = random.uniform(0.2, 1, (patients + 1, 1, 12)) ** 2
        drawn = np.abs(means + 0.1 * random.standard_normal((patients + 1, images, 12)))
        reference = make_reference(drawn[1:].reshape(-1, 12), np.repeat(np.arange(patients), images))
        typicalities.append(reference.measure(drawn[0, :1] / np.linalg.norm(drawn[0, :1]))[1][0])
    return np.asarray(typicalities)


@pytest.mark.parametrize("images", [1, 3])
def test_typicality_is_the_p_value_that_the_definition_gives(images):
    random = np.random.default_rng(0)
    reference = make_reference(random.uniform(size=(12, 8)), np.repeat(np.arange(12 // images), images))
    vectors = random.uniform(size=(40, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distance, typicality = reference.measure(vectors)
    expected = np.asarray([measure_by_definition(reference, vector) for vector in vectors])
    np.testing.assert_allclose(distance, expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(typicality, expected[:, 1], atol=1e-12)
    assert len(np.unique(typicality)) > 2


def test_with_one_image_a_patient_no_level_is_exceeded():
    typicalities = simulate(np.random.default_rng(1), patients=19, images=1, rounds=3000)
    for level in (0.05, 0.1, 0.2, 0.5):
        share = np.mean(typicalities <= level + 1e-9)
        assert level - 0.03 < share < level + 3 * np.sqrt(level * (1 - level) / 3000)  # both ways: declined as promised


def test_with_several_images_a_patient_the_levels_hold_roughly():
    typicalities = simulate(np.random.default_rng(2), patients=19, images=4, rounds=1000)
    for level in (0.05, 0.1, 0.2):
        assert level / 3 < np.mean(typicalities <= level + 1e-9) < 2 * level


def test_the_smallest_typicality_is_declined_and_the_next_one_is_not():
    reference = make_reference(np.eye(4) + 1)
    _, typicality = reference.measure(np.asarray([[0.0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]]))
    assert reference.level == pytest.approx(1 / 5)
    assert typicality.tolist() == pytest.approx([1 / 5, 1])
    assert is_declined(typicality.astype(np.float32), reference.level).tolist() == [True, False]


def test_many_patients_are_declined_at_one_percent():
    assert make_reference(np.eye(150) + 1).level == 0.01


def test_an_image_without_features_is_as_far_as_can_be():
    distance, typicality = make_reference(np.eye(4) + 1).measure(np.zeros((1, 4)))
    assert (distance.tolist(), typicality.tolist()) == ([1.0], [1 / 5])


def test_images_of_one_patient_alone_are_the_farthest_apart():
    assert make_reference(np.eye(4) + 1, np.zeros(4, dtype=int)).nearest.tolist() == [[1.0] * 3] * 4


def test_quarters_of_an_odd_map_share_the_middle():
    weights = quarter_weights(7, 7)
    assert weights.sum(1).tolist() == pytest.approx([1] * 4)
    assert (weights > 0).sum(1).tolist() == [16] * 4
    assert (quarter_weights(14, 14) > 0).sum(1).tolist() == [49] * 4


def test_joined_features_have_length_1_and_the_share_of_each_part():
    random = np.random.default_rng(0)
    quarters, images = random.uniform(size=(6, 8)), random.uniform(0, 255, size=(6, 32, 32))
    vectors = join_features(quarters, images)
    assert vectors.shape == (6, 8 + 256 + 1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    a, b = quarters[0], quarters[1]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    small = images.reshape(6, 16, 2, 16, 2).mean((2, 4)).reshape(6, 256)
    correlation = np.corrcoef(small[0], small[1])[0, 1]
    assert 1 - vectors[0] @ vectors[1] == pytest.approx(0.9 * (1 - cosine) + 0.1 * (1 - correlation) / 2)


def test_an_image_of_one_grey_has_no_pattern_of_rounding_errors():
    flat = 77 + 1e-4 * np.random.default_rng(0).standard_normal((2, 32, 32))
    vectors = join_features(np.ones((2, 4)), flat)
    assert np.abs(vectors[:, 4:-1]).max() < 1e-5
    assert 1 - vectors[0] @ vectors[1] == pytest.approx(0.05, abs=1e-6)  # neither alike nor opposite


def test_features_of_another_version_are_refused(tmp_path):
    save_reference(tmp_path / "typicality.npz", make_reference(np.ones((5, 2048))))
    with pytest.raises(UsageError, match="2048 features"):
        load_reference(tmp_path / "typicality.npz")


def test_a_reference_is_read_as_it_was_saved(tmp_path):
    reference = make_reference(np.random.default_rng(0).uniform(size=(5, 8 + 257)), np.asarray([0, 0, 1, 2, 3]))
    save_reference(tmp_path / "typicality.npz", reference)
    loaded = load_reference(tmp_path / "typicality.npz")
    assert vars(loaded).keys() == vars(reference).keys()
    for name, array in vars(loaded).items():
        np.testing.assert_array_equal(array, vars(reference)[name])


def test_a_damaged_reference_is_named(tmp_path):
    path = tmp_path / "typicality.npz"
    np.savez(path, features=np.zeros(3), patient=np.arange(3), image_id=np.asarray(["a", "b", "c"]))
    with pytest.raises(UsageError, match=r"typicality\.npz holds"):
        load_reference(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"typicality\.npz can't be read"):
        load_reference(path)
