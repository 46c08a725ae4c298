"""Everything a report says in numbers, as one dictionary: it becomes report.json, and fills the page and the card.

Read from a run folder's own files only, so that a report can be made again at any time. Never TensorFlow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import read_csv, read_json
from trainer.metrics.operating_point import PREVALENCES, predictive_values
from trainer.run_folder import file_names

SCHEMA = 1
FIGURES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "accuracy": "Accuracy",
    "brier": "Brier score",
}
CONTROLS = {
    "border_only": "border only",
    "lungs_blacked_out": "lungs blacked out",
    "thumbnail_16x16": "16 × 16 thumbnail",
    "file_facts": "file facts",
    "mean_brightness": "mean brightness",
    "untrained_backbone": "untrained backbone",
    "permuted_labels": "permuted labels",
}
SHORTCUT = "shortcut"
PATHS = ("dataset", "manual_dir", "data_dir", "weights", "output")


def collect(folder: Path) -> dict:
    """The facts of the run in `folder`; what was not done in it is None or empty. Raises UsageError on damaged files.

    config.json, environment.json and metrics.json must be there; everything else may be missing.
    """
    environment = read_json(folder / file_names.ENVIRONMENT)
    config = read_json(folder / file_names.CONFIG)
    flags = config.pop("data") | config
    metrics = read_json(folder / file_names.METRICS)
    name, weights = environment["dataset"]["name"], environment["weights"]["name"]
    return {
        "schema": SCHEMA,
        "run_id": environment["run_id"],
        "title": f"{name}, {'tuned' if config.get('tune') else config['recipe']} recipe, {weights} weights",
        "intended_use": INTENDED_USE,
        "notes": environment["notes"],
        "class_names": environment["dataset"]["class_names"],
        "verdict": verdict(metrics),
        "metrics": metrics,
        "predictive_values": predictive_table(metrics),
        "saliency": _optional(folder / file_names.SALIENCY),
        "dataset": _optional(folder / file_names.DATASET),
        "external": external(folder),
        "tuning": _optional(folder / file_names.TUNING),
        "history": history(folder / file_names.HISTORY),
        "configuration": {flag: _without_folder(flag, value) for flag, value in flags.items()},
        "recipe": environment["recipe"],
        "weights": environment["weights"],
        "data": environment["dataset"],
        "versions": environment["versions"],
        "platform": environment["platform"],
    }


def _optional(path: Path):
    return read_json(path) if path.is_file() else None


def _without_folder(flag: str, value):
    """A flag's value, of a path only its last part: a report is passed on, and whose disk it was on is nobody's."""
    return Path(value).name if flag in PATHS and value is not None else value


def verdict(metrics: dict) -> dict:
    """The shortcut verdict in words: {"state", "headline", "text", "rule", "strongest", "at_chance"}.

    state is "shortcut", "not detected" or "not done". strongest is the control with the highest AUROC of those that
    cannot see the lungs.
    """
    found = metrics.get("shortcuts")
    if not found:
        return {
            "state": "not done",
            "headline": "Shortcut controls: not done",
            "text": "This run was not checked for cues that are not the disease. Take its figures as what they may be: "
            "a measure of where the images come from.",
            "rule": None,
            "strongest": None,
            "at_chance": None,
        }
    blind = {
        name: control
        for name, control in found["controls"].items()
        if not control["sees_lungs"] and control["auroc"]["value"] is not None
    }
    best = max(blind, key=lambda name: blind[name]["auroc"]["value"], default=None)
    own = found["model"]["auroc"]
    who = found.get("of", "the model")
    compared = f"{who.capitalize()} has AUROC {words(own)}."
    if best:
        compared = (
            f"“{CONTROLS.get(best, best)}”, the strongest control that cannot see the lungs, reaches AUROC "
            f"{words(blind[best]['auroc'])}; {who} reaches {words(own)}."
        )
    at_chance = bool(own["ci95"]) and own["ci95"][0] <= 0.5
    if found["verdict"] == SHORTCUT:
        headline = "Shortcut: these images can be told apart without looking at the lungs"
        meaning = "The figures in this report say where an image comes from, not who is ill."
    elif at_chance:
        headline = "The model is no better than guessing"
        meaning = "The model's interval reaches AUROC 0.5: there is no skill that a shortcut could explain."
    else:
        headline = "No shortcut detected"
        meaning = "Only the cues below were tried: others may exist."
    strongest = {"name": best, **blind[best]} if best else None
    return {
        "state": found["verdict"],
        "headline": headline,
        "text": f"{compared} {meaning}",
        "rule": found.get("rule"),
        "strongest": strongest,
        "at_chance": at_chance,
    }


def words(figure: dict | None) -> str:
    """A figure as text: value and 95 % interval, or that it is undefined, or not done."""
    if figure is None:
        return "not done"
    if figure["value"] is None:
        return f"undefined (n = {figure['n']})" + (f": {figure['because']}" if figure.get("because") else "")
    if not figure["ci95"]:
        return f"{figure['value']:.2f}"
    low, high = figure["ci95"]
    return f"{figure['value']:.2f} (95 % CI {low:.2f} to {high:.2f})"


def best_estimate(metrics: dict) -> dict:
    """The section of the run's own model with the most images behind it: cross-validation, else the test split."""
    validated = metrics.get("cross_validation")
    return validated if validated and "of" not in validated else metrics["test"]


def validation_name(metrics: dict) -> str:
    """What the cross-validation is called: of a fine-tuned run it is the frozen model's."""
    of = (metrics.get("cross_validation") or {}).get("of")
    return f"cross-validation of {of}" if of else "cross-validation"


def predictive_table(metrics: dict) -> list[dict]:
    """PPV and NPV of the decision at a few prevalences; empty when sensitivity or specificity is undefined."""
    figures = best_estimate(metrics)
    sensitivity, specificity = figures["sensitivity"]["value"], figures["specificity"]["value"]
    if sensitivity is None or specificity is None:
        return []
    pairs = {p: predictive_values(sensitivity, specificity, p) for p in PREVALENCES}
    return [{"prevalence": p, "ppv": ppv, "npv": npv} for p, (ppv, npv) in pairs.items()]


def external(folder: Path) -> list[dict]:
    """[{"name", "figures", "left_out"}] of the external validations of this run, by name."""
    found = sorted((folder / file_names.EXTERNAL).glob(f"*/{file_names.METRICS}"))
    parts = [(path.parent.name, read_json(path)) for path in found]
    return [{"name": name, "figures": part["test"], "left_out": part["left_out"]} for name, part in parts]


def history(path: Path) -> list[dict]:
    """One dict of floats an epoch; empty when there is no history.csv."""
    return [{k: float(v) for k, v in row.items()} for row in rows(path)]


def rows(path: Path) -> list[dict]:
    """The rows of a CSV file; none when it is not there."""
    return read_csv(path) if path.is_file() else []


def predictions(path: Path, positive_class: str, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(truth bool [n], p_covid float [n]) of a predictions file, of one split or of all; empty when it is not there."""
    chosen = [row for row in rows(path) if split is None or row["split"] == split]
    truth = np.asarray([row["label"] == positive_class for row in chosen], dtype=bool)
    return truth, np.asarray([float(row["p_covid"]) for row in chosen])
