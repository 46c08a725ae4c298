"""What a run is worth: cross-validation, calibration, operating point and shortcut controls, before the test split.

The temperature and the threshold come from out-of-fold predictions of the training split alone. The figures of the
cross-validation over all images, test split included, choose nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features
from trainer.metrics import calibration, operating_point
from trainer.validation import cross_validation, file_facts, shortcuts
from trainer.validation.cross_validation import Plan

TUNED = (
    " The recipe was chosen on the training images, which are judged here, too: the figures flatter it a little; those "
    "of the test split do not."
)


@dataclass(frozen=True)
class Judgement:
    """The frozen choices for the final model, sections of metrics.json, and out_of_fold.csv's rows."""

    temperature: float
    threshold: float
    sections: dict
    out_of_fold: list[dict]


def judge(cached: Features, config: Config) -> Judgement:
    """Judge the recipe of `cached` on its images, as `config` wants it (target sensitivity, weights, tuned or not)."""
    examples, labels = cached.examples, cached.examples.labels
    everyone = np.arange(len(examples))
    pooled = cached.pooled(everyone, cached.recipe.variants)
    whole, train = (Plan.of(examples, rows, cached.seed) for rows in (everyone, examples.rows("train")))
    odds, train_odds = cross_validation.log_odds(cached.recipe, pooled, cached.targets, [whole, train], cached.seed)
    calibrated = calibration.calibrate(labels[train.rows], train_odds, train.fold)
    applied, temperature = calibrated["applied"], calibrated["temperature"]
    p_covid = cross_validation.probabilities(labels, whole, odds, applied)
    point = operating_point.choose(
        labels[train.rows],
        examples.groups[train.rows],
        calibration.probabilities(train_odds, temperature),
        config.target_sensitivity,
    )
    untrained = pooled[:, 0] if config.weights == "random" else _untrained(cached)
    controls = shortcuts.controls(cached.thumbnails(everyone), file_facts.file_facts(examples), untrained, pooled[:, 0])
    validated = cross_validation.figures(examples, whole, odds, config.target_sensitivity, applied)
    if config.tune:
        validated["how"] += TUNED
    sections = {
        "cross_validation": validated,
        "shortcuts": shortcuts.judge(controls, labels, examples.groups, whole.fold, p_covid, cached.seed),
        "operating_point": point,
        "calibration": calibrated,
    }
    return Judgement(temperature, point["threshold"], sections, cross_validation.rows(examples, whole, p_covid))


def _untrained(cached: Features) -> np.ndarray:
    """Pooled features of a backbone with random weights, float32 [n, d]."""
    backbone = Backbone.load("random", cached.seed, cached.backbone.precision)
    random = dataclasses.replace(cached, backbone=backbone)
    return random.pooled(np.arange(len(cached.examples)), 1)[:, 0]
