"""Assemble the results of a run from its trained model and its validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from covid_tfds.common.files import to_json
from covid_tfds.examples import POSITIVE_CLASS, Examples
from trainer.config import Config
from trainer.features.backbone_features import Features
from trainer.features.head_training import predict_positive
from trainer.metrics.one_vs_rest import evaluate
from trainer.run_folder import file_names
from trainer.run_folder.dataset_card import describe_dataset
from trainer.run_folder.details import RunDetails
from trainer.run_folder.environment import describe_environment
from trainer.run_folder.predictions import list_predictions
from trainer.run_folder.results import DecisionRates, FineTuning, RunMetrics
from trainer.run_folder.run import Run
from trainer.validation.cross_validation import list_out_of_fold
from trainer.validation.precision import measure_precision
from trainer.validation.saliency import measure_saliency
from trainer.validation.validate import Validation


def assemble_run(
    path: Path,
    config: Config,
    features: Features,
    head: keras.Model,
    history: list[dict[str, float]],
    validation: Validation,
    fine_tuning: FineTuning | None = None,
    search_summary: Any = None,
) -> tuple[Run, RunDetails]:
    """Evaluates the final head and returns everything that the run folder holds, except the model.

    Args:
        path: The run folder.
        config: The run's flags.
        features: Of the final backbone.
        head: The final head.
        history: The epochs' metrics.
        validation: Of the recipe.
        fine_tuning: None without fine-tuning.
        search_summary: `tuning.summary.SearchSummary`; None without a search.
    """
    examples = features.examples
    p_covid = predict_positive(features, head)
    environment = describe_environment(config, examples, features.recipe, features.backbone.sha256)
    environment = dataclasses.replace(environment, precision=measure_precision(features, head, p_covid))
    metrics = compute_run_metrics(examples, p_covid, validation, fine_tuning)
    run = Run(path, config, environment, metrics, list_predictions(examples, p_covid))
    p_out_of_fold = validation.p_out_of_fold
    saliency, overlays = measure_saliency(features, head, p_covid, p_out_of_fold.mean(0), metrics.threshold)
    details = RunDetails(
        out_of_fold=list_out_of_fold(examples, validation.folds, p_out_of_fold),
        history=tuple(history),
        dataset=describe_dataset(examples),
        saliency=saliency,
        overlays=overlays,
        tuning=to_json(search_summary),
        tuning_plot=(path / file_names.TUNING_PLOT).read_bytes() if search_summary else None,
    )
    return run, details


def compute_run_metrics(
    examples: Examples, p_covid: np.ndarray, validation: Validation, fine_tuning: FineTuning | None
) -> RunMetrics:
    """Returns metrics.json: the validation, and the final model on the test split.

    Args:
        examples: The dataset.
        p_covid: float [n], the final model's probability of covid for every image.
        validation: Nothing in it was chosen on the test split.
        fine_tuning: None without fine-tuning.
    """
    held_out = examples.subset(examples.rows("test"))
    is_positive = held_out.is_class(POSITIVE_CLASS)
    point = validation.operating_point
    # The interval of a test split usually counts images. The cross-validation's intervals count patients.
    test = evaluate(is_positive, p_covid[examples.rows("test")], point.threshold)
    if held_out.patients_known:
        test = dataclasses.replace(test, patients=len(np.unique(held_out.groups)))
    return RunMetrics(
        positive_class=examples.class_names[0],
        threshold=point.threshold,
        temperature=validation.calibration.temperature,
        target_sensitivity=point.target_sensitivity,
        test=test,
        cross_validation=validation.cross_validation,
        shortcuts=validation.shortcuts,
        operating_point=dataclasses.replace(point, test=DecisionRates(test.sensitivity, test.specificity)),
        calibration=validation.calibration,
        fine_tuning=fine_tuning,
    )
