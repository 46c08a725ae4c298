"""What must be said of a run wherever its figures are shown. Never TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config import Config

if TYPE_CHECKING:
    from covid_tfds.examples import Examples

UNTRAINED = "The backbone is UNTRAINED (random weights): figures say nothing of what ImageNet weights would give."
UNGROUPED = (
    "Patients are unknown, so the split is by image and one patient may be on both sides: expect figures that are too "
    "good. A patients.csv (path,patient_id) in the dataset folder mends that."
)
TUNED = (
    "--tune chose the recipe on the training split, so that the cross-validation over all images is that of the best "
    "of many and too good; tuning.json has an estimate without that bias."
)
FINE_TUNED = (
    "block5 was fine-tuned after the head. Cross-validation, shortcut controls, calibration and the threshold are of "
    "the frozen model that it started from: block5 was not refitted for every fold. Only the test split's figures are "
    "the fine-tuned model's, and its sensitivity need not reach the target."
)


def of(config: Config, examples: Examples) -> list[str]:
    """The notes that apply to a run, in the order in which they are shown."""
    said = {
        UNTRAINED: config.weights == "random",
        UNGROUPED: not examples.patients_known,
        TUNED: config.tune,
        FINE_TUNED: config.fine_tune is not None,
    }
    return [note for note, applies in said.items() if applies]
