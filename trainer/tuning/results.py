"""What a search came to: tuning.csv while it runs; tuning.json, tuning.png and a few lines at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_csv, write_json
from trainer.config import Config
from trainer.recipes import Recipe
from trainer.run_folder import file_names
from trainer.tuning import hypermodel, plots, selection
from trainer.tuning.selection import TUTORIAL_TRIAL
from trainer.tuning.trials import Problem, Result

HOW = (
    "Score: mean AUROC over patient-grouped, stratified folds of the training split; log-loss decides between equals. "
    "The cross-validated figures of the best trial are the best of many noisy ones and so too good. "
    "without_selection_bias: trials chosen on patients drawn with replacement and judged on those left out (bootstrap "
    "bias corrected cross-validation, Tsamardinos et al. 2018); its intervals are of such draws. The test split had no "
    "part in any of it."
)


class Table:
    """The ended trials of a search, by number; every `add` rewrites tuning.csv."""

    def __init__(self, folder: Path, problem: Problem):
        self.rows: dict[int, dict] = {}
        self._folder, self._problem = folder, problem

    def add(self, trial: Trial) -> None:
        """Take in a trial that ended."""
        result = Result.read(self._result_folder(trial.trial_id))
        done = trial.status == TrialStatus.COMPLETED
        judged = selection.judge(self._problem.question, result.log_odds) if done else None
        self.rows[int(trial.trial_id)] = {
            "trial": int(trial.trial_id),
            "trial_id": trial.trial_id,
            "status": "completed" if done else "failed",
            "judged": judged,
            "seconds": result.seconds if result else None,
            "hyperparameters": dict(trial.hyperparameters.values),
            "reason": _reason(trial, result),
        }
        self._write()

    def best(self) -> str:
        """The best trial so far in a few words."""
        completed = self._completed()
        if not completed:
            return "none completed"
        row = max(completed, key=lambda row: row["judged"].score)
        judged = row["judged"]
        return f"best AUROC {judged.auroc.mean():.3f}, log-loss {judged.log_loss:.3f} (trial {row['trial']})"

    def finish(self, config: Config) -> Recipe:
        """Write tuning.json and tuning.png, print what they say, and return the best trial's recipe.

        Raises UsageError when no trial completed.
        """
        completed = self._completed()
        if not completed:
            first = self.rows[min(self.rows)]
            raise UsageError(f"All {len(self.rows)} trials failed, the first because: {first['reason']}")
        # The first of equals, as the oracle has it.
        best = max(completed, key=lambda row: row["judged"].score)
        tutorial = next((row for row in completed if row["trial"] == TUTORIAL_TRIAL), None)
        unbiased = None
        if tutorial is not None:
            log_odds = np.stack([self._result(row).log_odds for row in completed])
            unbiased = selection.without_selection_bias(self._problem.question, log_odds)
        summary = {
            "trials": len(self.rows),
            "failed": len(self.rows) - len(completed),
            "folds": len(self._problem.question.folds),
            "images": len(self._problem.labels),
            "patients": len(np.unique(self._problem.patient_id)),
            "tuner": config.tuner,
            "how": HOW,
            "best": self._figures(best),
            "tutorial": self._figures(tutorial) if tutorial else None,
            "without_selection_bias": unbiased,
            "seconds_in_trials": sum(row["seconds"] or 0 for row in self.rows.values()),
        }
        write_json(self._folder / file_names.TUNING, summary)
        rows = [self.rows[number] for number in sorted(self.rows)]
        plots.draw(self._folder / file_names.TUNING_PLOT, rows, summary)
        print(describe(summary))
        recipe = self._result(best).recipe
        return Recipe(**{**recipe, "augmentation": hypermodel.Augmentation(**recipe["augmentation"])})

    def _completed(self) -> list[dict]:
        return [self.rows[number] for number in sorted(self.rows) if self.rows[number]["judged"] is not None]

    def _result_folder(self, trial_id: str) -> Path:
        return self._folder / file_names.TUNER / f"trial_{trial_id}"

    def _result(self, row: dict) -> Result:
        return Result.read(self._result_folder(row["trial_id"]))

    def _figures(self, row: dict) -> dict:
        judged = row["judged"]
        return {
            "trial": row["trial"],
            "score": judged.score,
            "auroc_mean": float(judged.auroc.mean()),
            "auroc_sd": float(judged.auroc.std(ddof=1)),
            "auroc_folds": judged.auroc.tolist(),
            "log_loss": judged.log_loss,
            "hyperparameters": row["hyperparameters"],
            "recipe": self._result(row).recipe,
        }

    def _write(self) -> None:
        count = len(self._problem.question.folds)
        names = list(dict.fromkeys(name for row in self.rows.values() for name in row["hyperparameters"]))
        folds = [f"auroc_fold_{index + 1}" for index in range(count)]
        figures = ["score", "auroc_mean", "auroc_sd", *folds, "log_loss"]
        columns = ["trial", "status", *figures, "seconds", *names, "reason"]
        lines = []
        for _, row in sorted(self.rows.items()):
            line = {name: row[name] for name in ("trial", "status", "reason")} | row["hyperparameters"]
            line["seconds"] = "" if row["seconds"] is None else round(row["seconds"], 3)
            if (judged := row["judged"]) is not None:
                line |= {"score": judged.score, "auroc_mean": judged.auroc.mean(), "auroc_sd": judged.auroc.std(ddof=1)}
                line |= dict(zip(folds, judged.auroc, strict=True)) | {"log_loss": judged.log_loss}
            lines.append(line)
        write_csv(self._folder / file_names.TUNING_TABLE, columns, lines)


def _reason(trial: Trial, result: Result | None) -> str:
    """Why a trial failed, in one line; empty when it didn't."""
    if trial.status == TrialStatus.COMPLETED:
        return ""
    if result is not None and result.failed:
        return result.failed
    return (trial.message or "unknown").strip().splitlines()[-1]


def describe(summary: dict) -> str:
    """The terminal's lines on a search, from tuning.json's content."""
    best, tutorial, unbiased = summary["best"], summary["tutorial"], summary["without_selection_bias"]
    failed = f", {summary['failed']} failed" if summary["failed"] else ""
    lines = [
        f"Search: {summary['trials']} trials{failed}, {summary['folds']} folds of the training split "
        f"({summary['images']} images, {summary['patients']} patients)"
    ]
    if tutorial:
        lines.append(f"  tutorial's point     {_cross_validated(tutorial)}")
    lines.append(f"  best, trial {best['trial']:<9}{_cross_validated(best)}   the best of many: too good")
    if unbiased:
        lines.append("  Without the bias of having been chosen, on patients that had no part in the choice:")
        for name, words in (("auroc", "AUROC"), ("p_truth", "probability given to the truth")):
            lines.append(f"    {words} {_estimate(unbiased[name])}")
            lines.append(f"      gain over the tutorial's point {_estimate(unbiased[name + '_gain'], sign='+')}")
        if unbiased["auroc"]["ci95"][0] <= 0.5:
            lines.append("  That AUROC's interval holds 0.5: nothing here is shown to be better than a tossed coin.")
    return "\n".join(lines)


def _cross_validated(figures: dict) -> str:
    return f"AUROC {figures['auroc_mean']:.3f} (SD {figures['auroc_sd']:.3f}), log-loss {figures['log_loss']:.3f}"


def _estimate(estimate: dict, sign: str = "") -> str:
    low, high = estimate["ci95"]
    return f"{estimate['value']:{sign}.3f} (95 % CI {low:{sign}.3f} to {high:{sign}.3f})"
