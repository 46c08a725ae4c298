from trainer.tuning import results


def told(**changes):
    figures = {"trial": 0, "auroc_mean": 0.7, "auroc_sd": 0.1, "log_loss": 0.6}
    estimate = {"value": 0.75, "ci95": [0.6, 0.9]}
    names = ("auroc", "auroc_gain", "p_truth", "p_truth_gain")
    summary = {
        "trials": 8,
        "failed": 0,
        "folds": 5,
        "images": 40,
        "patients": 30,
        "best": figures | {"trial": 3, "auroc_mean": 0.9},
        "tutorial": figures,
        "without_selection_bias": dict.fromkeys(names, estimate),
    }
    return results.describe(summary | changes)


def test_the_best_is_told_with_its_doubt():
    text = told()
    assert "tutorial's point     AUROC 0.700 (SD 0.100), log-loss 0.600" in text
    assert "best, trial 3        AUROC 0.900" in text
    assert "too good" in text
    assert "gain over the tutorial's point +0.750 (95 % CI +0.600 to +0.900)" in text
    assert "tossed coin" not in text


def test_a_search_at_chance_is_said_to_be_there():
    chance = {"value": 0.56, "ci95": [0.29, 0.81]}
    names = ("auroc", "auroc_gain", "p_truth", "p_truth_gain")
    assert "tossed coin" in told(without_selection_bias=dict.fromkeys(names, chance))


def test_failures_and_a_missing_comparison_are_told():
    text = told(failed=2, tutorial=None, without_selection_bias=None)
    assert "8 trials, 2 failed" in text
    assert "tutorial" not in text
