"""A search over made-up features, for tests; as a script, for those that need processes of their own.

python tests/fakes/search_process.py OUTPUT TRIALS TUNER       what `python -m trainer --tune` does, without a dataset
"""

import csv
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from covid_tfds.common import logs
from covid_tfds.common.new_folder import new_folder
from trainer.config import Config
from trainer.tuning import workers

N, WIDTH = 40, 6
IS_POSITIVE = np.arange(N) % 2 == 0


def config(output, trials, tuner="random", **changes) -> Config:
    return Config(tune=True, trials=trials, tuner=tuner, output=str(output), **changes)


def problem(features=None, seed=42):
    """Forty images of thirty patients in five folds; some poolings, cuts and scalings separate the classes better."""
    from trainer.tuning.scores import HeldOut
    from trainer.tuning.trials import Problem

    labels = np.arange(N) % 2
    patients = np.asarray([f"patient-{min(i // 2 * 2 + labels[i], 29 + labels[i])}" for i in range(N)])
    _, patient = np.unique(patients, return_inverse=True)
    return Problem(
        held_out=HeldOut(np.eye(2, dtype=bool)[labels], patients, patient % 5),
        class_names=("covid", "normal"),
        targets=np.eye(2, dtype=np.float32)[labels],
        image_id=np.asarray([f"image-{i:02d}" for i in range(N)]),
        features=features or made_up_features,
        batch_size=8,
        seed=42,
        settings={"seed": seed},
    )


def made_up_features(recipe, on_progress):
    random = np.random.default_rng([len(recipe.pooling), len(recipe.cut), len(recipe.scaling)])
    features = random.normal(size=(N, recipe.variants, WIDTH)).astype(np.float32)
    features[IS_POSITIVE, :, 0] += 0.1 * len(recipe.pooling)
    on_progress(N, N)
    return features


def run_search(output, trials, tuner="random", the_problem=None, **changes):
    """Run a search, or go on with one, in the run folder `output`; returns the recipe."""
    import tensorflow as tf

    from trainer.tuning import search

    tf.config.experimental.enable_op_determinism()  # as training does: without it the last bits differ
    wanted = config(output, trials, tuner, **changes)
    with new_folder(Path(output)) as folder:
        return search.search(folder, wanted, the_problem or problem()).best.recipe


def interrupt_after(quick, count, run, trials_wanted=6):
    """Leave an unfinished search behind: Ctrl-C in the trial after so many (`quick`, the fixture); gives its line."""
    import pytest

    from trainer.tuning import trials

    quick.clear()
    run_quickly = trials.run_trial

    def interrupted(*arguments):
        if len(quick) == count:
            raise KeyboardInterrupt
        return run_quickly(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "run_trial", interrupted)
        with pytest.raises(KeyboardInterrupt) as stop:
            run_search(run, trials_wanted, "bayesian")
    return str(stop.value)


def outcome(run: Path) -> dict:
    """All that a search decided, without what depends on the clock."""
    with (run / "tuning.csv").open() as file:
        table = [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    summary = json.loads((run / "tuning.json").read_text())
    del summary["seconds_in_trials"]
    return {"table": table, "summary": summary, "folds": (run / "folds.json").read_text()}


def hanging_features(recipe, on_progress):
    """Features of a worker that hangs in its second trial and then makes the file that HANG names."""
    marker = Path(os.environ["HANG"])
    if marker.with_suffix(".first").exists():
        marker.touch()
        while True:
            time.sleep(60)
    marker.with_suffix(".first").touch()
    return made_up_features(recipe, on_progress)


def main(output: str, trials: str, tuner: str) -> None:
    with logs.silenced():
        from trainer.tuning import search

    wanted = config(output, int(trials), tuner)
    if workers.find_role(wanted) == "worker":
        folder = workers.wait_for_chief(wanted)
        search.work(folder, wanted, problem(hanging_features if "HANG" in os.environ else None))
    else:
        run_search(output, int(trials), tuner)


if __name__ == "__main__":
    main(*sys.argv[1:])
