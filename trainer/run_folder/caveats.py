"""Caveats to show beside every metric of a run."""

from __future__ import annotations

from covid_tfds.examples import Examples
from trainer.config import Config

NOT_VALID = "Not a valid evaluation:"
MOST_NAMED = 3
UNTRAINED = (
    "The backbone is UNTRAINED (random weights): these metrics say nothing about what ImageNet weights would reach."
)
UNGROUPED = (
    "Patients are unknown, so a patient may be in both splits: the metrics are probably too high. A patients.csv "
    "(path,patient_id) in the dataset folder, or --patient_pattern, prevents that."
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


def list_invalidating(examples: Examples) -> tuple[str, ...]:
    """Returns what makes every metric on this dataset invalid, as `python -m covid_tfds.audit` finds it."""
    from covid_tfds.audit.validity import find_invalidating  # imported late: loading a run needs no pandas

    return tuple(
        f"{NOT_VALID} {finding.message}{_name_first(finding.items)}" for finding in find_invalidating(examples)
    )


def _name_first(items: list[dict]) -> str:
    """Names the images or patients of a finding, the first few."""
    firsts = [next(iter(item.values())) for item in items]
    names = [" and ".join(first) if isinstance(first, list) else str(first) for first in firsts]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f" These are {', '.join(names[:MOST_NAMED])}{more}." if names else ""


def list_caveats(config: Config, examples: Examples) -> tuple[str, ...]:
    """Returns the caveats of a run, in the order in which they are shown: first those of `list_invalidating`."""
    caveats = {
        UNTRAINED: config.weights == "random",
        UNGROUPED: not examples.patients_known,
        TUNED: config.tune,
        FINE_TUNED: config.fine_tune is not None,
    }
    return (*list_invalidating(examples), *(caveat for caveat, applies in caveats.items() if applies))
