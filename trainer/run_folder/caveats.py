"""Caveats to show beside every metric of a run."""

from __future__ import annotations

from trainer.config import Config

UNTRAINED = (
    "The backbone is UNTRAINED (random weights): these metrics say nothing about what ImageNet weights would reach."
)
UNGROUPED = (
    "Patients are unknown, so the split is by image and a patient may be in both splits: the metrics are probably too "
    "high. A patients.csv (path,patient_id) in the dataset folder prevents that."
)
TUNED = (
    "--tune chose the recipe on the training split. The cross-validation covers the same images, so it is "
    "optimistic; tuning.json has an estimate that is corrected for choosing the best of many trials."
)
FINE_TUNED = (
    "block5 was fine-tuned after the head. Cross-validation, shortcut controls, calibration and threshold are those of "
    "the frozen model it started from, because block5 was not fine-tuned again for every fold. Only the metrics of the "
    "test split are the fine-tuned model's, and its sensitivity may miss the target."
)


def list_caveats(config: Config, patients_known: bool) -> tuple[str, ...]:
    """Returns the caveats of a run, in the order in which they are shown."""
    caveats = {
        UNTRAINED: config.weights == "random",
        UNGROUPED: not patients_known,
        TUNED: config.tune,
        FINE_TUNED: config.fine_tune is not None,
    }
    return tuple(caveat for caveat, applies in caveats.items() if applies)
