"""Shortcut controls: logistic regressions that may use one kind of cue only.

DeGrave, Janizek and Lee (2021), AI for radiographic COVID-19 detection selects shortcuts over signal; Maguolo and
Nanni (2021), A critic evaluation of methods for COVID-19 automatic detection from X-ray images (who blacked out the
lungs). A control is cross-validated on the model's own folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from covid_tfds.examples import Examples
from trainer.metrics.folds import assign_folds
from trainer.metrics.one_vs_rest import compute_auroc
from trainer.run_folder.estimate import Estimate
from trainer.validation import lung_rectangle
from trainer.validation.file_facts import file_facts
from trainer.validation.lung_regions import find_lungs
from trainer.validation.patient_facts import encode_patient_facts, encode_sources

PATIENT_FACTS, PERMUTED = "patient_facts", "permuted_labels"


@dataclass(frozen=True)
class Control:
    """A classifier that may use one kind of cue only.

    Attributes:
        name: Key in metrics.json.
        what: What it sees, in words.
        sees_lungs: Whether its inputs hold pixels of the lungs.
        inputs: float [n, d], one row per image.
    """

    name: str
    what: str
    sees_lungs: bool
    inputs: np.ndarray


def build_controls(
    examples: Examples, thumbnails: np.ndarray, untrained: np.ndarray, pooled: np.ndarray
) -> list[Control]:
    """Returns the controls: seven, and those of patient facts and sources where the dataset has them.

    Args:
        examples: The dataset.
        thumbnails: float [n, 32, 32], grey.
        untrained: float [n, d], pooled features of a backbone with random weights.
        pooled: float [n, d], the model's own pooled features.

    Raises:
        UsageError: If an image can't be read.
    """
    n, height, width = thumbnails.shape
    small = thumbnails.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4)).reshape(n, -1)
    border, regions = lung_rectangle.border_mask(height, width), find_lungs(examples, np.arange(n), height)
    # The outline of a blacked-out mask still differs between images; a pixel that is lung in every image is constant.
    blacked_out = np.where(regions.lungs, 0, thumbnails)
    patient_facts, sources = encode_patient_facts(examples), encode_sources(examples)
    controls = [
        Control(
            "border_only",
            f"Sees only the outer frame of the image, {100 * lung_rectangle.BORDER:.0f} % of its sides wide.",
            False,
            blacked_out[:, border],
        ),
        Control(
            "lungs_blacked_out",
            f"Sees the image with the lungs blacked out: {regions.describe()}.",
            False,
            blacked_out[:, ~regions.lungs.all(axis=0)],
        ),
        Control(
            "file_facts",
            "Sees no pixel: only the number of channels, width, height, aspect ratio, file type and JPEG quality.",
            False,
            file_facts(examples),
        ),
    ]
    if patient_facts is not None:
        what = "Sees no pixel: only age, sex and view as far as they are stated, and which of them are not."
        controls.append(Control(PATIENT_FACTS, what, False, patient_facts))
    if sources is not None:
        controls.append(Control("source", "Sees no pixel: only where the image comes from.", False, sources))
    return [
        *controls,
        Control("mean_brightness", "Sees one number: the mean grey level of the image.", True, small.mean(1)[:, None]),
        Control("thumbnail_16x16", "Sees the whole image, but only at 16 x 16 grey pixels.", True, small),
        Control("untrained_backbone", "Sees the image through an untrained VGG16 (random weights).", True, untrained),
        Control(
            PERMUTED,
            "Sees the model's own features, with the labels shuffled among patients: at chance unless the evaluation "
            "leaks.",
            True,
            pooled,
        ),
    ]


def score_out_of_fold(inputs: np.ndarray, is_positive: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Returns out-of-fold log-odds of the positive class, float64 [repeats, n].

    Args:
        inputs: float [n, d], standardised within each training part.
        is_positive: bool [n].
        folds: int [repeats, n], each image's fold.
    """
    scores = np.empty(folds.shape)
    # scikit-learn would check the same parameters and values in each of hundreds of small fits.
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for repeat, own in enumerate(folds):
            for fold in np.unique(own):
                test = own == fold
                model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
                scores[repeat, test] = model.fit(inputs[~test], is_positive[~test]).decision_function(inputs[test])
    return scores


def compute_permuted_auroc(
    inputs: np.ndarray, is_positive: np.ndarray, patients: np.ndarray, permutations: int, seed: int
) -> Estimate:
    """Returns the mean AUROC with labels shuffled among patients; its limits are the means of the permutations' limits.

    Args:
        inputs: float [n, d].
        is_positive: bool [n].
        patients: ids [n].
        permutations: How often labels are shuffled; each time with folds of their own.
        seed: Of the shuffling and of the folds.
    """
    _, first, patient = np.unique(patients, return_index=True, return_inverse=True)
    estimates = []
    for index in range(permutations):
        shuffled = np.random.default_rng([seed, index]).permutation(is_positive[first])[patient]
        folds = assign_folds(~shuffled, patients, seed + index, repeats=1)
        estimates.append(compute_auroc(shuffled, score_out_of_fold(inputs, shuffled, folds), patients))
    value, low, high = (float(mean) for mean in np.mean([one.value_and_limits for one in estimates], axis=0))
    return Estimate(value, (low, high), len(patients))
