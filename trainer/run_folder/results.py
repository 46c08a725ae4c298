"""Result types of a run: what metrics.json and external/<name>/metrics.json hold.

`covid_tfds.common.files.to_json` turns them into JSON, `trainer.run_folder.typed_files` reads them back. The
positive class is class 0, covid. Field names are the JSON keys; fields that are None by default are left out there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval.

    Attributes:
        value: The metric; None where it is undefined.
        ci95: Lower and upper limit; None where the metric is undefined.
        n: Number of images the metric counts.
        because: Why the metric is undefined.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    because: str | None = None

    @property
    def value_and_limits(self) -> tuple[float, float, float]:
        """Value, lower and upper limit of a metric that is defined."""
        if self.value is None or self.ci95 is None:
            raise ValueError(f"The metric is undefined: {self.because}.")
        return self.value, *self.ci95


@dataclass(frozen=True)
class Metrics:
    """The metrics of a set of images, covid against the rest.

    Attributes:
        n: Number of images.
        patients: Number of patients; None where patients are unknown.
        accuracy: Share of images decided correctly.
        sensitivity: Share of covid images called covid.
        specificity: Share of the other images not called covid.
        auroc: Area under the ROC curve.
        pr_auc: Average precision, the area under the precision-recall curve.
        brier: Brier score; 0 is perfect.
    """

    n: int
    patients: int | None
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    auroc: Estimate
    pr_auc: Estimate
    brier: Estimate


@dataclass(frozen=True)
class Evaluation(Metrics):
    """The metrics of one model at one threshold. confusion_matrix: ((tp, fn), (fp, tn))."""

    confusion_matrix: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class CrossValidation(Metrics):
    """Metrics of out-of-fold predictions, means over repeats.

    Attributes:
        folds: Number of folds.
        repeats: Number of repeats.
        how: How they were computed, in words.
        of: Which model was cross-validated, where it is not the run's own.
    """

    folds: int
    repeats: int
    how: str
    of: str | None = None


@dataclass(frozen=True)
class DecisionRates:
    """Sensitivity and specificity of one threshold."""

    sensitivity: Estimate
    specificity: Estimate


@dataclass(frozen=True)
class OperatingPoint:
    """A frozen decision rule: call an image covid when its probability is at least `threshold`.

    Attributes:
        threshold: Probability in [0, 1].
        target_sensitivity: The sensitivity the threshold was chosen for, in (0, 1].
        how: How it was chosen, in words.
        out_of_fold: Rates on the predictions the threshold was chosen on; optimistic.
        test: Rates on the test split, which had no part in the choice.
        of: Which model it was chosen for, where it is not the run's own.
    """

    threshold: float
    target_sensitivity: float
    how: str
    out_of_fold: DecisionRates
    test: DecisionRates | None = None
    of: str | None = None


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of the reliability diagram.

    Attributes:
        low: Lower limit of the probabilities in the bin.
        high: Upper limit.
        n: Number of predictions, repeats included.
        mean_p: Their mean probability of covid.
        fraction_covid: The share of them that is covid.
        ci95: Interval of that share; counts each image once.
    """

    low: float
    high: float
    n: int
    mean_p: float
    fraction_covid: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Temperature scaling on out-of-fold predictions of the training split.

    "before" is without scaling; "after" scales each fold with a temperature fitted on the other folds. ECE is the
    expected calibration error. `bins` are those in use: after scaling if it is applied.
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


@dataclass(frozen=True)
class ControlResult:
    """How well a shortcut control separates the classes.

    Attributes:
        sees_lungs: Whether its input holds pixels of the lungs.
        what: What it sees, in words.
        auroc: Its cross-validated AUROC, on the model's own folds.
        is_cue: Whether it is better than chance (level: see `rule`); None for controls that see the lungs.
        lead: (model's AUROC - 0.5) - 2 * max(control's AUROC - 0.5, 0); None for controls that see the lungs.
    """

    sees_lungs: bool
    what: str
    auroc: Estimate
    is_cue: bool | None = None
    lead: Estimate | None = None


@dataclass(frozen=True)
class ModelResult:
    """The model's own AUROC, as the controls are compared with it."""

    auroc: Estimate


@dataclass(frozen=True)
class Shortcuts:
    """The shortcut controls and the verdict that follows from them.

    Attributes:
        verdict: "shortcut", "not detected" or "inconclusive".
        rule: The rule the verdict follows, in words.
        because: Why the verdict is what it is, in words.
        strongest: Name of the control with the highest AUROC of those that cannot see the lungs.
        model: The cross-validated model.
        controls: Every control by name.
        of: Which model was compared; None for the run's own.
    """

    verdict: str
    rule: str
    because: str
    strongest: str
    model: ModelResult
    controls: dict[str, ControlResult]
    of: str | None = None


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning did, and the test split before it.

    Attributes:
        block: The fine-tuned block of VGG16.
        batch_size: Images in a step, over all replicas.
        backbone_before: SHA-256 of the frozen backbone's weights.
        how: What of metrics.json is of the frozen model, in words.
        frozen_test: The frozen model's metrics on the test split.
        largest_weight_change: Largest absolute change of one of the block's weights.
    """

    block: str
    epochs: int
    learning_rate: float
    batch_size: int
    replicas: int
    backbone_before: str
    how: str
    frozen_test: Evaluation
    largest_weight_change: float


@dataclass(frozen=True)
class RunMetrics:
    """All of a run's metrics.json.

    Attributes:
        positive_class: Name of class 0.
        threshold: Call an image covid when its probability is at least this.
        temperature: What the last layer's weights were divided by; 1 where scaling is not applied.
        target_sensitivity: The sensitivity the threshold was chosen for.
        test: The final model on the test split.
        cross_validation: Of the recipe, over all images.
        shortcuts: Controls and verdict.
        operating_point: How the threshold was chosen.
        calibration: How the temperature was chosen.
        fine_tuning: None without --fine_tune.
    """

    positive_class: str
    threshold: float
    temperature: float
    target_sensitivity: float
    test: Evaluation
    cross_validation: CrossValidation
    shortcuts: Shortcuts
    operating_point: OperatingPoint
    calibration: Calibration
    fine_tuning: FineTuning | None = None


@dataclass(frozen=True)
class DatasetId:
    """Which dataset metrics are of.

    Attributes:
        name: "covid_tfds/<config>", or the name of a folder.
        version: The builder's version, or "folder".
        fingerprint: SHA-256 over the images' hashes, labels and splits.
        class_names: Of classes 0 and 1.
        patient_grouped: Whether patients are known, so that no patient is in both splits.
    """

    name: str
    version: str
    fingerprint: str
    class_names: tuple[str, ...]
    patient_grouped: bool


@dataclass(frozen=True)
class External:
    """All of external/<name>/metrics.json: a finished run's model, threshold and temperature on another dataset.

    Attributes:
        positive_class: Name of class 0.
        run_id: The run's id.
        threshold: The run's threshold.
        temperature: The run's temperature.
        dataset: The other dataset.
        left_out: Images left out because they, or their patients, are in the run's own data.
        test: Metrics of all other images.
    """

    positive_class: str
    run_id: str
    threshold: float
    temperature: float
    dataset: DatasetId
    left_out: int
    test: Evaluation
