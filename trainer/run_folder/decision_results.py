"""Result types of metrics.json: rates of a decision, operating point and calibration."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.run_folder.estimate import Estimate


@dataclass(frozen=True)
class DecisionRates:
    """Sensitivity and specificity of one threshold."""

    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class Subgroup:
    """Cross-validated metrics of the positive class against the rest, of the images with one value of a fact.

    Attributes:
        n: Number of images.
        positives: How many of them are positive.
        patients: Number of patients; None where patients are unknown.
        auroc: Area under the ROC curve.
        sensitivity: At the operating point; so is specificity.
        argmax: By argmax.
    """

    n: int
    positives: int
    patients: int | None
    auroc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    argmax: DecisionRates


@dataclass(frozen=True)
class ThresholdUncertainty:
    """How far the threshold would move with other patients in the training split, and what that does.

    Attributes:
        ci95: 95 % limits of the threshold: it is chosen again on patients drawn with replacement.
        sensitivity: On the predictions the threshold was chosen on, at the lower and at the upper of these limits.
        specificity: As `sensitivity`.
        positives: Number of positive images it was chosen on.
    """

    ci95: tuple[float, float]
    sensitivity: tuple[float, float]
    specificity: tuple[float, float]
    positives: int


@dataclass(frozen=True)
class OperatingPoint:
    """A frozen decision rule: call an image positive when its probability of class 0 is at least `threshold`.

    Attributes:
        threshold: Probability in [0, 1].
        target_sensitivity: The sensitivity the threshold was chosen for, in (0, 1].
        how: How it was chosen, in words.
        uncertainty: How far another sample of patients would move the threshold.
        out_of_fold: Rates on the predictions the threshold was chosen on; optimistic.
        test: Rates on the test split, which had no part in the choice.
        of: Which model it was chosen for, where it is not the run's own.
    """

    threshold: float
    target_sensitivity: float
    how: str
    uncertainty: ThresholdUncertainty
    out_of_fold: DecisionRates
    test: DecisionRates | None = None
    of: str | None = None


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of the reliability diagram of the positive class.

    Attributes:
        low: Lower limit of the probabilities in the bin.
        high: Upper limit.
        n: Number of predictions, repeats included.
        mean_p: Their mean probability of the positive class.
        fraction_positive: The share of them that is positive.
        ci95: Interval of that share; counts each image once.
    """

    low: float
    high: float
    n: int
    mean_p: float
    fraction_positive: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Temperature scaling on out-of-fold predictions of the training split.

    "before" is without scaling; "after" scales each fold with a temperature fitted on the other folds.

    Attributes:
        temperature: What the log-odds are divided by; 1 if scaling is not applied.
        applied: Whether scaling lowers the log loss and is part of the saved model.
        how: How the temperature was fitted, in words.
        log_loss_before, log_loss_after: Of all classes, in nats.
        brier_before, brier_after: Brier score of the positive class, in [0, 1].
        ece_before, ece_after: Expected calibration error of the positive class, in [0, 1].
        bins_before: Reliability diagram of the positive class without scaling.
        bins: The reliability diagram in use: after scaling if it is applied.
        of: Which model it belongs to, where that is not the run's own: "the frozen model".
    """

    temperature: float
    applied: bool
    how: str
    log_loss_before: float
    log_loss_after: float
    brier_before: float
    brier_after: float
    ece_before: float
    ece_after: float
    bins_before: tuple[ReliabilityBin, ...]
    bins: tuple[ReliabilityBin, ...]
    of: str | None = None
