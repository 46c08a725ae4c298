"""The outcome of a search: tuning.csv while it runs; tuning.json and the lines on the terminal at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import to_json, write_csv
from trainer.run_folder import file_names
from trainer.run_folder.results import Estimate
from trainer.tuning.scores import TUTORIAL_TRIAL, CorrectedScores, TrialScore, correct_for_selection, score_trial
from trainer.tuning.trials import Problem, TrialResult

HOW = (
    "Score: mean AUROC over patient-grouped, stratified folds of the training split; log-loss decides between equals. "
    "The cross-validated metrics of the best trial are the best of many noisy ones and so too good. "
    "without_selection_bias corrects for that: trials are picked on patients drawn with replacement and evaluated on "
    "those left out (bootstrap bias corrected cross-validation, Tsamardinos et al. 2018); its intervals are of such "
    "draws. The test split had no part in any of it."
)


@dataclass(frozen=True)
class EndedTrial:
    """A trial that completed or failed.

    Attributes:
        number: From 0; 0 is the tutorial's point.
        hyperparameters: The active ones.
        result: None where the worker wrote none.
        score: None if the trial failed.
        reason: Why it failed, in one line; empty if it completed.
    """

    number: int
    hyperparameters: dict
    result: TrialResult | None
    score: TrialScore | None
    reason: str


@dataclass(frozen=True)
class ScoredTrial(TrialScore):
    """A completed trial in tuning.json: its metrics, number, hyperparameters and recipe."""

    trial: int
    hyperparameters: dict
    recipe: dict


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
        tutorial: The tutorial's point; None if it failed.
        without_selection_bias: What picking the best trial reaches on patients that had no part in the choice; None
            without the tutorial's point.
        seconds_in_trials: Sum over trials.
    """

    trials: int
    failed: int
    folds: int
    images: int
    patients: int
    tuner: str
    how: str
    best: ScoredTrial
    tutorial: ScoredTrial | None
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
            lines.append(f"  tutorial's point     {_describe_score(self.tutorial)}")
        lines.append(f"  best, trial {self.best.trial:<9}{_describe_score(self.best)}   the best of many: too good")
        if corrected := self.without_selection_bias:
            lines += [
                "  Corrected for picking the best of many, on patients that had no part in the choice:",
                f"    AUROC {_describe_estimate(corrected.auroc)}",
                f"      gain over the tutorial's point {_describe_estimate(corrected.auroc_gain, sign='+')}",
                f"    probability of the true class {_describe_estimate(corrected.p_truth)}",
                f"      gain over the tutorial's point {_describe_estimate(corrected.p_truth_gain, sign='+')}",
            ]
            if corrected.auroc.ci95[0] <= 0.5:
                lines.append("  That AUROC's interval holds 0.5: nothing here is shown to be better than chance.")
        return "\n".join(lines)


class SearchTable:
    """The ended trials of a search; every `add` rewrites tuning.csv.

    Args:
        folder: The run's.
        problem: What the trials are scored on.
    """

    def __init__(self, folder: Path, problem: Problem):
        self._folder, self._problem = folder, problem
        self._trials: dict[int, EndedTrial] = {}

    @property
    def trials(self) -> list[EndedTrial]:
        """All ended trials by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    @property
    def completed(self) -> list[EndedTrial]:
        """Those that did not fail, by number."""
        return [trial for trial in self.trials if trial.score]

    def add(self, trial: Trial) -> None:
        """Takes in a trial that ended; its result is read from its folder, where a worker may have written it."""
        result = TrialResult.read(self._folder / file_names.TUNER / f"trial_{trial.trial_id}")
        done = trial.status == TrialStatus.COMPLETED
        self._trials[int(trial.trial_id)] = EndedTrial(
            number=int(trial.trial_id),
            hyperparameters=dict(trial.hyperparameters.values),
            result=result,
            score=score_trial(self._problem.held_out, result.log_odds) if done else None,
            reason="" if done else _reason(trial, result),
        )
        self._write()

    def best(self) -> EndedTrial:
        """Returns the completed trial with the highest score, the first of equals, as KerasTuner has it.

        Raises:
            UsageError: If no trial completed.
        """
        if not self.completed:
            raise UsageError(f"All {len(self.trials)} trials failed, the first because: {self.trials[0].reason}")
        return max(self.completed, key=lambda trial: trial.score.score)

    def describe_best(self) -> str:
        """Returns the best trial so far in a few words."""
        if not self.completed:
            return "none completed"
        best = self.best()
        return f"best AUROC {best.score.auroc_mean:.3f}, log-loss {best.score.log_loss:.3f} (trial {best.number})"

    def summarize(self, tuner: str) -> SearchSummary:
        """Returns tuning.json's content. tuner: as --tuner names it."""
        best, completed, corrected = self.best(), self.completed, None
        has_tutorial = completed[0].number == TUTORIAL_TRIAL
        if has_tutorial:
            log_odds = np.stack([trial.result.log_odds for trial in completed])
            corrected = correct_for_selection(self._problem.held_out, log_odds)
        return SearchSummary(
            trials=len(self.trials),
            failed=len(self.trials) - len(completed),
            folds=len(self._problem.held_out.folds),
            images=len(self._problem.image_id),
            patients=len(np.unique(self._problem.held_out.patients)),
            tuner=tuner,
            how=HOW,
            best=_scored(best),
            tutorial=_scored(completed[0]) if has_tutorial else None,
            without_selection_bias=corrected,
            seconds_in_trials=sum(trial.result.seconds for trial in self.trials if trial.result),
        )

    def _write(self) -> None:
        folds = [f"auroc_fold_{index + 1}" for index in range(len(self._problem.held_out.folds))]
        searched = dict.fromkeys(name for trial in self._trials.values() for name in trial.hyperparameters)
        metrics = ["score", "auroc_mean", "auroc_sd", *folds, "log_loss"]
        rows = []
        for trial in self.trials:
            row = {"trial": trial.number, "status": "failed", "reason": trial.reason, **trial.hyperparameters}
            if trial.result:
                row["seconds"] = round(trial.result.seconds, 3)
            if trial.score:
                row |= {"status": "completed", **to_json(trial.score)}
                row |= zip(folds, row.pop("auroc_folds"), strict=True)
            rows.append(row)
        columns = ["trial", "status", *metrics, "seconds", *searched, "reason"]
        write_csv(self._folder / file_names.TUNING_TABLE, columns, rows)


def _scored(trial: EndedTrial) -> ScoredTrial:
    return ScoredTrial(
        **vars(trial.score),
        trial=trial.number,
        hyperparameters=trial.hyperparameters,
        recipe=to_json(trial.result.recipe),
    )


def _reason(trial: Trial, result: TrialResult | None) -> str:
    """Why a trial failed, in one line."""
    if result and result.failed:
        return result.failed
    return (trial.message or "unknown").strip().splitlines()[-1]


def _describe_score(score: TrialScore) -> str:
    return f"AUROC {score.auroc_mean:.3f} (SD {score.auroc_sd:.3f}), log-loss {score.log_loss:.3f}"


def _describe_estimate(estimate: Estimate, sign: str = "") -> str:
    low, high = estimate.ci95
    return f"{estimate.value:{sign}.3f} (95 % CI {low:{sign}.3f} to {high:{sign}.3f})"
