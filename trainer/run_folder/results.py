"""Result types of a run: what metrics.json and external/<name>/metrics.json hold.

`covid_tfds.common.files.to_json` turns them into JSON, `trainer.run_folder.typed_files` reads them back. The
positive class is class 0. Field names are the JSON keys; fields that are None by default are left out there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.run_folder.decision_results import Calibration, OperatingPoint, Subgroup
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.shortcut_results import Shortcuts


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class against the rest.

    Attributes:
        sensitivity: Share of the class's images decided as it; also called recall.
        specificity: Share of the other images not decided as it.
        precision: Share of the images decided as the class that are of it.
        f1: Harmonic mean of precision and sensitivity.
        auroc: Area under the ROC curve of the class's probability; no decision takes part.
    """

    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate
    auroc: Estimate


@dataclass(frozen=True)
class Argmax:
    """The metrics of the decision for the class with the highest probability (with two classes: threshold 0.5).

    Attributes:
        confusion_matrix: Number of images, a row for each label and a column for each decision, in class order; in a
            cross-validation the mean over repeats.
        accuracy: Share of images decided correctly.
        balanced_accuracy: Mean of the classes' sensitivities; classes without an image are left out.
        sensitivity: Of the positive class; so are specificity, precision and f1.
        classes: Each class against the rest.
    """

    confusion_matrix: tuple[tuple[float, ...], ...]
    accuracy: Estimate
    balanced_accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate
    classes: dict[str, ClassMetrics]


@dataclass(frozen=True)
class Metrics:
    """The metrics of a set of images, at the operating point and by argmax.

    The operating point calls an image positive when its probability of the positive class reaches the threshold; else
    it decides for the most probable of the other classes.

    Attributes:
        n: Number of images.
        patients: Number of patients; None where patients are unknown.
        accuracy: Share of images decided correctly.
        balanced_accuracy: Mean of the classes' sensitivities; classes without an image are left out.
        sensitivity: Share of positive images called positive.
        specificity: Share of the other images not called positive.
        precision: Share of the images called positive that are positive.
        f1: Harmonic mean of precision and sensitivity.
        auroc: Area under the ROC curve of the positive class against the rest.
        macro_auroc: Mean of the classes' areas, each against the rest; with two classes the same as `auroc`.
        pr_auc: Average precision of the positive class, the area under the precision-recall curve.
        brier: Brier score of the positive class; 0 is perfect.
        classes: Each class against the rest, at the operating point.
        argmax: The same predictions, decided for the class with the highest probability.
    """

    n: int
    patients: int | None
    accuracy: Estimate
    balanced_accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    precision: Estimate
    f1: Estimate
    auroc: Estimate
    macro_auroc: Estimate
    pr_auc: Estimate
    brier: Estimate
    classes: dict[str, ClassMetrics]
    argmax: Argmax


@dataclass(frozen=True)
class Evaluation(Metrics):
    """The metrics of one model at one threshold.

    Attributes:
        confusion_matrix: Number of images at the operating point, a row for each label and a column for each decision,
            in class order; with two classes ((tp, fn), (fp, tn)).
    """

    confusion_matrix: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CrossValidation(Metrics):
    """Metrics of out-of-fold predictions, means over repeats; precision and F1 of all repeats together.

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
class FineTuning:
    """What fine-tuning did, and the test split before it.

    Attributes:
        block: The fine-tuned block of VGG16.
        epochs: Epochs of fine-tuning.
        learning_rate: Adam's.
        batch_size: Images in a step, over all replicas.
        replicas: Copies of the model, one per device.
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
        threshold: Call an image positive when its probability of class 0 is at least this.
        temperature: What the last layer's weights were divided by; 1 where scaling is not applied.
        target_sensitivity: The sensitivity the threshold was chosen for.
        test: The final model on the test split.
        cross_validation: Of the recipe, over all images.
        shortcuts: Controls and verdict.
        operating_point: How the threshold was chosen.
        calibration: How the temperature was chosen.
        subgroups: By fact ("sex", "age", "view", "source") and its value; facts that are never stated are left out.
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
    subgroups: dict[str, dict[str, Subgroup]] = field(default_factory=dict)
    fine_tuning: FineTuning | None = None


@dataclass(frozen=True)
class DatasetId:
    """Which dataset metrics are of.

    Attributes:
        name: "covid_tfds/<config>", or the name of a folder.
        version: The builder's version, or "folder".
        fingerprint: SHA-256 over the images' hashes, labels and splits.
        class_names: In class order.
        patient_grouped: Whether patients are known, so that no patient is in both splits.
    """

    name: str
    version: str
    fingerprint: str
    class_names: tuple[str, ...]
    patient_grouped: bool


@dataclass(frozen=True)
class Declined:
    """What an exported model declines of a dataset, and its metrics without that.

    Attributes:
        declined_at: An image is declined when its typicality is at most this.
        share: Share of the images that are declined.
        answered: Metrics of the other images; None if all are declined.
    """

    declined_at: float
    share: Estimate
    answered: Evaluation | None


@dataclass(frozen=True)
class External:
    """All of external/<name>/metrics.json: a finished run's model, threshold and temperature on another dataset.

    Attributes:
        positive_class: Name of class 0.
        run_id: The run's id.
        threshold: The run's threshold.
        temperature: The run's temperature.
        dataset: The other dataset.
        left_out: Images left out because they, their near-duplicates or their patients are in the run's own data.
        near_duplicates: Those of them that only the perceptual hash found; None where the run's images are gone.
        class_of: The run's class by the other dataset's class; classes that the run does not have are left out.
        unknown_classes: Number of images by class, of the other dataset's classes that the run does not have.
        missing_classes: The run's classes that the other dataset does not have.
        test: Metrics of all other images.
        declined: How many of these an exported model declines, and the metrics without them.
    """

    positive_class: str
    run_id: str
    threshold: float
    temperature: float
    dataset: DatasetId
    left_out: int
    near_duplicates: int | None
    class_of: dict[str, str]
    unknown_classes: dict[str, int]
    missing_classes: tuple[str, ...]
    test: Evaluation
    declined: Declined
