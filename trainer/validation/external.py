"""External validation: a finished run's model, threshold and temperature, unchanged, on another dataset."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest, Examples
from trainer.features import pipelines
from trainer.metrics.one_vs_rest import evaluate
from trainer.run_folder import keras_file
from trainer.run_folder.details import ExternalValidation
from trainer.run_folder.environment import identify_dataset
from trainer.run_folder.predictions import list_predictions
from trainer.run_folder.results import External
from trainer.run_folder.run import Run

BATCH = 8


def validate_externally(run: Run, request: DatasetRequest) -> ExternalValidation:
    """Returns the run's metrics on the dataset that `request` names, without images and patients of its own.

    Raises:
        UsageError: If the dataset can't be read, or all images or their patients are in the run's own data.
    """
    examples = load_examples(request)
    known = find_known_rows(run, examples, same_ids=run.config.data.dataset is None and request.dataset is None)
    if known.all():
        raise UsageError(f"{examples.name}: all {len(examples)} images or their patients are in {run.path}'s own data.")
    examples = examples.subset(np.flatnonzero(~known))
    p_covid = predict(run, examples)
    metrics = compute_metrics(run, examples, p_covid, int(known.sum()))
    return ExternalValidation(request.name, metrics, list_predictions(examples, p_covid))


def compute_metrics(run: Run, examples: Examples, p_covid: np.ndarray, left_out: int) -> External:
    """Returns external/<name>/metrics.json for the model's probabilities, float [n]."""
    is_positive = examples.is_class(run.metrics.positive_class)
    return External(
        positive_class=run.metrics.positive_class,
        run_id=run.environment.run_id,
        threshold=run.metrics.threshold,
        temperature=run.metrics.temperature,
        dataset=identify_dataset(examples),
        left_out=left_out,
        test=evaluate(is_positive, p_covid, run.metrics.threshold, examples.known_patients),
    )


def find_known_rows(run: Run, examples: Examples, same_ids: bool) -> np.ndarray:
    """Returns bool [n]: True for images that are in the run's dataset, or whose patient is.

    Args:
        run: The run.
        examples: The other dataset.
        same_ids: Whether both datasets number patients alike, as the builder's configs do.
    """
    known = np.isin(examples.sha256, [row.sha256 for row in run.predictions])
    if same_ids:
        known |= np.isin(examples.groups, [row.patient_id for row in run.predictions])
    return known


def predict(run: Run, examples: Examples) -> np.ndarray:
    """Returns the saved model's probability of covid for every image, float64 [n]. About 0.1 s per image."""
    model = keras_file.load_model(run.model_path)
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    forward = tf.function(lambda images: model(images, training=False), input_signature=signature, autograph=False)
    everyone, parts = np.arange(len(examples)), []
    with progress.Line(len(examples), "external validation", "image") as line, pipelines.naming_undecodable(examples):
        for images in pipelines.eval_pipeline(examples, everyone, BATCH):
            parts.append(forward(images).numpy()[:, 0])
            line.advance(len(images))
    return np.concatenate(parts).astype(np.float64)
