"""The shortcut verdict: evaluate the controls, and compare those that cannot see the lungs with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from covid_tfds.common import progress
from trainer.metrics import bootstrap
from trainer.metrics.intervals import newcombe_interval
from trainer.metrics.one_vs_rest import count_patients, estimate_auroc
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.shortcut_results import ControlResult, ModelResult, PatientFacts, Shortcuts
from trainer.validation.controls import PATIENT_FACTS, PERMUTED, Control, compute_permuted_auroc, score_out_of_fold

# Where nothing but the lungs tells the classes apart, at most 3 runs of 100 shall have a cue among all k controls. The
# bootstrap does not cover the choice of folds, so a level of 1 - 0.03 / k is too close to that: trainer.benchmark.
FALSE_CUES = 0.02
CERTAIN = (1e-12, 1 - 1e-12)  # limits of a probability whose log-odds are taken
SHORTCUT, NOT_DETECTED, INCONCLUSIVE = "shortcut", "not detected", "inconclusive"
RULE = (
    "Skill is AUROC minus 0.5. The model's lead over a control is its skill minus twice the control's skill; a control "
    "below 0.5 counts as 0.5. Shortcut: the model is better than chance (95 % interval of its AUROC above 0.5), a "
    "control that cannot see the lungs is better than chance, too (interval at the level 1 - 0.02 / k for k such "
    "controls), and the model's lead over it is not shown to be positive. Not detected: the model is better than "
    "chance, and its lead over every control that cannot see the lungs is shown to be positive (95 % intervals of "
    "paired differences, bootstrap over patients). Inconclusive: all else."
)


@dataclass(frozen=True)
class Separation:
    """How well scores separate a class from the rest.

    Attributes:
        auroc: Mean over repeats.
        draws: float64 [replicates], its bootstrap distribution.
    """

    auroc: Estimate
    draws: np.ndarray


def compare_with_controls(
    controls: list[Control],
    is_positive: np.ndarray,
    patients: np.ndarray,
    folds: np.ndarray,
    model_scores: np.ndarray,
    seed: int,
) -> Shortcuts:
    """Evaluates every control on the model's folds, for one class against the rest; returns results and verdict.

    Args:
        controls: As `build_controls` makes them.
        is_positive: bool [n].
        patients: ids [n].
        folds: int [repeats, n], each image's fold.
        model_scores: float [repeats, n], the model's out-of-fold probabilities of the class.
        seed: Of the permuted labels.
    """
    level = choose_cue_level(controls)
    drawn = bootstrap.number_patients(patients, np.stack([*model_scores, ~is_positive], axis=1))
    model = measure_separation(is_positive, drawn, model_scores)
    results, patient_facts = {}, None
    # One thread: these problems are so small that two BLAS pools waiting for each other are 20 times slower.
    with threadpool_limits(1), progress.Line(len(controls), "shortcut controls", "control") as line:
        for control in controls:
            if control.name == PERMUTED:
                auroc = compute_permuted_auroc(control.inputs, is_positive, patients, len(folds), seed)
                results[control.name] = ControlResult(control.sees_lungs, control.what, auroc)
            else:
                scores = score_out_of_fold(control.inputs, is_positive, folds)
                own = measure_separation(is_positive, drawn, scores)
                results[control.name] = compare_with_model(control, own, model, is_positive, drawn, level)
                if control.name == PATIENT_FACTS:
                    # Late fusion: the sum of log-odds is right for cues that are independent within a class, and
                    # nothing more has to be trained.
                    both = measure_separation(is_positive, drawn, scores + logit(np.clip(model_scores, *CERTAIN)))
                    patient_facts = compare_facts(own, model, both)
            line.advance()
    shortcuts = decide(model.auroc, results, drawn.max() + 1)
    return dataclasses.replace(shortcuts, patient_facts=patient_facts)


def choose_cue_level(controls: Iterable[Control], false_cues: float = FALSE_CUES) -> float:
    """Returns the level of the interval that shows a control to be better than chance, see RULE."""
    return 1 - false_cues / sum(not control.sees_lungs for control in controls)


def measure_separation(is_positive: np.ndarray, patients: np.ndarray, scores: np.ndarray) -> Separation:
    """Returns the AUROC of scores with its bootstrap distribution.

    Args:
        is_positive: bool [n].
        patients: ids [n].
        scores: float [repeats, n], larger for the positive class.
    """
    draws = bootstrap.bootstrap_area(bootstrap.roc_area, is_positive, patients, scores)
    value = np.mean([roc_auc_score(is_positive, repeat) for repeat in scores])
    return Separation(estimate_auroc(float(value), draws, is_positive, patients), draws)


def compare_with_model(
    control: Control,
    own: Separation,
    model: Separation,
    is_positive: np.ndarray,
    patients: np.ndarray,
    cue_level: float,
) -> ControlResult:
    """Returns a control's result: how well it separates, whether it is a cue, and the model's lead over it.

    Args:
        control: The control.
        own: What the control's scores separate.
        model: What the model's scores separate, over the same bootstrap replicates.
        is_positive: bool [n].
        patients: ids [n].
        cue_level: Of `choose_cue_level`.
    """
    if control.sees_lungs:
        return ControlResult(True, control.what, own.auroc)
    is_cue = beats_chance(own.auroc, own.draws, is_positive, patients, cue_level)
    lead = compare_leads(model.auroc, model.draws, own.auroc, own.draws)
    return ControlResult(False, control.what, own.auroc, is_cue, lead)


def compare_facts(facts: Separation, image: Separation, both: Separation) -> PatientFacts:
    """Returns the AUROC of patient facts, of the image and of both together, with paired differences.

    Args:
        facts: Of the control that sees the patient facts.
        image: Of the model.
        both: Of the sum of their log-odds.
    """
    gain, addition = _subtract(image, facts), _subtract(both, image)
    value, low, high = gain.value_and_limits
    difference = f"AUROC {value:+.2f}, 95 % CI {low:+.2f} to {high:+.2f}"
    if low > 0:
        because = f"The image does better than the patient facts alone ({difference})."
    elif value <= 0:
        because = (
            f"The patient facts alone, without any image, do as well as the image (image minus facts: {difference})."
        )
    else:
        because = f"The image is not shown to do better than the patient facts alone ({difference})."
    value, low, high = addition.value_and_limits
    because += (
        f" Facts and image together {'do' if low > 0 else 'are not shown to do'} better than the image alone "
        f"(AUROC {value:+.2f}, 95 % CI {low:+.2f} to {high:+.2f})."
    )
    return PatientFacts(facts.auroc, image.auroc, both.auroc, gain, addition, because)


def _subtract(one: Separation, other: Separation) -> Estimate:
    low, high = np.quantile(one.draws - other.draws, (0.025, 0.975))
    value = one.auroc.value_and_limits[0] - other.auroc.value_and_limits[0]
    return Estimate(value, (float(low), float(high)), one.auroc.n)


def beats_chance(
    auroc: Estimate, draws: np.ndarray, is_positive: np.ndarray, patients: np.ndarray, level: float
) -> bool:
    """Returns whether the confidence interval of an AUROC lies above 0.5.

    Args:
        auroc: The AUROC.
        draws: float [replicates], its bootstrap distribution.
        is_positive: bool [n].
        patients: ids [n].
        level: Of the interval, in (0, 1), such as 0.95.
    """
    sizes = count_patients(is_positive, patients), count_patients(~is_positive, patients)
    low, _ = newcombe_interval(auroc.value_and_limits[0], *sizes, level)
    return bool(min(low, np.quantile(draws, (1 - level) / 2)) > 0.5)


def compare_leads(model: Estimate, model_draws: np.ndarray, control: Estimate, control_draws: np.ndarray) -> Estimate:
    """Returns the model's lead over a control, see RULE.

    Args:
        model, control: AUROC.
        model_draws, control_draws: float [replicates], their bootstrap distributions over the same replicates.

    Example:
        >>> one, other = Estimate(0.9, (0.8, 1.0), 50), Estimate(0.4, (0.3, 0.5), 50)
        >>> compare_leads(one, np.full(9, 0.9), other, np.full(9, 0.4)).value
        0.4
    """
    low, high = np.quantile(_subtract_twice(model_draws, control_draws), (0.025, 0.975))
    return Estimate(float(_subtract_twice(model.value, control.value)), (float(low), float(high)), model.n)


def _subtract_twice(model, control):
    # A control below chance shows no skill to subtract; it must not add to the model's lead either.
    return (model - 0.5) - 2 * np.maximum(control - 0.5, 0)


def decide(model: Estimate, results: dict[str, ControlResult], patients: int) -> Shortcuts:
    """Returns the verdict by RULE.

    Args:
        model: The model's cross-validated AUROC.
        results: Every control's result by name.
        patients: Number of patients, for how many would decide an open question.

    Example:
        >>> model, half = Estimate(0.9, (0.8, 1.0), 50), Estimate(0.7, (0.6, 0.8), 50)
        >>> border = ControlResult(False, "Sees the border.", half, is_cue=True, lead=Estimate(0.0, (-0.2, 0.2), 50))
        >>> decide(model, {"border_only": border}, patients=50).verdict
        'shortcut'
    """
    blind = {name: result for name, result in results.items() if not result.sees_lungs}
    cues = [name for name, result in blind.items() if result.is_cue]
    leads = {name: result.lead for name, result in blind.items() if result.lead}
    rivals = {name: lead for name, lead in leads.items() if lead.value_and_limits[1] <= 0}
    if model.value_and_limits[1] <= 0.5:
        verdict = INCONCLUSIVE
        because = "The model is not shown to be better than chance, so there is no skill that a shortcut could explain."
        if cues:
            because += f" But these controls show a cue outside the lungs: {', '.join(cues)}."
    elif found := [name for name in cues if name in rivals]:
        verdict = SHORTCUT
        because = f"Not shown to have less than half of the model's skill (AUROC minus 0.5): {', '.join(found)}."
    elif rivals:
        verdict = INCONCLUSIVE
        because = _describe_open_question(rivals, patients)
    else:
        verdict = NOT_DETECTED
        because = (
            "Every control that cannot see the lungs is shown to have less than half of the model's skill (AUROC "
            "minus 0.5)."
        )
    return Shortcuts(
        verdict=verdict,
        rule=RULE,
        because=because,
        strongest=max(blind, key=lambda name: blind[name].auroc.value_and_limits[0]),
        model=ModelResult(model),
        controls=results,
    )


def _describe_open_question(rivals: dict[str, Estimate], patients: int) -> str:
    """Returns what is missing for a verdict: the smallest lead, and how many patients would decide all open ones.

    The width of an interval falls with the square root of the number of patients.
    """
    leads = {name: lead.value_and_limits for name, lead in rivals.items()}
    name, (value, low, high) = min(leads.items(), key=lambda item: item[1][0])
    text = (
        f"The model's skill (AUROC minus 0.5) minus twice that of {name} is {value:.2f} (95 % CI {low:.2f} to "
        f"{high:.2f}): not shown to be positive. Nor is that control shown to be better than chance."
    )
    if value <= 0:
        return f"{text} Its estimate is not positive, so more patients alone are not expected to show it."
    wanted = patients * max(((high - low) / 2 / value) ** 2 for value, low, high in leads.values())
    return f"{text} About {max(patients + 1, round(wanted, -1)):.0f} patients instead of {patients} would decide it."
