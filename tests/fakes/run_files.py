"""A run with made-up numbers, in memory or as a folder without a model: no TensorFlow, milliseconds."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.recipes import Augmentation, Recipe
from trainer.run_folder import file_names
from trainer.run_folder.dataset_card import Ages, DatasetCard, Group
from trainer.run_folder.decision_results import (
    Calibration,
    DecisionRates,
    OperatingPoint,
    ReliabilityBin,
    Subgroup,
    ThresholdUncertainty,
)
from trainer.run_folder.details import ExternalValidation, RunDetails, save, save_config
from trainer.run_folder.environment import Environment, Precision, Weights
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import OutOfFoldPrediction, Prediction
from trainer.run_folder.results import (
    Argmax,
    ClassMetrics,
    CrossValidation,
    DatasetId,
    Declined,
    Evaluation,
    External,
    RunMetrics,
)
from trainer.run_folder.run import Run
from trainer.run_folder.saliency import Mean, Opacities, Saliency, SaliencyImage
from trainer.run_folder.shortcut_results import ControlResult, ModelResult, Shortcuts
from trainer.run_folder.typicality import Reference
from trainer.run_folder.typicality_results import ImageTypicality, NearestImage, Typicality

HOSTILE = "<img src=x onerror=alert(1)> | `*[a](b)"
UNDEFINED = Estimate(None, None, 3, "there are images of one class only")


CLASSES = ("covid", "normal")
DECIDED = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1")


def estimates(n=50, names=CLASSES, **changed):
    """All metrics of a set of images."""
    auroc = Estimate(0.95, (0.86, 0.98), n)
    usual = {
        **decided(n, names),
        "auroc": auroc,
        "macro_auroc": auroc,
        "pr_auc": Estimate(0.94, (0.8, 0.99), n),
        "brier": Estimate(0.09, (0.05, 0.14), n),
        "argmax": argmax(n, names),
    }
    return usual | changed


def decided(n=50, names=CLASSES):
    """The metrics of a rule of decision."""
    values = {
        "accuracy": Estimate(0.88, (0.76, 0.95), n),
        "balanced_accuracy": Estimate(0.88, (0.77, 0.95), n),
        "sensitivity": Estimate(0.92, (0.74, 0.99), n // 2),
        "specificity": Estimate(0.84, (0.64, 0.95), n // 2),
        "precision": Estimate(0.85, (0.66, 0.96), n // 2),
        "f1": Estimate(0.88, (0.7, 0.97), n // 2),
    }
    one = ClassMetrics(*list(values.values())[2:], auroc=Estimate(0.95, (0.86, 0.98), n))
    return {**values, "classes": dict.fromkeys(names, one)}


def argmax(n=50, names=CLASSES):
    """The metrics of the decision for the most probable class, all of them right."""
    share, rest = divmod(n, len(names))
    counts = [share + (place < rest) for place in range(len(names))]
    matrix = [[count if row == column else 0 for column in range(len(names))] for row, count in enumerate(counts)]
    return Argmax(confusion_matrix=tuple(map(tuple, matrix)), **decided(n, names))


def probabilities(p, names=CLASSES):
    """By class: p of the first, the others share the rest."""
    return {name: p if place == 0 else (1 - p) / (len(names) - 1) for place, name in enumerate(names)}


def row(p, threshold=0.321, names=CLASSES):
    """The probabilities and both decisions of a prediction."""
    first, second, *_ = names
    return {
        "probabilities": probabilities(p, names),
        "decision": first if p >= threshold else second,
        "decision_argmax": first if p >= 1 / len(names) else second,
    }


def control(auroc, low, high, sees_lungs):
    what = "Sees " + ("everything." if sees_lungs else "the frame only.")
    return ControlResult(sees_lungs, what, Estimate(auroc, (low, high), 50))


def metrics(verdict="shortcut") -> RunMetrics:
    strong = 0.97 if verdict == "shortcut" else 0.55
    bins = (
        ReliabilityBin(0.0, 0.1, 25, 0.04, 0.08, (0.01, 0.26)),
        ReliabilityBin(0.9, 1.0, 25, 0.96, 0.92, (0.74, 0.99)),
    )
    rates = DecisionRates(Estimate(0.95, (0.8, 0.99), 20), Estimate(0.9, (0.7, 0.98), 20))
    uncertainty = ThresholdUncertainty((0.2, 0.5), (1.0, 0.85), (0.8, 0.95), 20)
    return RunMetrics(
        positive_class="covid",
        threshold=0.321,
        temperature=1.5,
        target_sensitivity=0.95,
        test=Evaluation(10, 7, **estimates(10), confusion_matrix=((4, 1), (2, 3))),
        cross_validation=CrossValidation(50, 37, **estimates(), folds=5, repeats=3, how="Made up."),
        shortcuts=Shortcuts(
            verdict=verdict,
            rule="A rule with a < sign.",
            because="The border tells the classes apart, in a test.",
            strongest="border_only",
            model=ModelResult(Estimate(0.95, (0.86, 0.98), 50)),
            controls={
                "border_only": control(strong, strong - 0.1, min(1.0, strong + 0.1), False),
                "lungs_blacked_out": control(0.54, 0.4, 0.7, False),
                "thumbnail_16x16": control(0.99, 0.9, 1.0, True),
                "permuted_labels": control(0.5, 0.4, 0.6, True),
            },
        ),
        operating_point=OperatingPoint(0.321, 0.95, "Made up.", uncertainty, rates, rates),
        calibration=Calibration(1.5, True, "Made up.", 0.31, 0.29, 0.1, 0.09, 0.08, 0.06, bins, bins),
        subgroups=subgroups(),
    )


def dataset() -> DatasetCard:
    """A dataset whose files have hostile names."""
    groups = [
        Group(
            split,
            name,
            images=3,
            patients=2,
            age=Ages(2, 30.0, 40.0, 50.0),
            source={HOSTILE: 3},
            finding={"COVID-19": 3},
            view={"PA": 3},
            sex={"F": 2, "not stated": 1},
            license={"not stated": 3},
        )
        for split in ("train", "test")
        for name in ("covid", "normal")
    ]
    return DatasetCard(HOSTILE, "folder", "Made up.", ("covid", "normal"), 50, 37, 0, "f" * 64, tuple(groups))


def saliency() -> Saliency:
    """One test image that was drawn, one that was not, and one mistake."""
    drawn = SaliencyImage(
        group="test",
        image_id=HOSTILE,
        patient_id="p",
        split="test",
        label="covid",
        finding="Pneumonia, virus",
        license="",
        **row(0.9),
        overlay="saliency/00.jpg",
        peak=0.5,
        outside_lungs=0.25,
    )
    mistake = dataclasses.replace(
        drawn, group="mistake", image_id="m", label="normal", **row(0.37), overlay="saliency/01.jpg", outside_lungs=None
    )
    images = (drawn, dataclasses.replace(drawn, image_id="not drawn", overlay=None), mistake)
    opacities = Opacities(Mean(0.3, 2), Mean(0.1, 2), Mean(3.0, 2))
    return Saliency("z", (7, 7), "the lung rectangle", 0.33, 33 / 49, 0.8, Mean(0.25, 2), opacities, images)


def subgroups() -> dict[str, dict[str, Subgroup]]:
    """One sex with images of both classes, and one of one class only."""
    rate = Estimate(0.7, (0.4, 0.9), 10)
    women = Subgroup(20, 10, 15, Estimate(0.8, (0.6, 0.9), 20), rate, rate, DecisionRates(rate, rate))
    none = Estimate(None, None, 0, "there is no negative image")
    men = Subgroup(5, 5, 4, none, rate, none, DecisionRates(rate, none))
    return {"sex": {"F": women, HOSTILE: men}}


def reference() -> Reference:
    """Four training images of four patients, with the features of two channels."""
    vectors = np.eye(4, 4 * 2 + 16 * 16 + 1) + 1
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Reference(unit.astype(np.float16), np.arange(4), np.asarray([f"i{row}" for row in range(4)]))


def typicality() -> Typicality:
    """One test image that is declined and drawn, one that is neither."""
    nearest = NearestImage("i0", "covid", "", 0.1)
    declined = ImageTypicality(HOSTILE, "covid", "", 0.3, 0.2, True, nearest, "typicality/00.jpg")
    usual = ImageTypicality("usual", "normal", "CC BY 4.0", 0.1, 0.8, False, nearest, None)
    return Typicality(0.2, 4, 4, (0.1, 0.1, 0.1, 0.12), 1, (declined, usual))


def environment() -> Environment:
    return Environment(
        schema=file_names.SCHEMA,
        seed=42,
        recipe=Recipe(pooling="corner", scaling="unit", epochs=2, augmentation=Augmentation(rotation=15.0)),
        weights=Weights("random", "a" * 64, trained=False),
        dataset=DatasetId(HOSTILE, "folder", "f" * 64, ("covid", "normal"), patient_grouped=True),
        notes=("The backbone is UNTRAINED.",),
        run_id="0123456789ab",
        versions={"python": "3.11", "keras": "3.15"},
        platform="Linux",
        precision=Precision("float32"),
    )


def make(folder: Path, verdict: str = "shortcut") -> tuple[Run, RunDetails]:
    """A run in memory, with predictions that separate the classes well but not perfectly."""
    truth = np.arange(50) % 2 == 0
    p = np.clip(np.random.default_rng(0).normal(np.where(truth, 0.7, 0.3), 0.2), 0, 1).tolist()
    label = [("covid", "normal")[i % 2] for i in range(50)]
    run = Run(
        path=folder,
        config=Config(data=DatasetRequest(dataset=HOSTILE), weights="random"),
        environment=environment(),
        metrics=metrics(verdict),
        predictions=tuple(
            Prediction(f"i{i}", f"p{i}", "test" if i >= 40 else "train", label[i], **row(p[i]), sha256="")
            for i in range(50)
        ),
    )
    file = io.BytesIO()
    Image.new("RGB", (448, 224), "grey").save(file, "JPEG")
    out_of_fold = tuple(
        OutOfFoldPrediction(f"i{i}", f"p{i}", label[i], repeat, i % 5, **row(p[i]), threshold=0.321, temperature=1.5)
        for repeat in range(3)
        for i in range(50)
    )
    details = RunDetails(
        out_of_fold=out_of_fold,
        out_of_fold_train=tuple(one for one in out_of_fold if int(one.image_id[1:]) < 40),
        history=tuple({"loss": 1 / e, "accuracy": 0.8, "val_loss": 1 / e, "val_accuracy": 0.7} for e in (1, 2)),
        dataset=dataset(),
        saliency=saliency(),
        reference=reference(),
        typicality=typicality(),
        overlays={name: file.getvalue() for name in ("saliency/00.jpg", "saliency/01.jpg", "typicality/00.jpg")},
    )
    return run, details


def write(folder: Path, verdict: str = "shortcut") -> tuple[Run, RunDetails]:
    """A run folder without model and report, and what it holds."""
    run, details = make(folder, verdict)
    folder.mkdir(parents=True)
    save_config(folder, run.config)
    save(run, details)
    return run, details


def external(name: str = "source_matched") -> ExternalValidation:
    """The run on another dataset, no better than chance."""
    test = Evaluation(
        88, 80, **estimates(88, auroc=Estimate(0.51, (0.4, 0.6), 88)), confusion_matrix=((22, 22), (22, 22))
    )
    data = DatasetId(name, "1.0.0", "e" * 64, ("covid", "normal"), patient_grouped=True)
    rows = [Prediction(f"x{i}", f"q{i}", "test", CLASSES[i % 2], **row((i % 10) / 10), sha256="") for i in range(88)]
    class_of = {name: name for name in CLASSES}
    declined = Declined(0.2, Estimate(0.25, (0.16, 0.35), 88), test)
    metrics = External("covid", "0123456789ab", 0.321, 1.5, data, 7, None, class_of, {}, (), test, declined)
    return ExternalValidation(name, metrics, tuple(rows))


def of_three_classes(run: Run, details: RunDetails, third: str = "pneumonia") -> tuple[Run, RunDetails]:
    """The same run with a third class, of which there are no images among the predictions."""
    names = (*CLASSES, third)
    metrics, environment = run.metrics, run.environment
    matrix = ((4, 1, 0), (2, 3, 0), (0, 0, 0))
    changed = dataclasses.replace(
        metrics,
        test=Evaluation(10, 7, **estimates(10, names), confusion_matrix=matrix),
        cross_validation=dataclasses.replace(metrics.cross_validation, **estimates(50, names)),
        shortcuts=dataclasses.replace(metrics.shortcuts, classes=dict.fromkeys(names[1:], metrics.shortcuts)),
    )
    data = dataclasses.replace(environment.dataset, class_names=names)

    def widen(one):
        return dataclasses.replace(one, probabilities={**one.probabilities, third: 0.0})

    run = dataclasses.replace(
        run,
        metrics=changed,
        environment=dataclasses.replace(environment, dataset=data),
        predictions=tuple(map(widen, run.predictions)),
    )
    saliency = dataclasses.replace(details.saliency, images=tuple(map(widen, details.saliency.images)))
    out_of_fold = tuple(map(widen, details.out_of_fold))
    return run, dataclasses.replace(details, out_of_fold=out_of_fold, saliency=saliency)


def with_search(run: Run, details: RunDetails) -> tuple[Run, RunDetails]:
    """The same run, its recipe found by a search."""
    summary = {
        **{"trials": 30, "failed": 1, "folds": 5, "images": 40, "patients": 30, "tuner": "bayesian"},
        "best": {"auroc_mean": 0.9},
        "tutorial": {"auroc_mean": 0.7},
        "without_selection_bias": {"auroc": {"value": 0.85, "ci95": [0.7, 0.95]}},
    }
    plot = io.BytesIO()
    Image.new("RGB", (1000, 900)).save(plot, "PNG")
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, tune=True))
    return run, dataclasses.replace(details, tuning=summary, tuning_plot=plot.getvalue())
