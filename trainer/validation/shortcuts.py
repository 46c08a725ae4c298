"""What can be had without looking at the lungs: control classifiers, and a verdict on the model. Never TensorFlow.

DeGrave, Janizek and Lee (2021), AI for radiographic COVID-19 detection selects shortcuts over signal; Maguolo and
Nanni (2021), A critic evaluation of methods for COVID-19 automatic detection from X-ray images (who blacked out the
lungs). A control is a logistic regression on standardised inputs, judged on the model's own folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from covid_tfds.common import progress
from trainer.metrics import bootstrap, classification, folds
from trainer.validation import regions

PERMUTED = "permuted_labels"
# Three controls that cannot see the lungs get a try, and the bootstrap does not see what training on other folds would
# change: at 95 % one of three finds a cue in pure noise in 13 runs of 100, at 99 % in about 3.
CUE_LEVEL = 0.99
RULE = (
    "The verdict is 'shortcut' when the model is better than chance (95 % interval of its AUROC above 0.5), a control "
    "that cannot see the lungs is so, too (99 % interval), and the model is not shown to be more than twice as far "
    "above 0.5 as that control (95 % interval of the paired difference, bootstrap over patients)."
)


@dataclass(frozen=True)
class Control:
    """A classifier that may use one kind of cue only. inputs: float [n, d], one row an image."""

    name: str
    what: str
    sees_lungs: bool
    inputs: np.ndarray


def controls(
    thumbnails: np.ndarray, file_facts: np.ndarray, untrained: np.ndarray, pooled: np.ndarray
) -> list[Control]:
    """The seven controls.

    thumbnails: grey, float [n, 32, 32]. file_facts: float [n, k]. untrained: pooled features of a random-weight
    backbone, float [n, d]. pooled: the model's own pooled features, float [n, d].
    """
    n, height, width = thumbnails.shape
    border, lungs = regions.border_mask(height, width), regions.lung_mask(height, width)
    small = thumbnails.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4)).reshape(n, -1)
    top, bottom, left, right = regions.LUNGS
    frame, across, down = (f"{100 * share:.0f} %" for share in (regions.BORDER, right - left, bottom - top))
    return [
        Control(
            "border_only",
            f"Sees the outer frame of the image only, {frame} of its sides wide.",
            False,
            thumbnails[:, border],
        ),
        Control(
            "lungs_blacked_out",
            f"Sees what is left when the rectangle that holds the lungs, {across} of the width and {down} of the "
            "height, is black.",
            False,
            thumbnails[:, ~lungs],
        ),
        Control(
            "file_facts",
            "Sees no pixel: the number of channels, width, height, aspect ratio, file type and JPEG quality only.",
            False,
            file_facts,
        ),
        Control("mean_brightness", "Sees one number: the mean grey level of the image.", True, small.mean(1)[:, None]),
        Control("thumbnail_16x16", "Sees the whole image at 16 x 16 grey pixels only.", True, small),
        Control(
            "untrained_backbone",
            "Sees the image through a VGG16 that has learnt nothing: random weights.",
            True,
            untrained,
        ),
        Control(
            PERMUTED,
            "Sees the model's own features with the labels shuffled among patients: at chance unless the evaluation "
            "itself leaks.",
            True,
            pooled,
        ),
    ]


def judge(
    candidates: list[Control],
    labels: np.ndarray,
    patients: np.ndarray,
    assignment: np.ndarray,
    model_scores: np.ndarray,
    seed: int,
) -> dict:
    """metrics.json's "shortcuts". labels: int [n]. patients: ids [n]. assignment: int [repeats, n], each image's fold.

    model_scores: the model's out-of-fold scores, float [repeats, n], higher for covid.
    """
    told = {}
    model = classification.auroc(labels, model_scores, patients)
    draws = _draws(labels, patients, model_scores)
    # These problems are too small for a second thread: two BLAS pools that wait for each other are 20 times slower.
    with threadpool_limits(1), progress.Line(len(candidates), "shortcut controls", "control") as line:
        for control in candidates:
            entry = {"sees_lungs": control.sees_lungs, "what": control.what}
            if control.name == PERMUTED:
                entry["auroc"] = permuted_auroc(control.inputs, labels, patients, len(assignment), seed)
            else:
                scores = out_of_fold(control.inputs, labels, assignment)
                entry["auroc"] = classification.auroc(labels, scores, patients)
                if not control.sees_lungs:
                    entry |= compared(model, draws, entry["auroc"], _draws(labels, patients, scores), labels, patients)
            told[control.name] = entry
            line.advance()
    return {**verdict(model, told), "model": {"auroc": model}, "controls": told}


def compared(
    model: dict,
    model_draws: np.ndarray,
    control: dict,
    control_draws: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray,
) -> dict:
    """What the verdict needs to know of a control: {"is_cue": bool, "lead": {"value", "ci95", "n"}}.

    is_cue: better than chance at CUE_LEVEL. lead: the model's distance from AUROC 0.5 less twice the control's.
    model, control: AUROC figures; their draws are of the same bootstrap replicates.
    """
    positive = labels == classification.POSITIVE
    sizes = classification.patients_of(positive, patients), classification.patients_of(~positive, patients)
    low = min(
        classification.newcombe_interval(control["value"], *sizes, CUE_LEVEL)[0],
        np.quantile(control_draws, (1 - CUE_LEVEL) / 2),
    )
    leads = np.quantile((model_draws - 0.5) - 2 * (control_draws - 0.5), (0.025, 0.975))
    value = (model["value"] - 0.5) - 2 * (control["value"] - 0.5)
    return {
        "is_cue": bool(low > 0.5),
        "lead": {"value": value, "ci95": [float(limit) for limit in leads], "n": model["n"]},
    }


def verdict(model: dict, told: dict[str, dict]) -> dict:
    """{"verdict", "rule", "because", "strongest"} from the model's AUROC figure and the controls' entries.

    strongest: the control with the highest AUROC among those that cannot see the lungs.
    """
    blind = {name: entry for name, entry in told.items() if not entry["sees_lungs"]}
    cues = [name for name, entry in blind.items() if entry["is_cue"]]
    rivals = [name for name in cues if blind[name]["lead"]["ci95"][0] <= 0]
    at_chance = model["ci95"][0] <= 0.5
    if at_chance:
        because = "The model is not shown to be better than chance, so there is no skill to explain."
        if cues:
            because += f" The images do hold a cue that is not in the lungs, though: {', '.join(cues)}."
    elif rivals:
        because = f"At least half of the model's skill can be had without the lungs: {', '.join(rivals)}."
    else:
        because = "No control that cannot see the lungs comes near the model."
    return {
        "verdict": "shortcut" if rivals and not at_chance else "not detected",
        "rule": RULE,
        "because": because,
        "strongest": max(blind, key=lambda name: blind[name]["auroc"]["value"]),
    }


def out_of_fold(inputs: np.ndarray, labels: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    """Log-odds of covid from classifiers that did not see the image's fold, float64 [repeats, n]."""
    positive = labels == classification.POSITIVE
    scores = np.empty(assignment.shape)
    for repeat, own in enumerate(assignment):
        for fold in np.unique(own):
            test = own == fold
            classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
            scores[repeat, test] = classifier.fit(inputs[~test], positive[~test]).decision_function(inputs[test])
    return scores


def permuted_auroc(inputs: np.ndarray, labels: np.ndarray, patients: np.ndarray, permutations: int, seed: int) -> dict:
    """AUROC figure with labels shuffled among patients, anew `permutations` times; each has folds of its own.

    The limits are the means of the single permutations' limits.
    """
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    found = []
    for index in range(permutations):
        shuffled = np.random.default_rng([seed, index]).permutation(labels[first])[patient]
        assignment = folds.assign(shuffled, patients, seed + index, repeats=1)
        found.append(classification.auroc(shuffled, out_of_fold(inputs, shuffled, assignment), patients))
    limits = np.mean([figure["ci95"] for figure in found], axis=0)
    value = float(np.mean([figure["value"] for figure in found]))
    return {"value": value, "ci95": [float(limit) for limit in limits], "n": len(labels)}


def _draws(labels: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return bootstrap.area_draws(bootstrap.roc_area, labels == classification.POSITIVE, patients, scores)
