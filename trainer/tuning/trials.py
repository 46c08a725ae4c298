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
from covid_tfds.common.files import read_sealed, write_sealed
from covid_tfds.examples import Examples
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.metrics import folds
from trainer.metrics.classification import POSITIVE
from trainer.models import head_fitting, heads
from trainer.recipes import Recipe
from trainer.tuning import hypermodel
from trainer.tuning.selection import Question

RESULT = "result.json"
# What a combination of hyperparameters can do wrong; any other exception is a bug or the user's to mend.
BAD_COMBINATION = (head_fitting.DivergedError, tf.errors.ResourceExhaustedError, MemoryError)


@dataclass(frozen=True)
class Problem:
    """What every trial is judged on. The test split is not in it.

    labels: int [n], 0 is covid. image_id, patient_id: [n]. fold: int [n], the fold that holds each image out.
    features: (recipe, on_progress) -> pooled features float32 [n, variants, d] in the same order; on_progress is told
    (done, total) of what has to be computed first.
    """

    labels: np.ndarray
    image_id: np.ndarray
    patient_id: np.ndarray
    fold: np.ndarray
    features: Callable[[Recipe, Callable[[int, int], None]], np.ndarray]
    batch_size: int
    seed: int

    @classmethod
    def of(cls, config: Config, examples: Examples, backbone: Backbone) -> Problem:
        """The training split of a dataset in --folds folds; raises UsageError when that many can't be made of it."""
        training = examples.subset(examples.rows("train"))
        rows = np.arange(len(training))

        def features(recipe: Recipe, on_progress: Callable[[int, int], None]) -> np.ndarray:
            cached = Features(training, backbone, recipe, config.seed, default_folder(), on_progress)
            return cached.pooled(rows, recipe.variants)

        fold = folds.assign(training.labels, training.groups, config.seed, repeats=1, count=config.folds)[0]
        result = cls(
            training.labels, training.image_id, training.groups, fold, features, config.batch_size, config.seed
        )
        result.check(training.class_names)
        return result

    def check(self, class_names: tuple[str, str]) -> None:
        """Raise UsageError unless every fold holds out both classes and leaves a batch to train on."""
        for index, held_out in enumerate(self.question.folds):
            missing = [name for label, name in enumerate(class_names) if label not in self.labels[held_out]]
            if missing:
                raise UsageError(
                    f"Fold {index + 1} of {self.fold.max() + 1} would hold out no '{missing[0]}' image, because too "
                    "few patients have the most images. Use fewer --folds."
                )
            if (left := len(self.labels) - len(held_out)) < self.batch_size:
                raise UsageError(
                    f"--batch_size {self.batch_size} is larger than what fold {index + 1} leaves to train on "
                    f"({left} images)."
                )

    @property
    def question(self) -> Question:
        """What `selection` needs to know of it."""
        return Question(self.labels == POSITIVE, self.patient_id, self.fold)

    def describe_folds(self) -> dict:
        """folds.json: for each fold the images and patients that it holds out."""
        return {
            "seed": self.seed,
            "how": "Training split only. Each fold is predicted by a head trained on the others; a patient is in one.",
            "folds": [
                {
                    "fold": index + 1,
                    "covid": int(np.sum(self.labels[rows] == POSITIVE)),
                    "other": int(np.sum(self.labels[rows] != POSITIVE)),
                    "patients": sorted({str(patient) for patient in self.patient_id[rows]}),
                    "images": [str(name) for name in self.image_id[rows]],
                }
                for index, rows in enumerate(self.question.folds)
            ],
        }


@dataclass(frozen=True)
class Result:
    """What a trial came to. log_odds: of covid, float [n], each from the fold that held the image out; None if failed.

    failed: why, in one line, or None. seconds: what it took.
    """

    recipe: dict
    log_odds: np.ndarray | None
    failed: str | None
    seconds: float

    @classmethod
    def read(cls, folder: Path) -> Result | None:
        """The result in a trial's folder; None when it is not there or damaged."""
        try:
            stored = read_sealed(folder / RESULT)
            log_odds = None if stored["log_odds"] is None else np.asarray(stored["log_odds"], dtype=np.float64)
            return cls(stored["recipe"], log_odds, stored["failed"], stored["seconds"])
        except (OSError, UsageError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Write result.json in one step."""
        log_odds = None if self.log_odds is None else self.log_odds.tolist()
        write_sealed(folder / RESULT, {**dataclasses.asdict(self), "log_odds": log_odds})

    def is_of(self, recipe: Recipe) -> bool:
        """Whether it is this recipe's."""
        return self.recipe == dataclasses.asdict(recipe)


def recipe_of(hp: keras_tuner.HyperParameters, batch_size: int) -> Recipe:
    """The recipe of a trial. Hyperband says how many epochs a trial has; the others search for it."""
    recipe = dataclasses.replace(hypermodel.build_recipe(hp), batch_size=batch_size)
    if "tuner/epochs" in hp.values:
        recipe = dataclasses.replace(recipe, epochs=hp.values["tuner/epochs"])
    return recipe


def run(problem: Problem, recipe: Recipe, on_progress: Callable[[int, int], None]) -> tuple[Result, list[dict]]:
    """Cross-validate a recipe; also gives the heads' history (see `FittedHeads`), empty when the trial failed.

    Raises UsageError for what the user can mend (an undecodable image), whatever the recipe.
    """
    began = time.perf_counter()
    log_odds, failed, history = None, None, []
    try:
        pooled = problem.features(recipe, on_progress)
        rows = np.arange(len(problem.labels))
        parts = [head_fitting.Fold(np.setdiff1d(rows, held_out), held_out) for held_out in problem.question.folds]
        fitted = head_fitting.fit_heads(recipe, pooled, heads.one_hot(problem.labels, 2), parts, problem.seed)
        log_odds, history = np.empty(len(rows)), fitted.history
        for part, weights in zip(parts, fitted.weights, strict=True):
            log_odds[part.test] = heads.predict_log_odds(weights, pooled[part.test, 0])
    except BAD_COMBINATION as error:
        failed = " ".join(str(error).split()) or type(error).__name__
    return Result(dataclasses.asdict(recipe), log_odds, failed, time.perf_counter() - began), history
