import numpy as np
import pytest
from PIL import Image

from trainer.tuning import plots
from trainer.tuning.selection import Judgement


def row(number, score, failed=False, **hyperparameters):
    judged = None if failed else Judgement(np.linspace(score - 0.1, score + 0.1, 5), 0.5 - score / 3, score)
    values = {"learning_rate": 1e-3, "pooling": "corner", "epochs": 25, "units": 64} | hyperparameters
    return {"trial": number, "judged": judged, "hyperparameters": values}


def summary(rows, **changes):
    def told(one):
        return {
            "trial": one["trial"],
            "score": one["judged"].score,
            "auroc_mean": one["judged"].auroc.mean(),
            "log_loss": one["judged"].log_loss,
            "hyperparameters": one["hyperparameters"],
        }

    completed = [one for one in rows if one["judged"]]
    return {
        "tuner": "random",
        "folds": 5,
        "images": 40,
        "patients": 30,
        "tutorial": told(rows[0]) if rows[0]["judged"] else None,
        "best": told(max(completed, key=lambda one: one["judged"].score)),
        "without_selection_bias": {"auroc": {"value": 0.8, "ci95": [0.6, 0.9]}},
    } | changes


def many(count):
    random = np.random.default_rng(0)
    for number in range(count):
        rate, pooling = 10 ** random.uniform(-4, -2), str(random.choice(["corner", "average", "max"]))
        units = int(random.choice([16, 64, 256]))
        yield row(number, 0.6 + 0.2 * (pooling == "max"), learning_rate=rate, pooling=pooling, units=units)


def test_what_decides_the_score_is_found_to_matter_most():
    shares = plots.importances(list(many(40)))
    assert next(iter(shares)) == "pooling"
    assert shares["pooling"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_too_few_trials_rank_nothing():
    assert plots.importances(list(many(5))) == {}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (list(many(20)), {}),
        ([row(0, 0.7)], {"without_selection_bias": None}),
        ([row(0, 0, failed=True), row(1, 0.7), row(2, 0, failed=True)], {"without_selection_bias": None}),
        ([row(number, 0.9, **{"tuner/epochs": 4 + number, "tuner/bracket": 2}) for number in range(9)], {}),
    ],
    ids=["many", "one", "failures", "hyperband"],
)
def test_a_picture_is_drawn_of_any_search(tmp_path, rows, changes):
    plots.draw(tmp_path / "tuning.png", rows, summary(rows, **changes))
    with Image.open(tmp_path / "tuning.png") as picture:
        assert picture.size[0] == 1200
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 100
