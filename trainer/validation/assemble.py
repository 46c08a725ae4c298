"""Assemble the results of a run from its trained model and its validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from covid_tfds.common.files import to_json
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.features.backbone_features import Features
from trainer.features.head_training import predict_probabilities
from trainer.metrics.evaluation import evaluate
from trainer.models.devices import name_device
from trainer.run_folder import file_names
from trainer.run_folder.dataset_card import describe_dataset
from trainer.run_folder.decision_results import DecisionRates
from trainer.run_folder.details import RunDetails
from trainer.run_folder.environment import describe_environment
from trainer.run_folder.predictions import list_predictions
from trainer.run_folder.results import Evaluation, FineTuning, RunMetrics
from trainer.run_folder.run import Run
from trainer.validation.cross_validation import list_out_of_fold
from trainer.validation.precision import measure_precision
from trainer.validation.saliency import measure_saliency
from trainer.validation.subgroups import compute_subgroups
from trainer.validation.typicality import build_reference, measure_typicality
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
    probabilities = predict_probabilities(features, head)
    environment = describe_environment(config, examples, features.recipe, features.backbone.weights)
    metrics = compute_run_metrics(examples, probabilities, validation, fine_tuning)
    precision = measure_precision(features, head, probabilities, metrics.threshold)
    environment = dataclasses.replace(environment, precision=precision, device=name_device())
    predictions = list_predictions(examples, probabilities, metrics.threshold)
    run = Run(path, config, environment, metrics, predictions)
    out_of_fold = validation.out_of_fold.probabilities.mean(0)
    saliency, overlays = measure_saliency(
        features, head, probabilities, validation.fold_heads, out_of_fold, metrics.threshold
    )
    reference = build_reference(features)
    typicality, pairs = measure_typicality(features, reference)
    details = RunDetails(
        out_of_fold=list_out_of_fold(examples, validation.out_of_fold),
        out_of_fold_train=list_out_of_fold(examples, validation.out_of_fold_train),
        history=tuple(history),
        dataset=describe_dataset(examples),
        saliency=saliency,
        reference=reference,
        typicality=typicality,
        overlays=overlays | pairs,
        tuning=to_json(search_summary),
        tuning_plot=(path / file_names.TUNING_PLOT).read_bytes() if search_summary else None,
    )
    return run, details


def compute_run_metrics(
    examples: Examples, probabilities: np.ndarray, validation: Validation, fine_tuning: FineTuning | None
) -> RunMetrics:
    """Returns metrics.json: the validation, and the final model on the test split.

    Args:
        examples: The dataset.
        probabilities: float [n, classes], the final model's of every image.
        validation: Nothing in it was chosen on the test split.
        fine_tuning: None without fine-tuning.
    """
    point = validation.operating_point
    test = evaluate_test_split(examples, probabilities, point.threshold)
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
        subgroups=compute_subgroups(examples, validation.out_of_fold),
        fine_tuning=fine_tuning,
    )


def evaluate_test_split(examples: Examples, probabilities: np.ndarray, threshold: float) -> Evaluation:
    """Returns the metrics of the test split; its intervals count patients where they are known.

    Args:
        examples: The dataset.
        probabilities: float [n, classes], of every image.
        threshold: Of the operating point.
    """
    rows = examples.rows("test")
    held_out = examples.subset(rows)
    return evaluate(held_out.labels, probabilities[rows], threshold, examples.class_names, held_out.known_patients)
