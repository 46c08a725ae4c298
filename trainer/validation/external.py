"""A finished run judged on images it has nothing to do with: the run's model, threshold and temperature, unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_csv, write_json
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest, Examples
from trainer.features import pipelines
from trainer.metrics import classification
from trainer.report import page, terminal
from trainer.run_folder import file_names, keras_file
from trainer.run_folder.run import Run

BATCH = 8


def validate(run: Run, request: DatasetRequest) -> Path:
    """Judge `run` on the dataset that `request` names; writes external/<name>/ into the run's folder, returns it.

    metrics.json and predictions.csv go there, over older ones of that name, and the report is made anew; the run's
    other files stay as they are. Images whose content or patient is in the run's own dataset are left out. Raises
    UsageError when none is left or the dataset can't be read.
    """
    examples = load_examples(request)
    known = known_rows(run, examples, same_ids=run.config.data.dataset is None and request.dataset is None)
    rows = np.flatnonzero(~known)
    if not len(rows):
        raise UsageError(f"{examples.name}: all {len(examples)} images or their patients are in {run.path}'s own data.")
    examples = examples.subset(rows)
    p_covid = predict(run, examples)
    folder = run.path / file_names.EXTERNAL / request.name
    folder.mkdir(parents=True, exist_ok=True)
    told = terminal.prediction_rows(examples, p_covid)
    rows = [{name: row[name] for name in file_names.EXTERNAL_COLUMNS} for row in told]
    write_csv(folder / file_names.PREDICTIONS, file_names.EXTERNAL_COLUMNS, rows)
    write_json(folder / file_names.METRICS, judge(run, examples, p_covid, int(known.sum())))
    page.write(run.path)
    return folder


def known_rows(run: Run, examples: Examples, same_ids: bool) -> np.ndarray:
    """Bool [n]: images that the run's dataset, train or test, holds byte for byte, or another image of the patient.

    same_ids: whether both datasets number patients alike, as the builder's configs do.
    """
    known = np.isin(examples.sha256, [row.sha256 for row in run.predictions])
    if same_ids:
        known |= np.isin(examples.groups, [row.patient_id for row in run.predictions])
    return known


def predict(run: Run, examples: Examples) -> np.ndarray:
    """The run's saved model on every image: probability of covid, float64 [n]. About 0.1 s an image."""
    model = keras_file.load(run.model_path)
    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    forward = tf.function(lambda images: model(images, training=False), input_signature=signature, autograph=False)
    everyone, told = np.arange(len(examples)), []
    with progress.Line(len(examples), "external validation", "image") as line, pipelines.naming_undecodable(examples):
        for images in pipelines.eval_pipeline(examples, everyone, BATCH):
            told.append(forward(images).numpy()[:, classification.POSITIVE])
            line.advance(len(images))
    return np.concatenate(told).astype(np.float64)


def judge(run: Run, examples: Examples, p_covid: np.ndarray, left_out: int) -> dict:
    """external/<name>/metrics.json: "test" holds the figures of all images, at the run's own threshold."""
    threshold = run.metrics.threshold
    return {
        "positive_class": classification.POSITIVE_CLASS,
        "run_id": run.environment.run_id,
        "threshold": threshold,
        "temperature": run.metrics.temperature,
        "dataset": {
            "name": examples.name,
            "version": examples.version,
            "fingerprint": examples.fingerprint,
            "class_names": list(examples.class_names),
            "patient_grouped": examples.patients_known,
        },
        "left_out": left_out,
        "test": classification.summary(examples.labels, p_covid, threshold, examples.known_patients),
    }
