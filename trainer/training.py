"""Train one run: dataset -> features -> head -> validation -> run folder -> report. Read `train` from top to bottom."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from covid_tfds.common.new_folder import clear, new_folder
from covid_tfds.examples import Examples
from covid_tfds.layouts import describe_examples
from trainer.config import Config
from trainer.features.backbone_features import Backbone, Features, default_folder
from trainer.features.head_training import build_model, train_head
from trainer.features.training_set import load_training_set
from trainer.fine_tuning import fine_tune
from trainer.models import devices, strategies
from trainer.recipes import Recipe, choose_recipe
from trainer.report.terminal import describe_results
from trainer.report.writing import write_plots, write_report
from trainer.run_folder import file_names
from trainer.run_folder.caveats import list_caveats
from trainer.run_folder.details import save, save_config
from trainer.run_folder.keras_file import save_model
from trainer.run_folder.run import Run, default_output
from trainer.validation.assemble import assemble_run
from trainer.validation.validate import apply_temperature, validate_recipe

if TYPE_CHECKING:
    from trainer.tuning.summary import SearchSummary


def train(config: Config) -> Run:
    """Trains, validates and writes a run, prints its results, and returns the run.

    Args:
        config: The flags. A stopped run with the same flags continues.

    Raises:
        UsageError: If the user can solve the problem; the message says how.
    """
    output = Path(config.output) if config.output else default_output(config)
    strategy = strategies.strategy(config)
    with new_folder(output, unlisted=file_names.REWRITTEN) as folder:
        clear(folder, file_names.KEPT)
        examples, backbone = _load(config)
        save_config(folder, config)
        print(describe_examples(examples))
        for caveat in list_caveats(config, examples):
            print(caveat)
        recipe, search_summary = _choose_recipe(folder, config, examples, backbone)
        if config.fine_tune:
            fine_tune.check_recipe(recipe)

        features = Features(examples, backbone, recipe, config.seed, default_folder())
        head, history = train_head(features, config, folder)
        validation = validate_recipe(features, config)
        apply_temperature(head, validation)
        fine_tuning = None
        if config.fine_tune:
            tuned = fine_tune.continue_run(features, head, strategy, validation)
            features, validation, fine_tuning = tuned.features, tuned.validation, tuned.results
            history += tuned.history

        run, details = assemble_run(folder, config, features, head, history, validation, fine_tuning, search_summary)
        model = build_model(features, head)
        save_model(model, run.model_path)
        save(run, details)
        write_plots(run, details, features, model)
        write_report(run, details)
        (folder / file_names.EPOCHS).unlink(missing_ok=True)
    print(describe_results(run))
    print(
        f"Run folder: {output}\nPlot to open: {output / file_names.PLOT}\nReport to open: {output / file_names.REPORT}"
    )
    return dataclasses.replace(run, path=output)


def help_search(config: Config) -> None:
    """Runs trials of another process's `--tune` until it has no more; see `search.work`."""
    from trainer.tuning import search, workers  # imported late: KerasTuner takes a second
    from trainer.tuning.trials import Problem

    folder = workers.wait_for_chief(config)
    search.work(folder, config, Problem.of(config, *_load(config)))


def help_fine_tune(config: Config) -> None:
    """Computes a part of the fine-tuning for the first worker of TF_CONFIG, which alone writes the run."""
    strategy = strategies.strategy(config)
    examples, backbone = _load(config)
    with tempfile.TemporaryDirectory() as folder:
        recipe, _ = _choose_recipe(Path(folder), config, examples, backbone)
        features = Features(examples, backbone, recipe, config.seed, default_folder())
        head, _ = train_head(features, config, Path(folder))
    apply_temperature(head, validate_recipe(features, config))
    fine_tune.fine_tune(features, head, strategy)
    print("Fine-tuning is done; the first worker writes the run.")


def _load(config: Config) -> tuple[Examples, Backbone]:
    workers = devices.configure_devices(config)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    backbone = Backbone.load(config.weights, config.seed, config.precision, workers)
    return load_training_set(config), backbone


def _choose_recipe(
    folder: Path, config: Config, examples: Examples, backbone: Backbone
) -> tuple[Recipe, SearchSummary | None]:
    """The recipe that the flags name and None or, with --tune, the best recipe of a search and its summary."""
    if config.tune:
        from trainer.tuning import search  # imported late: KerasTuner takes a second
        from trainer.tuning.trials import Problem

        summary = search.search(folder, config, Problem.of(config, examples, backbone))
        return summary.best.recipe, summary
    if (folder / file_names.TUNER).exists():
        raise UsageError(f"{folder} holds an unfinished search: add --tune to continue it, or remove it.")
    return choose_recipe(config, len(examples.rows("train"))), None
