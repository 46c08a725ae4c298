"""Cross-validate, calibrate, choose the threshold, run the shortcut controls.

Temperature and threshold come from out-of-fold predictions of the training split alone. The cross-validation over all
images, test split included, chooses nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np

from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features
from trainer.metrics import calibration
from trainer.metrics.operating_point import choose_operating_point, cross_fit_thresholds
from trainer.run_folder.decision_results import Calibration, OperatingPoint
from trainer.run_folder.results import CrossValidation
from trainer.run_folder.shortcut_results import Shortcuts
from trainer.validation.controls import Control, build_controls
from trainer.validation.cross_validation import OutOfFold, compute_cross_validation, plan_folds, predict_out_of_fold
from trainer.validation.fold_heads import FoldHeads
from trainer.validation.patient_facts import tabulate_sources
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
        out_of_fold: The predictions of the cross-validation over all images.
        out_of_fold_train: Those of the training split, on which calibration and operating point rest.
        fold_heads: The heads of the cross-validation over all images.
    """

    calibration: Calibration
    operating_point: OperatingPoint
    cross_validation: CrossValidation
    shortcuts: Shortcuts
    out_of_fold: OutOfFold
    out_of_fold_train: OutOfFold
    fold_heads: FoldHeads


def validate_recipe(features: Features, config: Config) -> Validation:
    """Validates the recipe of `features` on its images, with the target sensitivity and weights of `config`."""
    examples, seed = features.examples, features.seed
    is_positive, patients, truth = examples.is_positive, examples.groups, features.targets.astype(bool)
    everyone, train = np.arange(len(examples)), examples.rows("train")
    pooled = features.pooled(everyone, features.recipe.variants)

    plans = [plan_folds(examples, rows, seed) for rows in (everyone, train)]
    predictions, weights = predict_out_of_fold(features.recipe, pooled, features.targets, plans, seed)
    log_p, train_log_p = predictions

    calibrated = calibration.calibrate(truth[train], train_log_p, plans[1].folds)
    temperature = calibrated.temperature
    p_train = calibration.probabilities(train_log_p, temperature)
    point = choose_operating_point(is_positive[train], patients[train], p_train[..., 0], config.target_sensitivity)
    shape = plans[1].folds.shape
    predicted_train = OutOfFold(plans[1], p_train, np.full(shape, temperature), np.full(shape, point.threshold))

    folds = plans[0].folds
    temperatures = np.ones(folds.shape)
    if calibrated.applied:
        temperatures = calibration.cross_fit_temperatures(truth, log_p, folds)
    thresholds = cross_fit_thresholds(is_positive, log_p, temperatures, folds, config.target_sensitivity)
    predicted = OutOfFold(plans[0], calibration.probabilities(log_p, temperatures), temperatures, thresholds)
    cross_validation = compute_cross_validation(examples, predicted)
    if config.tune:
        cross_validation = dataclasses.replace(cross_validation, how=cross_validation.how + TUNED)

    untrained = pooled[:, 0] if config.weights == "random" else _pool_untrained(features)
    controls = build_controls(examples, features.thumbnails(everyone), untrained, pooled[:, 0])
    shortcuts = reach_verdicts(examples, controls, predicted, seed)
    fold_heads = FoldHeads(features, folds, temperatures, weights[0])
    return Validation(calibrated, point, cross_validation, shortcuts, predicted, predicted_train, fold_heads)


def reach_verdicts(examples: Examples, controls: list[Control], predicted: OutOfFold, seed: int) -> Shortcuts:
    """Returns the verdict on the positive class and, with more than two classes, on each other class against the rest.

    Args:
        examples: The dataset.
        controls: As `build_controls` makes them.
        predicted: The model's out-of-fold predictions of all images.
        seed: Of the permuted labels.
    """
    folds = predicted.plan.folds
    shortcuts = {
        name: compare_with_controls(
            controls, examples.is_class(name), examples.groups, folds, predicted.probabilities[..., place], seed
        )
        for place, name in enumerate(examples.class_names)
        if place == 0 or len(examples.class_names) > 2
    }
    positive = shortcuts.pop(examples.class_names[0])
    return dataclasses.replace(positive, sources=tabulate_sources(examples), classes=shortcuts)


def apply_temperature(head: keras.Model, validation: Validation) -> None:
    """Divides the log-odds that the head gives by the temperature, which becomes part of its last layer."""
    temperature = validation.calibration.temperature
    head.set_weights(calibration.divide_last_layer(head.get_weights(), temperature))


def _pool_untrained(features: Features) -> np.ndarray:
    """Pooled features of a backbone with random weights, float32 [n, d]."""
    own = features.backbone
    backbone = Backbone.load("random", features.seed, own.precision, own.workers)
    untrained = dataclasses.replace(features, backbone=backbone)
    return untrained.pooled(np.arange(len(features.examples)), 1)[:, 0]
