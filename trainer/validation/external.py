"""External validation: a finished run's model, threshold and temperature, unchanged, on another dataset."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from covid_tfds.audit.copies import find_copies
from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from covid_tfds.conflicts import refuse_conflicts
from covid_tfds.datasets import load_examples
from covid_tfds.examples import UNKNOWN, DatasetRequest, Examples
from covid_tfds.layouts import describe_examples
from trainer.features import pipelines
from trainer.features.forward import thumbnails
from trainer.metrics.evaluation import evaluate
from trainer.metrics.intervals import exact_interval
from trainer.models import heads
from trainer.run_folder import file_names, keras_file
from trainer.run_folder.details import ExternalValidation
from trainer.run_folder.environment import identify_dataset
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import list_predictions
from trainer.run_folder.results import Declined, External
from trainer.run_folder.run import Run
from trainer.run_folder.typicality import is_declined, join_features, load_reference

BATCH = 8


def validate_externally(run: Run, request: DatasetRequest) -> ExternalValidation:
    """Returns the run's metrics on the dataset that `request` names, without images and patients of its own.

    Raises:
        UsageError: If the dataset can't be read, has none of the run's other classes, or all images or their patients
            are in the run's own data.
    """
    examples = load_examples(request)
    if request.dataset:
        print(describe_examples(examples))
    refuse_conflicts(examples)
    known = find_known_rows(run, examples)
    copies = find_near_duplicates(run, examples)
    left_out = known if copies is None else known | copies
    if left_out.all():
        raise UsageError(
            f"{examples.name}: all {len(examples)} images or their patients are in {run.path}'s own data. If other "
            "people have the same patient_id there, rename them."
        )
    class_of = match_classes(run.environment.dataset.class_names, examples.class_names)
    if class_of is None:
        raise UsageError(
            f"{examples.name}: none of its classes [{', '.join(examples.class_names[1:])}] has the name of one of the "
            f"run's other classes [{', '.join(run.environment.dataset.class_names[1:])}]. Rename its folders."
        )
    validation = _evaluate(run, request.name, examples.subset(np.flatnonzero(~left_out)), class_of, int(left_out.sum()))
    near_duplicates = None if copies is None else int((copies & ~known).sum())
    metrics = dataclasses.replace(validation.metrics, near_duplicates=near_duplicates)
    return dataclasses.replace(validation, metrics=metrics)


def match_classes(own: Sequence[str], others: Sequence[str]) -> dict[str, str] | None:
    """Returns the run's class for each class of another dataset that has one; None if only positive classes match.

    Names match whatever their case, blanks and punctuation. The positive classes, the first ones, match in any case
    unless one has the name of another class; and so do the only other classes of two datasets of two classes.

    Args:
        own: The run's classes.
        others: The other dataset's.

    Example:
        >>> match_classes(["covid", "normal", "pneumonia"], ["COVID-19", "Normal", "Lung_Opacity"])
        {'COVID-19': 'covid', 'Normal': 'normal'}
    """
    by_key = {_key(name): name for name in own}
    matched = {other: by_key[_key(other)] for other in others if _key(other) in by_key}
    if others[0] not in matched and own[0] not in matched.values():
        matched = {others[0]: own[0]} | matched
    if len(own) == len(others) == 2 and others[1] not in matched and own[1] not in matched.values():
        matched[others[1]] = own[1]
    return matched if set(matched.values()) - {own[0]} else None


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _evaluate(run: Run, name: str, examples: Examples, class_of: dict[str, str], left_out: int) -> ExternalValidation:
    own = run.environment.dataset.class_names
    names = np.asarray(examples.class_names)[examples.labels]
    unknown = {other: int((names == other).sum()) for other in examples.class_names if other not in class_of}
    rows = np.flatnonzero(np.isin(names, list(class_of)))
    if not len(rows):
        raise UsageError(f"{examples.name}: no image is left of the classes [{', '.join(class_of)}].")
    matched = examples.subset(rows)
    labels = np.asarray([own.index(class_of[other]) for other in names[rows]])
    matched = dataclasses.replace(matched, class_names=own, labels=labels)
    probabilities, vectors = run_model(run, matched)
    metrics = External(
        positive_class=run.metrics.positive_class,
        run_id=run.environment.run_id,
        threshold=run.metrics.threshold,
        temperature=run.metrics.temperature,
        dataset=identify_dataset(examples),
        left_out=left_out,
        near_duplicates=None,
        class_of=class_of,
        unknown_classes=unknown,
        missing_classes=tuple(name for name in own if name not in class_of.values()),
        test=evaluate(labels, probabilities, run.metrics.threshold, own, matched.known_patients),
        declined=measure_declined(run, matched, probabilities, vectors),
    )
    # A class that stands for another one by its place alone, such as "other" for "normal", keeps its name.
    shown = {other: mine if mine == own[0] or _key(other) == _key(mine) else other for other, mine in class_of.items()}
    rows_of_table = list_predictions(
        matched, probabilities, run.metrics.threshold, labels=[shown[other] for other in names[rows]]
    )
    return ExternalValidation(name, metrics, rows_of_table)


def measure_declined(run: Run, examples: Examples, probabilities: np.ndarray, vectors: np.ndarray) -> Declined:
    """Returns how many images an exported model declines, and the metrics of the others.

    Args:
        run: The run.
        examples: The images, with the run's classes.
        probabilities: float [n, classes], the run's model's.
        vectors: float [n, d], as `join_features` returns them.
    """
    training_images = load_reference(run.path / file_names.REFERENCE)
    _, typicality = training_images.measure(vectors)
    declined = is_declined(typicality, training_images.level)
    share = Estimate(float(declined.mean()), exact_interval(int(declined.sum()), len(declined)), len(declined))
    if declined.all():
        return Declined(training_images.level, share, None)
    rows = np.flatnonzero(~declined)
    answered = examples.subset(rows)
    metrics = evaluate(
        answered.labels, probabilities[rows], run.metrics.threshold, answered.class_names, answered.known_patients
    )
    return Declined(training_images.level, share, metrics)


def find_known_rows(run: Run, examples: Examples) -> np.ndarray:
    """Returns bool [n]: True for images that are in the run's dataset, or whose patient is by the same patient_id."""
    same_bytes = np.isin(examples.sha256, [row.sha256 for row in run.predictions])
    same_patient = np.isin(examples.patient_id, [row.patient_id for row in run.predictions])
    return same_bytes | (same_patient & (examples.patient_id != UNKNOWN))


def find_near_duplicates(run: Run, examples: Examples) -> np.ndarray | None:
    """Returns bool [n]: True for images that show a radiograph of the run's dataset; None where that is gone."""
    try:
        return find_copies(load_examples(run.config.data), examples)
    except UsageError as error:
        print(f"Near-duplicates of the run's images are not looked for: {error}", file=sys.stderr)
        return None


def predict(run: Run, examples: Examples) -> np.ndarray:
    """Returns the probabilities that a run's saved model gives any images. About 0.1 s per image.

    Returns:
        float64 [n, classes], the positive class first.
    """
    return run_model(run, examples)[0]


def run_model(run: Run, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `predict` does, and the vectors of `join_features`, float64 [n, d]."""
    model = keras_file.load_model(run.model_path)
    prepare, backbone, head = (model.get_layer(name) for name in ("preprocessing", "backbone", "head"))

    def trace(images):
        maps = backbone(prepare(images), training=False)
        return head(maps, training=False), heads.average_quarters(maps), thumbnails(images)

    signature = [tf.TensorSpec((None, None, None, 3), tf.float32)]
    forward = tf.function(trace, input_signature=signature, autograph=False)
    everyone, parts = np.arange(len(examples)), []
    with progress.Line(len(examples), "predictions", "image") as line, pipelines.naming_undecodable(examples):
        for images in pipelines.eval_pipeline(examples, everyone, BATCH):
            parts.append([values.numpy().astype(np.float64) for values in forward(images)])
            line.advance(len(images))
    probabilities, quarters, small = (np.concatenate(values) for values in zip(*parts, strict=True))
    return probabilities, join_features(quarters, small)
