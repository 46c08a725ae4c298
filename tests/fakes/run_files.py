"""A run folder as the trainer leaves it, made of made-up numbers in milliseconds: no TensorFlow, no model."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds.common.files import write_csv, write_json
from trainer.run_folder import file_names

HOSTILE = "<img src=x onerror=alert(1)> | `*[a](b)"


def figure(value, low=None, high=None, n=50):
    """A figure as metrics.json holds it."""
    return {"value": value, "ci95": None if value is None else [low, high], "n": n}


def figures(n=50, **changed):
    """The six figures of a set of images."""
    usual = {
        "accuracy": figure(0.88, 0.76, 0.95, n),
        "sensitivity": figure(0.92, 0.74, 0.99, n // 2),
        "specificity": figure(0.84, 0.64, 0.95, n // 2),
        "auroc": figure(0.95, 0.86, 0.98, n),
        "pr_auc": figure(0.94, 0.8, 0.99, n),
        "brier": figure(0.09, 0.05, 0.14, n),
    }
    return usual | changed


def control(auroc, low, high, sees_lungs):
    """A control's entry in metrics.json."""
    what = "Sees " + ("everything." if sees_lungs else "the frame only.")
    return {"auroc": figure(auroc, low, high), "sees_lungs": sees_lungs, "what": what}


def metrics(verdict="shortcut"):
    """metrics.json with every section."""
    strong = 0.97 if verdict == "shortcut" else 0.55
    bins = [
        {"low": 0.0, "high": 0.1, "n": 25, "mean_p": 0.04, "fraction_covid": 0.08, "ci95": [0.01, 0.26]},
        {"low": 0.9, "high": 1.0, "n": 25, "mean_p": 0.96, "fraction_covid": 0.92, "ci95": [0.74, 0.99]},
    ]
    return {
        "positive_class": "covid",
        "threshold": 0.321,
        "temperature": 1.5,
        "target_sensitivity": 0.95,
        "test": {"n": 10, "patients": 7, "confusion_matrix": [[4, 1], [2, 3]], **figures(10)},
        "cross_validation": {"folds": 5, "repeats": 3, "how": "Made up.", "n": 50, "patients": 37, **figures()},
        "shortcuts": {
            "verdict": verdict,
            "rule": "A rule with a < sign.",
            "because": "The border tells the classes apart, in a test.",
            "strongest": "border_only",
            "model": {"auroc": figure(0.95, 0.86, 0.98)},
            "controls": {
                "border_only": control(strong, strong - 0.1, min(1, strong + 0.1), False),
                "lungs_blacked_out": control(0.54, 0.4, 0.7, False),
                "file_facts": {**control(None, None, None, False)},
                "thumbnail_16x16": control(0.99, 0.9, 1.0, True),
                "permuted_labels": control(0.5, 0.4, 0.6, True),
            },
        },
        "operating_point": {
            **{"threshold": 0.321, "target_sensitivity": 0.95, "how": "Made up."},
            "out_of_fold": {"sensitivity": figure(0.95, 0.8, 0.99, 20), "specificity": figure(0.9, 0.7, 0.98, 20)},
            "test": {"sensitivity": figure(0.92, 0.74, 0.99, 5), "specificity": figure(0.84, 0.64, 0.95, 5)},
        },
        "calibration": {
            "temperature": 1.5,
            "applied": True,
            "how": "Made up.",
            "log_loss_before": 0.31,
            "log_loss_after": 0.29,
            "brier_before": 0.1,
            "brier_after": 0.09,
            "ece_before": 0.08,
            "ece_after": 0.06,
            "bins_before": bins,
            "bins": bins,
        },
    }


def dataset():
    """dataset.json of a dataset whose files have hostile names."""
    facts = {"source": {HOSTILE: 3}, "finding": {"COVID-19": 3}, "view": {"PA": 3}, "sex": {"F": 2, "not stated": 1}}
    group = {
        "images": 3,
        "patients": 2,
        "age": {"known": 2, "min": 30.0, "median": 40.0, "max": 50.0},
        **facts,
        "license": {"not stated": 3},
    }
    return {
        "name": HOSTILE,
        "version": "folder",
        "description": "Made up.",
        "class_names": ["covid", "normal"],
        "images": 50,
        "patients": 37,
        "patients_in_both_splits": 0,
        "fingerprint": "f" * 64,
        "groups": [{"split": s, "class": c, **group} for s in ("train", "test") for c in ("covid", "normal")],
    }


def saliency():
    """saliency.json with one test image and one mistake."""
    entry = {"patient_id": "p", "split": "test", "license": "", "outside_lungs": 0.25}
    images = [
        entry | {"group": "test", "image_id": HOSTILE, "label": "covid", "p_covid": 0.9, "picture": "saliency/00.jpg"},
        entry | {"group": "test", "image_id": "not drawn", "label": "covid", "p_covid": 0.8, "picture": None},
        entry
        | {"group": "mistake", "image_id": "m", "label": "normal", "p_covid": 0.1, "picture": "saliency/01.jpg"}
        | {"p_out_of_fold": 0.77, "outside_lungs": None},
    ]
    return {
        "score": "z",
        "map_cells": [7, 7],
        "lungs": [0.1, 0.9, 0.08, 0.92],
        "area_outside_lungs": 0.33,
        "area_blind": 33 / 49,
        "outside_lungs": {"value": 0.25, "n": 2},
        "opacities": {"heat": {"value": 0.3, "n": 2}, "area": {"value": 0.1, "n": 2}, "ratio": {"value": 3.0, "n": 2}},
        "images": images,
    }


def write(folder: Path, verdict: str = "shortcut") -> Path:
    """Write a complete run folder, but for the model, and give it back."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"config": "curated", "dataset": HOSTILE, "manual_dir": None}
    config = {"data": data, "weights": "random", "recipe": "default"}
    environment = {
        "schema": file_names.SCHEMA,
        "run_id": "0123456789ab",
        "seed": 42,
        "recipe": {
            **{"cut": "block5_pool", "pooling": "corner", "scaling": "unit", "depth": 1, "units": 64, "epochs": 2},
            **{"batch_size": 8, "learning_rate": 1e-3, "decay": "cosine", "l2": 0.0, "dropout": 0.5},
            "augmentation": {"rotation": 15.0, "zoom": 0.0},
        },
        "weights": {"name": "random", "sha256": "a" * 64, "trained": False},
        "dataset": {
            **{"name": HOSTILE, "version": "folder", "fingerprint": "f" * 64, "patient_grouped": True},
            "class_names": ["covid", "normal"],
        },
        "notes": ["The backbone is UNTRAINED."],
        "versions": {"python": "3.11", "keras": "3.15"},
        "platform": "Linux",
    }
    write_json(folder / file_names.CONFIG, {**config, "seed": 42})
    write_json(folder / file_names.ENVIRONMENT, environment)
    write_json(folder / file_names.METRICS, metrics(verdict))
    write_json(folder / file_names.DATASET, dataset())
    write_json(folder / file_names.SALIENCY, saliency())
    random = np.random.default_rng(0)
    truth = np.arange(50) % 2 == 0
    p = np.clip(random.normal(np.where(truth, 0.7, 0.3), 0.2), 0, 1)
    rows = [
        {"image_id": f"i{i}", "patient_id": f"p{i}", "label": ("covid", "normal")[i % 2], "p_covid": p[i]}
        for i in range(50)
    ]
    split = [row | {"split": "test" if i >= 40 else "train"} for i, row in enumerate(rows)]
    write_csv(folder / file_names.PREDICTIONS, file_names.PREDICTION_COLUMNS, split)
    held_out = [row | {"repeat": r, "fold": i % 5} for r in range(3) for i, row in enumerate(rows)]
    columns = ("image_id", "patient_id", "label", "repeat", "fold", "p_covid")
    write_csv(folder / file_names.OUT_OF_FOLD, columns, held_out)
    history = [{"epoch": e, "loss": 1 / e, "accuracy": 0.8, "val_loss": 1 / e, "val_accuracy": 0.7} for e in (1, 2)]
    write_csv(folder / file_names.HISTORY, history[0], history)
    (folder / file_names.SALIENCY_PICTURES).mkdir(exist_ok=True)
    for name in ("00.jpg", "01.jpg"):
        Image.new("RGB", (448, 224), "grey").save(folder / file_names.SALIENCY_PICTURES / name)
    return folder


def add_external(folder: Path, name: str = "source_matched") -> None:
    """Add an external validation to a run folder."""
    place = folder / file_names.EXTERNAL / name
    place.mkdir(parents=True)
    write_json(
        place / file_names.METRICS,
        {"left_out": 7, "test": {"n": 88, **figures(88, auroc=figure(0.51, 0.4, 0.6))}},
    )
    (place / file_names.PREDICTIONS).write_text((folder / file_names.PREDICTIONS).read_text())


def add_tuning(folder: Path) -> None:
    """Add what a search leaves."""
    summary = {
        **{"trials": 30, "failed": 1, "folds": 5, "images": 40, "patients": 30, "tuner": "bayesian"},
        "best": {"auroc_mean": 0.9},
        "tutorial": {"auroc_mean": 0.7},
        "without_selection_bias": {"auroc": figure(0.85, 0.7, 0.95)},
    }
    write_json(folder / file_names.TUNING, summary)
    Image.new("RGB", (1000, 900)).save(folder / file_names.TUNING_PLOT)
    change(folder, file_names.CONFIG, tune=True)


def change(folder: Path, name: str, **values) -> None:
    """Set top-level keys of a JSON file of the folder."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
