import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.metrics.folds import assign_folds
from trainer.validation import controls
from trainer.validation.controls import build_controls, compute_permuted_auroc, score_out_of_fold
from trainer.validation.lung_rectangle import lung_mask

BLIND = {"border_only", "lungs_blacked_out", "file_facts"}


def test_inputs_of_controls_that_cannot_see_the_lungs_do_not_change_with_the_lungs():
    random = np.random.default_rng(0)
    thumbnails, facts, pooled = random.random((5, 32, 32)), random.random((5, 6)), random.random((5, 7))
    ill = thumbnails + 50 * lung_mask(32, 32)
    for before, after in zip(
        build_controls(thumbnails, facts, pooled, pooled),
        build_controls(ill, facts, pooled + 1, pooled + 1),
        strict=True,
    ):
        assert before.name == after.name
        assert np.array_equal(before.inputs, after.inputs) == (before.name in BLIND), before.name
        assert before.sees_lungs == (before.name not in BLIND)


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
