import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.fakes.two_classes import log_p, truth
from trainer.tuning import scores
from trainer.tuning.scores import HeldOut

N = 40
POSITIVE = np.arange(N) % 2 == 0
HELD_OUT = HeldOut(truth(POSITIVE), np.arange(N), np.arange(N) // 2 % 5)


def test_figures_are_scikit_learns():
    odds = np.random.default_rng(0).normal(size=N)
    score = scores.score_trial(HELD_OUT, log_p(odds))
    wanted = [roc_auc_score(POSITIVE[rows], odds[rows]) for rows in HELD_OUT.folds]
    np.testing.assert_allclose(score.auroc_folds, wanted)
    assert score.log_loss == pytest.approx(log_loss(POSITIVE, 1 / (1 + np.exp(-odds))))


def test_the_area_of_four_classes_is_the_mean_of_each_against_the_rest():
    random = np.random.default_rng(4)
    labels = np.arange(80) % 4
    held_out = HeldOut(np.eye(4, dtype=bool)[labels], np.arange(80), np.arange(80) // 4 % 5)
    p = random.dirichlet(np.ones(4), 80)
    score = scores.score_trial(held_out, np.log(p))
    wanted = [roc_auc_score(labels[rows], p[rows], multi_class="ovr") for rows in held_out.folds]
    np.testing.assert_allclose(score.auroc_folds, wanted)
    assert score.log_loss == pytest.approx(log_loss(labels, p))
    # In a fold of 4 x 4 images one wrong pair costs its class's area 1 / (4 x 12), and the mean a twentieth of that.
    assert held_out.pair_cost == pytest.approx(1 / (4 * 12) / 20)


def test_a_class_that_a_fold_lacks_is_left_out_there():
    labels = np.where(np.arange(80) // 4 % 5 == 0, np.arange(80) % 3, np.arange(80) % 4)
    held_out = HeldOut(np.eye(4, dtype=bool)[labels], np.arange(80), np.arange(80) // 4 % 5)
    p = np.random.default_rng(5).dirichlet(np.ones(4), 80)
    first = held_out.folds[0]
    wanted = np.mean([roc_auc_score(labels[first] == k, p[first, k]) for k in range(3)])
    assert scores.score_trial(held_out, np.log(p)).auroc_folds[0] == pytest.approx(wanted)


def test_log_loss_decides_between_equal_orders():
    odds = np.where(POSITIVE, 1.0, -1.0)
    sure, unsure, overdone = (scores.score_trial(HELD_OUT, log_p(factor * odds)) for factor in (3.0, 1.0, -3.0))
    assert sure.auroc_mean == unsure.auroc_mean == 1
    assert 1 >= sure.score > unsure.score > overdone.score


def test_log_loss_never_outweighs_a_pair():
    sorted_but_sure_of_the_wrong = np.where(POSITIVE, -100.0, -101.0)
    one_pair_wrong = np.where(POSITIVE, 100.0, -100.0)
    one_pair_wrong[0], one_pair_wrong[1] = -1.0, 1.0
    one_pair_wrong[2:10:2] += 200
    right = scores.score_trial(HELD_OUT, log_p(sorted_but_sure_of_the_wrong))
    wrong = scores.score_trial(HELD_OUT, log_p(one_pair_wrong))
    assert right.auroc_mean == 1 > wrong.auroc_mean
    assert right.log_loss > 10 * wrong.log_loss
    assert right.score > wrong.score


def test_saturated_predictions_keep_their_order_and_a_finite_loss():
    odds = np.where(POSITIVE, 1e4, 9.9e3)
    score = scores.score_trial(HELD_OUT, log_p(odds))
    assert score.auroc_mean == 1
    assert np.isfinite(score.score)


def test_the_best_of_noise_is_told_to_be_noise():
    """Thirty trials of pure noise: the best looks good, what the choice is worth is a coin's toss."""
    best, corrected = [], []
    for seed in range(8):
        odds = np.random.default_rng(seed).normal(size=(30, N))
        best.append(max(scores.score_trial(HELD_OUT, log_p(trial)).auroc_mean for trial in odds))
        corrected.append(scores.correct_for_selection(HELD_OUT, log_p(odds)).auroc.value)
    assert np.mean(best) > 0.65
    assert np.mean(corrected) == pytest.approx(0.5, abs=0.05)


def test_a_real_gain_is_found():
    random = np.random.default_rng(1)
    odds = random.normal(size=(10, N))
    odds[7] += np.where(POSITIVE, 3, -3)
    result = scores.correct_for_selection(HELD_OUT, log_p(odds))
    assert result.auroc.value > 0.95
    assert result.auroc_gain.ci95[0] > 0
    assert result.p_truth_gain.value > 0


def test_one_trial_has_no_choice_and_no_gain():
    odds = np.random.default_rng(2).normal(size=(1, N)) + np.where(POSITIVE, 0.5, -0.5)
    result = scores.correct_for_selection(HELD_OUT, log_p(odds))
    assert (result.auroc_gain.value, result.auroc_gain.ci95) == (0.0, (0.0, 0.0))
    assert result.auroc.value == pytest.approx(scores.score_trial(HELD_OUT, log_p(odds[0])).auroc_mean, abs=0.03)


def test_a_perfect_figure_still_has_an_interval():
    odds = np.where(POSITIVE, 5.0, -5.0)[None]
    result = scores.correct_for_selection(HELD_OUT, log_p(odds))
    assert result.auroc.value == 1
    assert 0.8 < result.auroc.ci95[0] < 1


def test_patients_are_drawn_not_images():
    """With three images each, fewer patients know less: the interval is wider than for as many single images."""
    patients = np.repeat(np.arange(N // 4), 4)
    positive = np.arange(N) // 4 % 2 == 0
    grouped = HeldOut(truth(positive), patients, patients // 2 % 5)
    single = HeldOut(grouped.truth, np.arange(N), grouped.fold)
    odds = np.repeat(np.random.default_rng(3).normal(size=N // 4), 4)[None] + np.where(positive, 0.7, -0.7)
    wide, narrow = (scores.correct_for_selection(q, log_p(odds)).p_truth.ci95 for q in (grouped, single))
    assert wide[1] - wide[0] > 1.2 * (narrow[1] - narrow[0])
