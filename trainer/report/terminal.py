"""From a run's predictions to metrics.json and to what the terminal shows. Never TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import classification_report

from trainer.metrics import classification

if TYPE_CHECKING:
    from covid_tfds.examples import Examples
    from trainer.validation.validate import Judgement

HEADLINE = ("accuracy", "sensitivity", "specificity", "auroc")
RULE_WIDTH = 88
VERDICTS = {
    "shortcut": "SHORTCUT: these figures say where an image comes from, not who is ill",
    "not detected": "SHORTCUT NOT DETECTED",
}


def prediction_rows(examples: Examples, p_covid: np.ndarray) -> list[dict]:
    """predictions.csv's rows: one an image, in the dataset's order. p_covid: float [n] in [0, 1]."""
    return [
        {
            "image_id": str(examples.image_id[row]),
            "patient_id": str(examples.groups[row]),
            "split": str(examples.split[row]),
            "label": examples.class_names[examples.labels[row]],
            "p_covid": float(p_covid[row]),
            "sha256": str(examples.sha256[row]),
        }
        for row in range(len(examples))
    ]


def evaluate(examples: Examples, p_covid: np.ndarray, judged: Judgement) -> dict:
    """metrics.json's content for the final model's probabilities, float [n], of all images and its judgement.

    "test" and the operating point's "test" are of the test split, which nothing in the judgement was chosen on.
    """
    test = examples.rows("test")
    held_out = examples.subset(test)
    # The exact interval of so many images, as such a split is always reported; the number of patients stands beside it
    # and the cross-validation's intervals respect them.
    found = classification.summary(held_out.labels, p_covid[test], judged.threshold)
    patients = held_out.known_patients
    found["patients"] = None if patients is None else len(set(patients))
    point = judged.sections["operating_point"]
    point = {**point, "test": {name: found[name] for name in ("sensitivity", "specificity")}}
    return {
        "positive_class": classification.POSITIVE_CLASS,
        "threshold": judged.threshold,
        "temperature": judged.temperature,
        "target_sensitivity": point["target_sensitivity"],
        "test": found,
        **judged.sections,
        "operating_point": point,
    }


def describe(examples: Examples, p_covid: np.ndarray, result: dict) -> str:
    """The terminal's text: the test split, the cross-validation, and the shortcut verdict; `result` is metrics.json."""
    parts = [_test(examples, p_covid, result), _before(result), _cross_validation(result), verdict(result)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _test(examples: Examples, p_covid: np.ndarray, result: dict) -> list[str]:
    test = examples.rows("test")
    decided = np.where(p_covid[test] >= result["threshold"], 0, 1)
    names = examples.class_names
    report = classification_report(
        examples.labels[test], decided, labels=[0, 1], target_names=names, zero_division=0, digits=2
    )
    width = max(map(len, names)) + 2
    point = f"covid at {result['threshold']:.3f} and more"
    patients = result["test"]["patients"]
    whose = f" of {patients} patients; intervals count images" if patients else ""
    lines = [
        f"Test split ({point}; {len(test)} images{whose})",
        report,
        "Confusion matrix (rows: truth, columns: decision)",
    ]
    lines.append(" " * width + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, result["test"]["confusion_matrix"], strict=True):
        lines.append(f"{name:<{width}}" + "".join(f"{count:>{width}}" for count in row))
    return [*lines, "", *figures(result["test"])]


def _before(result: dict) -> list[str]:
    found = result.get("fine_tuning")
    if not found:
        return []
    return [f"Before {found['block']} was fine-tuned, the same images and threshold", *figures(found["frozen_test"])]


def _cross_validation(result: dict) -> list[str]:
    found = result["cross_validation"]
    of = f" of {found['patients']} patients" if found["patients"] else ""
    unit = "patient" if found["patients"] else "image"
    whose = f" of {found['of']}" if "of" in found else ""
    return [
        f"Cross-validation{whose} ({found['repeats']} x {found['folds']} folds by {unit}, all {found['n']} images{of})",
        *figures(found),
    ]


def verdict(result: dict) -> list[str]:
    """The shortcut verdict between two rules: lines that nobody misses."""
    found = result["shortcuts"]
    strongest = found["controls"][found["strongest"]]
    rule = "=" * RULE_WIDTH
    return [
        rule,
        VERDICTS[found["verdict"]],
        f"  {found.get('of', 'the model'):<18} AUROC {figure(found['model']['auroc'])}",
        f"  {found['strongest']:<18} AUROC {figure(strongest['auroc'])}",
        f"  {strongest['what']}",
        f"  {found['because']}",
        rule,
    ]


def figures(section: dict) -> list[str]:
    """One line for each headline figure of a section of metrics.json."""
    return [f"{name:<12} {figure(section[name])}" for name in HEADLINE]


def figure(estimate: dict) -> str:
    """A figure for people: value, 95 % interval and n, or that it is undefined."""
    if estimate["value"] is None:
        return f"undefined (n = {estimate['n']}): {estimate['because']}"
    low, high = estimate["ci95"]
    return f"{estimate['value']:.2f}  (95 % CI {low:.2f} to {high:.2f}, n = {estimate['n']})"
