"""Result types of the shortcut controls and their verdict; the positive class's stand in metrics.json."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.run_folder.estimate import Estimate


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
class PatientFacts:
    """What the facts stated of the patients separate, beside the image and together with it, on the same folds.

    Attributes:
        facts: AUROC of age, sex and view, and which of them are not stated, without the image.
        image: AUROC of the model.
        both: AUROC of the sum of their log-odds.
        image_minus_facts: Paired difference of the AUROCs.
        both_minus_image: Paired difference of the AUROCs.
        because: What the differences show, in words.
    """

    facts: Estimate
    image: Estimate
    both: Estimate
    image_minus_facts: Estimate
    both_minus_image: Estimate
    because: str


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
        patient_facts: None where no fact of the patients is stated.
        sources: Number of images by source and class; None with fewer than two sources.
        classes: With more than two classes the same for each other class against the rest, by name.
    """

    verdict: str
    rule: str
    because: str
    strongest: str
    model: ModelResult
    controls: dict[str, ControlResult]
    of: str | None = None
    patient_facts: PatientFacts | None = None
    sources: dict[str, dict[str, int]] | None = None
    classes: dict[str, Shortcuts] = field(default_factory=dict)
