import dataclasses

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_tfds.phantom import encode_png
from tests.fakes.examples import make_examples
from trainer.metrics.folds import assign_folds
from trainer.validation import controls
from trainer.validation.controls import build_controls, compute_permuted_auroc, score_out_of_fold
from trainer.validation.lung_rectangle import lung_mask

BLIND = {"border_only", "lungs_blacked_out", "file_facts", "patient_facts", "source"}


def make_images(count, **columns):
    """Examples of so many small drawn-by-hand images."""
    random = np.random.default_rng(1)
    pixels = [random.integers(0, 255, (8, 8 + row), np.uint8) for row in range(count)]
    return make_examples(np.arange(count) % 2, [encode_png(image) for image in pixels], **columns)


def test_inputs_of_controls_that_cannot_see_the_lungs_do_not_change_with_the_lungs():
    random = np.random.default_rng(0)
    thumbnails, pooled = random.random((5, 32, 32)), random.random((5, 7))
    facts = {"age": np.arange(5.0), "source": np.asarray(list("aabba"))}
    for examples, lungs in ((make_images(5, facts=facts), lung_mask(32, 32)), (masked(facts), masks()[:, ::2, ::2])):
        ill = thumbnails + 50 * lungs
        before = build_controls(examples, thumbnails, pooled, pooled)
        after = build_controls(examples, ill, pooled + 1, pooled + 1)
        assert {control.name for control in before} > BLIND
        for one, other in zip(before, after, strict=True):
            assert np.array_equal(one.inputs, other.inputs) == (one.name in BLIND), one.name
            assert one.sees_lungs == (one.name not in BLIND)


def masks():
    """Lungs at another place in each of five images, one of them at its edge."""
    result = np.zeros((5, 64, 64), bool)
    for row in range(5):
        result[row, 8 * row : 8 * row + 8, 4 * row : 4 * row + 16] = True
    return result


def masked(facts):
    own = masks()
    return dataclasses.replace(make_images(5, facts=facts), read_masks=lambda rows: (own[row] for row in rows))


def test_controls_of_facts_are_there_where_the_dataset_has_them():
    thumbnails, pooled = np.zeros((4, 32, 32)), np.zeros((4, 2))
    names = {control.name for control in build_controls(make_images(4), thumbnails, pooled, pooled)}
    assert BLIND - names == {"patient_facts", "source"}


def test_out_of_fold_scores_are_scikit_learns():
    inputs, is_positive = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2 == 0
    folds = assign_folds(is_positive, np.arange(40), seed=1, repeats=2)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    for own, scores in zip(folds, score_out_of_fold(inputs, is_positive, folds), strict=True):
        split = PredefinedSplit(own)
        expected = cross_val_predict(classifier, inputs, is_positive, cv=split, method="decision_function")
        np.testing.assert_allclose(scores, expected)


def test_shuffled_labels_are_at_chance_unless_the_folds_leak(monkeypatch):
    patients = np.repeat(np.arange(24), 4)
    is_positive = patients % 2 == 0
    inputs = np.random.default_rng(0).normal(size=(24, 40))[patients]
    honest = compute_permuted_auroc(inputs, is_positive, patients, 5, seed=0)
    assert honest.ci95[0] < 0.5 < honest.ci95[1]
    leaky = (np.arange(96) % 4)[None]
    monkeypatch.setattr(controls, "assign_folds", lambda *args, **options: leaky)
    assert compute_permuted_auroc(inputs, is_positive, patients, 5, seed=0).ci95[0] > 0.8
