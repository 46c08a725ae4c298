"""Write what people read of a run: the report, the model card, plot.png and the event files of TensorBoard."""

from __future__ import annotations

import keras

from covid_tfds.common.files import write_text
from trainer.features.backbone_features import Features
from trainer.report import model_card, page, plots, tensorboard
from trainer.report.facts import collect_facts, describe_run
from trainer.run_folder import file_names
from trainer.run_folder.details import RunDetails
from trainer.run_folder.run import Run
from trainer.run_folder.typed_files import write_result


def write_plots(run: Run, details: RunDetails, features: Features, network: keras.Model) -> None:
    """Writes plot.png and the event files. network: the full model."""
    classes = len(run.environment.dataset.class_names)
    plots.draw_training_curves(run.path / file_names.PLOT, details.history, classes, describe_run(run))
    tensorboard.write_run(run, details, features, network)


def write_report(run: Run, details: RunDetails) -> None:
    """Writes report.html, plots/, report.json and MODEL_CARD.md into the run's folder, over older ones."""
    facts, drawn = collect_facts(run, details), page.draw_plots(run, details)
    (run.path / file_names.PLOTS).mkdir(exist_ok=True)
    for name, svg in drawn.items():
        write_text(run.path / file_names.PLOTS / f"{name}.svg", svg)
    write_result(run.path / file_names.REPORT_JSON, facts)
    write_text(run.path / file_names.REPORT, page.render(run, details, facts, drawn))
    write_text(run.path / file_names.MODEL_CARD, model_card.render(run, facts))
