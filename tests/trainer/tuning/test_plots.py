import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from trainer.recipes import TUTORIAL
from trainer.tuning import plots
from trainer.tuning.scores import CorrectedScores, DrawnMean
from trainer.tuning.summary import CompletedTrial, SearchSummary


def completed(number, score, **hyperparameters):
    values = {"learning_rate": 1e-3, "pooling": "corner", "epochs": 25, "units": 64} | hyperparameters
    folds = tuple(np.linspace(score - 0.1, score + 0.1, 5))
    return CompletedTrial(
        score=score,
        auroc_mean=score,
        auroc_sd=0.08,
        auroc_folds=folds,
        log_loss=0.5 - score / 3,
        trial=number,
        hyperparameters=values,
        recipe=TUTORIAL,
    )


def summary(trials, failed):
    tutorial = trials[0] if trials[0].trial == 0 else None
    corrected = CorrectedScores(*[DrawnMean(0.8, (0.6, 0.9))] * 6, draws=2000, patients=30)
    return SearchSummary(
        trials=len(trials) + len(failed),
        failed=len(failed),
        folds=5,
        images=40,
        patients=30,
        tuner="random",
        how="",
        best=max(trials, key=lambda trial: trial.score),
        tutorial=tutorial,
        without_selection_bias=corrected if tutorial else None,
        seconds_in_trials=1.0,
    )


def many(count):
    """Trials whose pooling decides the score, and nothing else does."""
    random = np.random.default_rng(0)
    for number in range(count):
        rate, pooling = 10 ** random.uniform(-4, -2), str(random.choice(["corner", "average", "max"]))
        units = int(random.choice([16, 64, 256]))
        yield completed(number, 0.6 + 0.2 * (pooling == "max"), learning_rate=rate, pooling=pooling, units=units)


@pytest.fixture
def drawn():
    """Draw a search; gives its axes by label of the y axis, or, below these, by title."""
    figures = []

    def draw(trials, failed=()):
        figures.append(plots.draw_search(trials, list(failed), summary(trials, failed)))
        return {axis.get_ylabel() or axis.get_title(): axis for axis in figures[-1].axes}

    yield draw
    for figure in figures:
        plt.close(figure)


def lines_of(axis, label):
    return [line.get_xydata().tolist() for line in axis.lines if line.get_label() == label]


def test_the_deciding_hyperparameter_ranks_first():
    shares = plots.rank_hyperparameters(list(many(40)))
    assert next(iter(shares)) == "pooling"
    assert shares["pooling"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_too_few_trials_rank_nothing():
    assert plots.rank_hyperparameters(list(many(5))) == {}


def test_each_trial_has_its_mean_and_its_folds(drawn):
    trials = [completed(0, 0.6), completed(1, 0.8), completed(2, 0.7)]
    axis = drawn(trials)["AUROC, held out"]
    assert lines_of(axis, "mean (dots: each fold)") == [[[0, 0.6], [1, 0.8], [2, 0.7]]]
    assert lines_of(axis, "best mean so far") == [[[0, 0.6], [1, 0.8], [2, 0.8]]]
    dots = [line.get_xydata().tolist() for line in axis.lines if line.get_marker() == "."]
    assert dots == [[[trial.trial, auroc] for auroc in trial.auroc_folds] for trial in trials]


def test_best_and_tutorial_are_marked_in_their_colours(drawn):
    axes = drawn([completed(0, 0.6), completed(1, 0.8), completed(2, 0.7)])
    for label, best, tutorial in (("AUROC, held out", 0.8, 0.6), ("log loss, held out", 0.5 - 0.8 / 3, 0.3)):
        assert lines_of(axes[label], "best score") == [[[1, pytest.approx(best)]]]
        assert lines_of(axes[label], "tutorial's recipe") == [[[0, pytest.approx(tutorial)]]]
        colours = {line.get_label(): to_hex(line.get_color()) for line in axes[label].lines}
        assert colours["best score"] == plots.BEST_COLOUR
        assert colours["tutorial's recipe"] == plots.TUTORIAL_COLOUR


def test_the_corrected_auroc_is_a_line_in_a_band(drawn):
    axis = drawn([completed(0, 0.6), completed(1, 0.8)])["AUROC, held out"]
    (line,) = [line for line in axis.lines if "corrected" in line.get_label()]
    assert line.get_ydata() == [0.8, 0.8]
    (band,) = axis.patches
    assert (band.get_y(), band.get_height()) == (0.6, pytest.approx(0.3))


def test_without_the_tutorials_point_there_is_no_correction_and_no_mark(drawn):
    axis = drawn([completed(1, 0.7)], failed=[0, 2])["AUROC, held out"]
    labels = {line.get_label() for line in axis.lines}
    assert not any("corrected" in label or "tutorial" in label for label in labels)
    assert not axis.patches
    assert [[x for x, _ in line] for line in lines_of(axis, "failed")] == [[0, 2]]


def test_log_loss_is_drawn_by_trial_beside_chance(drawn):
    axis = drawn([completed(0, 0.6), completed(1, 0.9)])["log loss, held out"]
    assert axis.lines[0].get_xydata().tolist() == [[0, pytest.approx(0.3)], [1, pytest.approx(0.2)]]
    assert lines_of(axis, "log loss at chance")[0][0][1] == pytest.approx(np.log(2))
    assert axis.get_yscale() == "log"
    assert axis.get_xlabel() == "trial"


def test_every_label_is_in_the_legend(drawn):
    axes = drawn([completed(0, 0.6), completed(2, 0.8)], failed=[1])
    (legend,) = axes["AUROC, held out"].figure.legends
    labels = {line.get_label() for axis in axes.values() for line in axis.lines}
    assert {text.get_text() for text in legend.texts} == {label for label in labels if not label.startswith("_")}


def test_few_trials_have_two_panels_and_many_have_three_hyperparameters_more(drawn):
    assert len(drawn([completed(0, 0.7)])) == 2
    axes = drawn(list(many(20)))
    assert len(axes) == 5
    pooling = axes["score"]
    assert pooling.get_title().startswith("pooling (importance ")
    assert [text.get_text() for text in pooling.get_xticklabels()] == ["average", "corner", "max"]
    wanted = {(["average", "corner", "max"].index(t.hyperparameters["pooling"]), t.score) for t in many(20)}
    assert {tuple(point) for point in pooling.lines[0].get_xydata().tolist()} == wanted
    (rate,) = [axis for label, axis in axes.items() if label.startswith("learning rate")]
    assert rate.get_xscale() == "log"
    assert rate.lines[0].get_xdata().tolist() == [trial.hyperparameters["learning_rate"] for trial in many(20)]


def test_equal_scores_rank_nothing(drawn):
    trials = [completed(number, 0.9, **{"tuner/epochs": 4 + number, "tuner/bracket": 2}) for number in range(9)]
    assert len(drawn(trials)) == 2
