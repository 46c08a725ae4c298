"""The shortcut verdict: evaluate the controls, and compare those that cannot see the lungs with the model."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from covid_tfds.common import progress
from trainer.metrics import bootstrap
from trainer.metrics.intervals import newcombe_interval
from trainer.metrics.one_vs_rest import compute_auroc, count_patients
from trainer.run_folder.results import ControlResult, Estimate, ModelResult, Shortcuts
from trainer.validation.controls import PERMUTED, Control, compute_permuted_auroc, score_out_of_fold

# Three controls cannot see the lungs, and the bootstrap does not cover the choice of folds: at 95 % one of the three
# beats chance on pure noise in 13 runs of 100, at 99 % in about 3.
CUE_LEVEL = 0.99
SHORTCUT, NOT_DETECTED = "shortcut", "not detected"
RULE = (
    "Shortcut means: the model beats chance (95 % interval of its AUROC above 0.5), a control that cannot see the "
    "lungs beats chance, too (99 % interval), and this control is not shown to have less than half of the model's lead "
    "over 0.5 (95 % interval of the paired difference, bootstrap over patients)."
)


def compare_with_controls(
    controls: list[Control],
    is_positive: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    model_scores: np.ndarray,
    seed: int,
) -> Shortcuts:
    """Evaluates every control on the model's folds and returns the results with the verdict.

    Args:
        controls: As `build_controls` makes them.
        is_positive: bool [n].
        patients: ids [n].
        folds: int [repeats, n], each image's fold.
        model_scores: float [repeats, n], the model's out-of-fold probabilities of the positive class.
        seed: Of the permuted labels.
    """
    model = compute_auroc(is_positive, model_scores, patients)
    model_draws = _draw_aurocs(is_positive, patients, model_scores)
    results = {}
    # One thread: these problems are so small that two BLAS pools waiting for each other are 20 times slower.
    with threadpool_limits(1), progress.Line(len(controls), "shortcut controls", "control") as line:
        for control in controls:
            is_cue = lead = None
            if control.name == PERMUTED:
                auroc = compute_permuted_auroc(control.inputs, is_positive, patients, len(folds), seed)
            else:
                scores = score_out_of_fold(control.inputs, is_positive, folds)
                auroc = compute_auroc(is_positive, scores, patients)
                if not control.sees_lungs:
                    draws = _draw_aurocs(is_positive, patients, scores)
                    is_cue = beats_chance(auroc, draws, is_positive, patients)
                    lead = compare_leads(model, model_draws, auroc, draws)
            results[control.name] = ControlResult(control.sees_lungs, control.what, auroc, is_cue, lead)
            line.advance()
    return decide(model, results)


def beats_chance(auroc: Estimate, draws: np.ndarray, is_positive: np.ndarray, patients: np.ndarray) -> bool:
    """Returns whether the CUE_LEVEL interval of a control's AUROC lies above 0.5. draws: its bootstrap distribution."""
    sizes = count_patients(is_positive, patients), count_patients(~is_positive, patients)
    low, _ = newcombe_interval(auroc.value_and_limits[0], *sizes, CUE_LEVEL)
    return bool(min(low, np.quantile(draws, (1 - CUE_LEVEL) / 2)) > 0.5)


def compare_leads(model: Estimate, model_draws: np.ndarray, control: Estimate, control_draws: np.ndarray) -> Estimate:
    """Returns the model's lead over AUROC 0.5 minus twice the control's; the draws are of the same replicates."""
    low, high = np.quantile((model_draws - 0.5) - 2 * (control_draws - 0.5), (0.025, 0.975))
    value = (model.value_and_limits[0] - 0.5) - 2 * (control.value_and_limits[0] - 0.5)
    return Estimate(value, (float(low), float(high)), model.n)


def decide(model: Estimate, results: dict[str, ControlResult]) -> Shortcuts:
    """Returns the verdict by RULE.

    Args:
        model: The model's cross-validated AUROC.
        results: Every control's result by name.

    Example:
        >>> model, half = Estimate(0.9, (0.8, 1.0), 50), Estimate(0.7, (0.6, 0.8), 50)
        >>> border = ControlResult(False, "Sees the border.", half, is_cue=True, lead=Estimate(0.0, (-0.2, 0.2), 50))
        >>> decide(model, {"border_only": border}).verdict
        'shortcut'
    """
    blind = {name: result for name, result in results.items() if not result.sees_lungs}
    cues = {name: result.lead for name, result in blind.items() if result.is_cue and result.lead}
    rivals = [name for name, lead in cues.items() if lead.value_and_limits[1] <= 0]
    at_chance = model.value_and_limits[1] <= 0.5
    if at_chance:
        because = "The model is not shown to beat chance, so there is no skill that a shortcut could explain."
        if cues:
            because += f" But the images hold a cue outside the lungs: {', '.join(cues)}."
    elif rivals:
        because = f"Not shown to have less than half of the model's lead over chance: {', '.join(rivals)}."
    else:
        because = "No control that cannot see the lungs beats chance with half of the model's lead."
    return Shortcuts(
        verdict=SHORTCUT if rivals and not at_chance else NOT_DETECTED,
        rule=RULE,
        because=because,
        strongest=max(blind, key=lambda name: blind[name].auroc.value_and_limits[0]),
        model=ModelResult(model),
        controls=results,
    )


def _draw_aurocs(is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return bootstrap.area_draws(bootstrap.roc_area, is_positive, patients, scores)
