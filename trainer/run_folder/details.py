"""The results of a run that only its report shows; saving and loading them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from covid_tfds.common.files import atomic, read_csv, read_json, write_csv, write_text
from trainer.config import Config
from trainer.run_folder import file_names
from trainer.run_folder.dataset_card import DatasetCard
from trainer.run_folder.predictions import OutOfFoldPrediction, Prediction
from trainer.run_folder.results import External
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import Saliency
from trainer.run_folder.typed_files import read_result, read_rows, write_result, write_rows
from trainer.run_folder.typicality import Reference, load_reference, save_reference
from trainer.run_folder.typicality_results import Typicality


@dataclass(frozen=True)
class ExternalValidation:
    """The run's model on another dataset: the folder external/<name>/."""

    name: str
    metrics: External
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True)
class RunDetails:
    """What the report shows beside the metrics.

    Attributes:
        out_of_fold: out_of_fold.csv.
        out_of_fold_train: out_of_fold_train.csv.
        history: history.csv: loss, accuracy, auroc, val_loss, val_accuracy, val_auroc and learning_rate of each epoch.
        dataset: dataset.json.
        saliency: saliency.json.
        reference: typicality.npz.
        typicality: typicality.json.
        overlays: JPEG files of images with their heat maps, and of pairs of images, by name in the run folder.
        tuning: tuning.json; None without --tune.
        tuning_plot: tuning.png; None without --tune.
        external: External validations, by name.
    """

    out_of_fold: tuple[OutOfFoldPrediction, ...]
    out_of_fold_train: tuple[OutOfFoldPrediction, ...]
    history: tuple[dict[str, float], ...]
    dataset: DatasetCard
    saliency: Saliency
    reference: Reference = field(compare=False)
    typicality: Typicality
    overlays: dict[str, bytes]
    tuning: dict | None = None
    tuning_plot: bytes | None = None
    external: tuple[ExternalValidation, ...] = ()


def save_config(folder: Path, config: Config) -> None:
    """Writes config.json, by which a stopped run is found again."""
    write_text(folder / file_names.CONFIG, config.to_json() + "\n")


def save(run: Run, details: RunDetails) -> None:
    """Writes everything into a run's folder, except config.json and the model."""
    write_result(run.path / file_names.ENVIRONMENT, run.environment)
    write_result(run.path / file_names.METRICS, run.metrics)
    write_rows(run.path / file_names.PREDICTIONS, Prediction, run.predictions)
    write_rows(run.path / file_names.OUT_OF_FOLD, OutOfFoldPrediction, details.out_of_fold)
    write_rows(run.path / file_names.OUT_OF_FOLD_TRAIN, OutOfFoldPrediction, details.out_of_fold_train)
    epochs = [{"epoch": number, **epoch} for number, epoch in enumerate(details.history, start=1)]
    write_csv(run.path / file_names.HISTORY, epochs[0], epochs)
    write_result(run.path / file_names.DATASET, details.dataset)
    write_result(run.path / file_names.SALIENCY, details.saliency)
    save_reference(run.path / file_names.REFERENCE, details.reference)
    write_result(run.path / file_names.TYPICALITY, details.typicality)
    for name, content in details.overlays.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        with atomic(run.path / name) as temporary:
            temporary.write_bytes(content)


def save_external(run: Run, validation: ExternalValidation) -> Path:
    """Writes an external validation into the run's folder, over an older one of that name, and returns its folder."""
    folder = run.path / file_names.EXTERNAL / validation.name
    folder.mkdir(parents=True, exist_ok=True)
    # Written last: a validation without it is not there, so that a killed command leaves no mixture of two.
    (folder / file_names.METRICS).unlink(missing_ok=True)
    write_rows(folder / file_names.PREDICTIONS, Prediction, validation.predictions)
    write_result(folder / file_names.METRICS, validation.metrics)
    return folder


def load_details(folder: Path) -> RunDetails:
    """Returns the details of a finished run folder.

    Raises:
        UsageError: If a file is damaged; the message names it.
    """
    history = [{name: float(value) for name, value in row.items()} for row in read_csv(folder / file_names.HISTORY)]
    saliency = read_result(Saliency, folder / file_names.SALIENCY)
    typicality = read_result(Typicality, folder / file_names.TYPICALITY)
    drawn = [image.overlay for image in saliency.images] + [image.pair for image in typicality.images]
    overlays = {name: _read_own(folder, name) for name in drawn if name}
    tuning = folder / file_names.TUNING
    externals = sorted((folder / file_names.EXTERNAL).glob(f"*/{file_names.METRICS}"))
    return RunDetails(
        out_of_fold=read_rows(OutOfFoldPrediction, folder / file_names.OUT_OF_FOLD),
        out_of_fold_train=read_rows(OutOfFoldPrediction, folder / file_names.OUT_OF_FOLD_TRAIN),
        history=tuple({name: value for name, value in epoch.items() if name != "epoch"} for epoch in history),
        dataset=read_result(DatasetCard, folder / file_names.DATASET),
        saliency=saliency,
        reference=load_reference(folder / file_names.REFERENCE),
        typicality=typicality,
        overlays={name: content for name, content in overlays.items() if content},
        tuning=read_json(tuning) if tuning.is_file() else None,
        tuning_plot=_read_own(folder, file_names.TUNING_PLOT),
        external=tuple(_load_external(path.parent) for path in externals),
    )


def _load_external(folder: Path) -> ExternalValidation:
    return ExternalValidation(
        folder.name,
        read_result(External, folder / file_names.METRICS),
        read_rows(Prediction, folder / file_names.PREDICTIONS),
    )


def _read_own(folder: Path, name: str) -> bytes | None:
    """A file of the run folder; None for others: a run folder from elsewhere could name, or link to, any image."""
    path = (folder / name).resolve()
    return path.read_bytes() if path.is_file() and path.is_relative_to(folder.resolve()) else None
