"""Cross-validate, calibrate, choose the threshold, run the shortcut controls.

Temperature and threshold come from out-of-fold predictions of the training split alone. The cross-validation over all
images, test split included, chooses nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from covid_tfds.examples import POSITIVE_CLASS
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features
from trainer.metrics import calibration
from trainer.metrics.operating_point import choose_operating_point
from trainer.run_folder.results import Calibration, CrossValidation, OperatingPoint, Shortcuts
from trainer.validation.controls import build_controls
from trainer.validation.cross_validation import compute_cross_validation, plan_folds, predict_out_of_fold
from trainer.validation.file_facts import file_facts
from trainer.validation.verdict import compare_with_controls

TUNED = (
    " The recipe was chosen on the training images, which are among these images: the metrics are slightly too high. "
    "Those of the test split are not."
)


@dataclass(frozen=True)
class Validation:
    """Results that do not use the final head.

    Attributes:
        calibration: With the temperature for the final head.
        operating_point: With the threshold for the final head.
        cross_validation: Over all images.
        shortcuts: Controls and verdict.
        folds: int64 [repeats, n], the fold that held each image out.
        p_out_of_fold: float64 [repeats, n], out-of-fold probability of covid.
    """

    calibration: Calibration
    operating_point: OperatingPoint
    cross_validation: CrossValidation
    shortcuts: Shortcuts
    folds: np.ndarray
    p_out_of_fold: np.ndarray


def validate_recipe(features: Features, config: Config) -> Validation:
    """Validates the recipe of `features` on its images, with the target sensitivity and weights of `config`."""
    examples, seed = features.examples, features.seed
    is_positive, patients = examples.is_class(POSITIVE_CLASS), examples.groups
    everyone, train = np.arange(len(examples)), examples.rows("train")
    pooled = features.pooled(everyone, features.recipe.variants)

    plans = [plan_folds(examples, rows, seed) for rows in (everyone, train)]
    log_odds, train_log_odds = predict_out_of_fold(features.recipe, pooled, features.targets, plans, seed)

    calibrated = calibration.calibrate(is_positive[train], train_log_odds, plans[1].folds)
    p_train = calibration.probabilities(train_log_odds, calibrated.temperature)
    point = choose_operating_point(is_positive[train], patients[train], p_train, config.target_sensitivity)

    folds = plans[0].folds
    temperatures = calibration.cross_fit_temperatures(is_positive, log_odds, folds) if calibrated.applied else 1.0
    p_covid = calibration.probabilities(log_odds, temperatures)
    cross_validation = compute_cross_validation(examples, plans[0], log_odds, p_covid, config.target_sensitivity)
    if config.tune:
        cross_validation = dataclasses.replace(cross_validation, how=cross_validation.how + TUNED)

    untrained = pooled[:, 0] if config.weights == "random" else _pool_untrained(features)
    controls = build_controls(features.thumbnails(everyone), file_facts(examples), untrained, pooled[:, 0])
    shortcuts = compare_with_controls(controls, is_positive, patients, folds, p_covid, seed)
    return Validation(calibrated, point, cross_validation, shortcuts, folds, p_covid)


def apply_temperature(head: keras.Model, validation: Validation) -> None:
    """Divides the log-odds that the head gives by the temperature, which becomes part of its last layer."""
    temperature = validation.calibration.temperature
    head.set_weights(calibration.divide_last_layer(head.get_weights(), temperature))


def _pool_untrained(features: Features) -> np.ndarray:
    """Pooled features of a backbone with random weights, float32 [n, d]."""
    backbone = Backbone.load("random", features.seed, features.backbone.precision)
    untrained = dataclasses.replace(features, backbone=backbone)
    return untrained.pooled(np.arange(len(features.examples)), 1)[:, 0]
