"""One trial: a point of the search space, cross-validated on the training split, and its result on disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras_tuner
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import read_sealed, to_json, write_sealed
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.metrics.folds import assign_folds, check_patients
from trainer.models import head_fitting, heads
from trainer.recipes import Augmentation, Recipe, choose_batch_size
from trainer.tuning import hypermodel
from trainer.tuning.scores import HeldOut

RESULT = "result.json"
# What a bad combination of hyperparameters raises; any other exception is a bug, or the user's to mend.
BAD_COMBINATION = (head_fitting.DivergedError, tf.errors.ResourceExhaustedError, MemoryError)


@dataclass(frozen=True)
class Problem:
    """What every trial is scored on. The test split is not in it.

    Attributes:
        held_out: Classes, patients and folds of the training split's images.
        class_names: In class order.
        targets: float32 [n, classes], one-hot.
        image_id: [n].
        features: (recipe, on_progress) -> pooled features float32 [n, variants, d] of these images; on_progress is
            called with (done, total) of what has to be computed first.
        batch_size: Images in a training step.
        seed: Of weights, dropout and the order of the images.
        settings: All that decides a trial's hyperparameters and result, as JSON; a search continues only with the same.
    """

    held_out: HeldOut
    class_names: tuple[str, ...]
    targets: np.ndarray
    image_id: np.ndarray
    features: Callable[[Recipe, Callable[[int, int], None]], np.ndarray]
    batch_size: int
    seed: int
    settings: dict

    @classmethod
    def of(cls, config: Config, examples: Examples, backbone: Backbone) -> Problem:
        """Returns the training split of a dataset in --folds folds.

        Raises:
            UsageError: If not every fold can hold out both classes and leave a batch to train on.
        """
        training = examples.subset(examples.rows("train"))
        rows = np.arange(len(training))

        def pooled_features(recipe: Recipe, on_progress: Callable[[int, int], None]) -> np.ndarray:
            features = Features(training, backbone, recipe, config.seed, default_folder(), on_progress, for_search=True)
            return features.pooled(rows, recipe.variants)

        targets = heads.one_hot(training.labels, len(training.class_names))
        check_patients(training.labels, training.groups, training.class_names)
        batch_size = config.batch_size or choose_batch_size(len(training))
        fold = assign_folds(training.labels, training.groups, config.seed, repeats=1, most_folds=config.folds)[0]
        problem = cls(
            held_out=HeldOut(targets.astype(bool), training.groups, fold),
            class_names=training.class_names,
            targets=targets,
            image_id=training.image_id,
            features=pooled_features,
            batch_size=batch_size,
            seed=config.seed,
            settings={
                "seed": config.seed,
                "folds": config.folds,
                "tuner": config.tuner,
                "trials": config.trials,
                "batch_size": batch_size,
                "precision": backbone.precision,
                "dataset": examples.fingerprint,
                "backbone": backbone.sha256,
                "space": hypermodel.describe_space(),
            },
        )
        problem.check()
        return problem

    def check(self) -> None:
        """Raises UsageError unless every fold holds out all classes and leaves a batch to train on."""
        count = len(self.held_out.folds)
        for number, rows in enumerate(self.held_out.folds, start=1):
            missing = [
                name for name, there in zip(self.class_names, self.targets[rows].any(0), strict=True) if not there
            ]
            if missing:
                raise UsageError(
                    f"Fold {number} of {count} would hold out no '{missing[0]}' image, because a few patients have "
                    "most of the images. Use fewer --folds."
                )
            if (left := len(self.targets) - len(rows)) < self.batch_size:
                raise UsageError(
                    f"--batch_size {self.batch_size} is larger than what fold {number} leaves to train on "
                    f"({left} images)."
                )

    def describe_folds(self) -> dict:
        """Returns folds.json: for each fold the images and patients that it holds out."""
        return {
            "seed": self.seed,
            "how": "Training split only. Each fold is predicted by a head trained on the others; a patient is in one.",
            "folds": [
                {
                    "fold": number,
                    "classes": dict(zip(self.class_names, self.held_out.truth[rows].sum(0).tolist(), strict=True)),
                    "patients": sorted({str(patient) for patient in self.held_out.patients[rows]}),
                    "images": [str(name) for name in self.image_id[rows]],
                }
                for number, rows in enumerate(self.held_out.folds, start=1)
            ],
        }


@dataclass(frozen=True)
class TrialResult:
    """The result of one trial.

    Attributes:
        recipe: What was trained.
        log_p: Log-probabilities, float [n, classes], each from the head that was not trained on the image's fold; empty
            if the trial failed.
        failed: Why the trial failed, in one line; None if it did not.
        seconds: How long it took.
    """

    recipe: Recipe
    log_p: np.ndarray
    failed: str | None
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> TrialResult | None:
        """Returns the result in a trial's folder; None when it is not there or damaged."""
        try:
            stored = read_sealed(folder / RESULT)
            augmentation = Augmentation(**stored["recipe"]["augmentation"])
            recipe = Recipe(**{**stored["recipe"], "augmentation": augmentation})
            return cls(recipe, np.asarray(stored["log_p"], np.float64), stored["failed"], stored["seconds"])
        except (OSError, UsageError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Writes result.json in one step."""
        write_sealed(folder / RESULT, to_json(self))


def recipe_of(hp: keras_tuner.HyperParameters, batch_size: int) -> Recipe:
    """Returns the recipe of a trial. Hyperband decides how many epochs a trial has; the others search for it."""
    recipe = dataclasses.replace(hypermodel.build_recipe(hp), batch_size=batch_size)
    if "tuner/epochs" in hp.values:
        recipe = dataclasses.replace(recipe, epochs=hp.values["tuner/epochs"])
    return recipe


def run_trial(
    problem: Problem, recipe: Recipe, on_progress: Callable[[int, int], None]
) -> tuple[TrialResult, list[dict]]:
    """Cross-validates a recipe; also returns the heads' history (see `FittedHeads`), empty when the trial failed.

    Raises:
        UsageError: For what the user can mend whatever the recipe, such as an image that can't be decoded.
    """
    began = time.perf_counter()
    rows = np.arange(len(problem.targets))
    log_p, failed, history = np.empty(0), None, []
    try:
        pooled = problem.features(recipe, on_progress)
        parts = [head_fitting.Fold(np.setdiff1d(rows, held_out), held_out) for held_out in problem.held_out.folds]
        fitted = head_fitting.fit_heads(recipe, pooled, problem.targets, parts, problem.seed)
        log_p, history = np.empty(problem.targets.shape), fitted.history
        for part, weights in zip(parts, fitted.weights, strict=True):
            log_p[part.test] = heads.predict_log_probabilities(weights, pooled[part.test, 0])
    except BAD_COMBINATION as error:
        failed = " ".join(str(error).split()) or type(error).__name__
    return TrialResult(recipe, log_p, failed, time.perf_counter() - began), history
