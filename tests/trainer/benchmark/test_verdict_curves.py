import functools
import json

import numpy as np
import pytest
from matplotlib import pyplot as plt

from covid_tfds import phantom
from trainer.benchmark import __main__ as benchmark
from trainer.benchmark import logistic, verdict_curves, verdict_pool, verdict_sets
from trainer.benchmark.verdict_curves import GOALS, Cell, Goal, count_sets, draw_cells, summarize_sets
from trainer.benchmark.verdict_pool import Pool, plant_marker
from trainer.benchmark.verdict_sets import RULES, SetResult, Size, draw_rows
from trainer.features import backbone_features
from trainer.validation import controls
from trainer.validation.lung_rectangle import lung_mask
from trainer.validation.verdict import FALSE_CUES, measure_separation

KINDS = {"shortcut": 1, "inconclusive": 2, "not detected": 7}


@pytest.mark.parametrize("width", [3, 90])
def test_the_fast_logistic_regression_is_scikit_learns(width):
    size = Size.of(50)
    inputs = np.random.default_rng(0).normal(size=(50, width)) + size.is_positive[:, None]
    inputs[:, 0] = 7  # does not vary
    # As far as scikit-learn goes: it stops a little earlier.
    expected = controls.score_out_of_fold(inputs, size.is_positive, size.folds)
    np.testing.assert_allclose(
        logistic.score_out_of_fold(inputs, size.is_positive, size.folds), expected, rtol=0.02, atol=0.001
    )


def test_the_fast_bootstrap_is_that_of_a_training():
    size = Size.of(50)
    scores = np.random.default_rng(0).normal(size=(2, 50)).round(1) + size.is_positive  # rounded: with ties
    expected = measure_separation(size.is_positive, size.patients, scores)
    found = size.measure_separation(scores)
    np.testing.assert_allclose(found.draws, expected.draws)
    assert found.auroc.value_and_limits == pytest.approx(expected.auroc.value_and_limits)


def test_the_marker_is_outside_the_lungs():
    image = phantom.draw(0).image
    marked = plant_marker(image)
    changed = np.argwhere(marked != image) / image.shape
    assert 0.002 < np.mean(marked == 255) < 0.005
    assert changed.min() > 0.9
    assert not lung_mask(1000, 1000)[900:, 905:965].any()


@pytest.mark.parametrize("marked", [0.0, 0.3, 1.0])
def test_a_set_has_each_patient_once_and_markers_on_ill_patients_only(marked):
    pool = Pool(np.arange(60) < 30, np.empty((120, 1, 1)), [], "")
    rows = draw_rows(pool, 40, marked, index=0)
    assert len(np.unique(rows % 60)) == 40
    assert (rows[:20] % 60 < 30).all()
    assert np.sum(rows[:20] >= 60) == 20 * marked
    assert ((rows[20:] >= 30) & (rows[20:] < 60)).all()
    assert not np.array_equal(rows, draw_rows(pool, 40, marked, index=1))


def test_a_goal_says_whether_it_is_met():
    cells = [Cell(50, 0.0, 0.02, 10, KINDS, 0.9, 0.5), Cell(100, 0.0, 0.02, 10, KINDS, 0.9, 0.5)]
    lines = Goal("shortcut", True, 0.03, (50,), (0.0,)).describe(cells)
    assert [("MISSED" in line, "50 patients" in line) for line in lines] == [(True, True)]
    assert "MISSED" not in Goal("not detected", False, 0.7, (100,), (0.0,)).describe(cells)[0]


def test_every_goal_rests_on_two_hundred_sets():
    for goal in GOALS:
        assert {count_sets(patients, marked) for patients in goal.patients for marked in goal.marked} == {200}
    assert count_sets(400, 0.1) == 40


def test_sets_are_summarized_and_drawn():
    verdicts = ("shortcut", "inconclusive", "shortcut", "shortcut")
    results = [SetResult(50, 0.5, i, v, 0.9, "border_only", 0.7, FALSE_CUES, "") for i, v in enumerate(verdicts)]
    (cell,) = summarize_sets(results)
    assert (cell.sets, cell.share("shortcut"), cell.share("not detected")) == (4, 0.75, 0)
    assert cell.control == pytest.approx(0.7)
    figure = draw_cells([cell])
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines["shortcut"] == [[50, 75]]
    plt.close(figure)


@pytest.fixture
def small_pool(tiny, monkeypatch):
    monkeypatch.setattr(backbone_features.Backbone, "load", lambda *_, **__: tiny)
    monkeypatch.setattr(verdict_curves, "MARKED", (0.0, 1.0))
    monkeypatch.setattr(verdict_curves, "make_pool", functools.cache(verdict_pool.make_pool))


def test_a_stopped_measurement_goes_on(small_pool, tmp_path, monkeypatch, capsys):
    output = tmp_path / "verdict.json"
    flags = ["--verdict", "--quick", "--output", str(output)]
    assert benchmark.main(flags) == 0
    table = capsys.readouterr().out
    cells = [cell for cell in json.loads(output.read_text())["cells"] if cell["false_cues"] == FALSE_CUES]
    assert [(cell["marked"], cell["sets"]) for cell in cells] == [(0.0, 2), (1.0, 2)]
    assert cells[1]["control"] > 0.9
    assert output.with_suffix(".png").exists()

    lines = output.with_suffix(".csv").read_text().splitlines(keepends=True)
    output.with_suffix(".csv").write_text("".join(lines[: -len(RULES)]))
    output.unlink()
    measured = []
    measure = verdict_sets.reach_set_verdicts
    monkeypatch.setattr(
        verdict_curves, "reach_set_verdicts", lambda *args: (measured.append(args[3]), measure(*args))[1]
    )
    assert benchmark.main(flags) == 0
    assert measured == [[1]]
    assert capsys.readouterr().out == table


def test_sets_of_other_weights_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verdict_curves, "make_pool", lambda *_: Pool(np.ones(2, bool), np.empty(0), [], "these"))
    output = tmp_path / "verdict.json"
    other = SetResult(50, 0.0, 0, "shortcut", 0.9, "border_only", 0.7, FALSE_CUES, "other")
    verdict_curves.write_csv(output.with_suffix(".csv"), verdict_curves.COLUMNS, [vars(other)])
    assert benchmark.main(["--verdict", "--quick", "--output", str(output)]) == 2
    assert "--weights" in capsys.readouterr().err
