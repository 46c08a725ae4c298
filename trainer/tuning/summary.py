"""The outcome of a search: tuning.csv while it runs; tuning.json and the lines on the terminal at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_csv
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.tuning.scores import (
    TUTORIAL_TRIAL,
    CorrectedScores,
    DrawnMean,
    TrialScore,
    correct_for_selection,
    score_trial,
)
from trainer.tuning.trials import Problem, TrialResult

HOW = (
    "Score: mean AUROC over patient-grouped, stratified folds of the training split, of more than two classes the mean "
    "of each against the rest; log loss decides between equals. The cross-validated metrics of the best trial are "
    "optimistic: the best of many noisy ones. without_selection_bias corrects for that: trials are picked on patients "
    "drawn with replacement and evaluated on those left out (bootstrap bias corrected cross-validation, Tsamardinos et "
    "al. 2018); its intervals are of such draws. The test split had no part in any of it."
)


@dataclass(frozen=True)
class CompletedTrial(TrialScore):
    """A trial's metrics, and what they are of.

    Attributes:
        trial: Its number, from 0; 0 is the tutorial's recipe.
        hyperparameters: The active ones.
        recipe: What was trained.
    """

    trial: int
    hyperparameters: dict
    recipe: Recipe


@dataclass(frozen=True)
class SearchSummary:
    """All of tuning.json.

    Attributes:
        trials: Number of trials, failed ones included.
        failed: Number of failed trials.
        folds: Number of folds.
        images: Images of the training split.
        patients: Their patients.
        tuner: As --tuner names it.
        how: How trials were scored, in words.
        best: The trial with the highest score; its metrics are optimistic.
        tutorial: The tutorial's recipe; None if it failed.
        without_selection_bias: What picking the best trial reaches on patients that had no part in the choice; None
            without the tutorial's recipe.
        seconds_in_trials: Sum over trials.
    """

    trials: int
    failed: int
    folds: int
    images: int
    patients: int
    tuner: str
    how: str
    best: CompletedTrial
    tutorial: CompletedTrial | None
    without_selection_bias: CorrectedScores | None
    seconds_in_trials: float

    def describe(self) -> str:
        """Returns the lines on the terminal."""
        failed = f", {self.failed} failed" if self.failed else ""
        lines = [
            f"Search: {self.trials} trials{failed}, {self.folds} folds of the training split "
            f"({self.images} images, {self.patients} patients)"
        ]
        if self.tutorial:
            lines.append(f"  tutorial's recipe    {_describe_score(self.tutorial)}")
        lines.append(f"  best, trial {self.best.trial:<9}{_describe_score(self.best)}   optimistic: the best of many")
        if corrected := self.without_selection_bias:
            lines += [
                "  Corrected for picking the best of many, on patients that had no part in the choice:",
                f"    AUROC {_describe_mean(corrected.auroc)}",
                f"      gain over the tutorial's recipe {_describe_mean(corrected.auroc_gain, sign='+')}",
                f"    probability of the true class {_describe_mean(corrected.p_truth)}",
                f"      gain over the tutorial's recipe {_describe_mean(corrected.p_truth_gain, sign='+')}",
            ]
            if corrected.auroc.ci95[0] <= 0.5:
                lines.append("  That AUROC's interval holds 0.5: nothing here is shown to be better than chance.")
        return "\n".join(lines)


class SearchTable:
    """The ended trials of a search; every `add` rewrites tuning.csv.

    Args:
        folder: The run's.
        problem: What the trials are scored on.

    Attributes:
        rows: tuning.csv's rows, by number of the trial.
    """

    def __init__(self, folder: Path, problem: Problem):
        self._folder, self._problem = folder, problem
        self._completed: dict[int, CompletedTrial] = {}
        self._log_p: dict[int, np.ndarray] = {}
        self._searched: dict[str, None] = {}  # the hyperparameters, in the order in which trials had them
        self.rows: dict[int, dict] = {}

    def add(self, trial: Trial) -> None:
        """Adds a trial that ended; its result is read from its folder, where a worker may have written it."""
        number, values = int(trial.trial_id), dict(trial.hyperparameters.values)
        self._searched |= dict.fromkeys(values)
        row = {"trial": number, "status": "failed", **values}
        result = TrialResult.read(self._folder / file_names.TUNER / f"trial_{trial.trial_id}")
        if result:
            row["seconds"] = round(result.seconds, 3)
        if result and trial.status == TrialStatus.COMPLETED:
            score = score_trial(self._problem.held_out, result.log_p)
            self._log_p[number] = result.log_p
            self._completed[number] = CompletedTrial(
                **vars(score), trial=number, hyperparameters=values, recipe=result.recipe
            )
            folds = {f"auroc_fold_{fold}": auroc for fold, auroc in enumerate(score.auroc_folds, start=1)}
            row |= {**vars(score), **folds, "status": "completed"}
        elif result and result.failed:
            row["reason"] = result.failed
        else:
            row["reason"] = (trial.message or "unknown").strip().splitlines()[-1]
        self.rows[number] = row
        self._write()

    @property
    def completed(self) -> list[CompletedTrial]:
        """The trials that did not fail, by number."""
        return [self._completed[number] for number in sorted(self._completed)]

    def best(self) -> CompletedTrial:
        """Returns the completed trial with the highest score, the first of equals, as KerasTuner has it.

        Raises:
            UsageError: If no trial completed.
        """
        if not self._completed:
            first = self.rows[min(self.rows)]
            raise UsageError(f"All {len(self.rows)} trials failed, the first because: {first['reason']}")
        return max(self.completed, key=lambda trial: trial.score)

    def describe_best(self) -> str:
        """Returns the best trial so far in a few words."""
        if not self._completed:
            return "none completed"
        best = self.best()
        return f"best AUROC {best.auroc_mean:.3f}, log loss {best.log_loss:.3f} (trial {best.trial})"

    def summarize(self, tuner: str) -> SearchSummary:
        """Returns tuning.json's content. tuner: as --tuner names it."""
        best, corrected, held_out = self.best(), None, self._problem.held_out
        if TUTORIAL_TRIAL in self._completed:
            log_p = np.stack([self._log_p[number] for number in sorted(self._log_p)])
            corrected = correct_for_selection(held_out, log_p)
        return SearchSummary(
            trials=len(self.rows),
            failed=len(self.rows) - len(self._completed),
            folds=len(held_out.folds),
            images=len(held_out.fold),
            patients=len(np.unique(held_out.patients)),
            tuner=tuner,
            how=HOW,
            best=best,
            tutorial=self._completed.get(TUTORIAL_TRIAL),
            without_selection_bias=corrected,
            seconds_in_trials=sum(row.get("seconds", 0) for row in self.rows.values()),
        )

    def _write(self) -> None:
        folds = [f"auroc_fold_{index + 1}" for index in range(len(self._problem.held_out.folds))]
        columns = ["trial", "status", "score", "auroc_mean", "auroc_sd", *folds, "log_loss", "seconds"]
        columns += [*self._searched, "reason"]
        rows = [{name: self.rows[number].get(name, "") for name in columns} for number in sorted(self.rows)]
        write_csv(self._folder / file_names.TUNING_TABLE, columns, rows)


def _describe_score(score: TrialScore) -> str:
    return f"AUROC {score.auroc_mean:.3f} (SD {score.auroc_sd:.3f}), log loss {score.log_loss:.3f}"


def _describe_mean(mean: DrawnMean, sign: str = "") -> str:
    low, high = mean.ci95
    return f"{mean.value:{sign}.3f} (95 % CI {low:{sign}.3f} to {high:{sign}.3f})"
