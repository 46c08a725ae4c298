"""A small run that was really trained, in seconds: real features, a real fit, and none of a run's judgements."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.files import write_checksums, write_csv, write_json, write_text
from tests.fakes import run_files
from trainer.features.training_set import load_training_set
from trainer.run_folder.run import load

IMAGES = 26  # 13 a class leave the 10 training images of each that int8 needs
TEMPERATURE = 2.0  # and strong weight decay: a head that is sure of everything would hide every fault


def make_dataset(folder: Path) -> Path:
    """Drawn radiographs in the layout that --dataset takes: grey and colour, JPEG and PNG, of many sizes."""
    for index in range(IMAGES):
        film = phantom.draw(index)
        image = Image.fromarray(film.image).resize((180 + 7 * index, 260 - 3 * index))
        if index % 3 == 0:
            image = Image.merge("RGB", [image, image.point(lambda value: 255 - value), image.rotate(180)])
        path = folder / film.label / f"{film.image_id}{'.png' if index % 4 == 1 else '.jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return folder


def make_run(folder: Path, dataset: Path, **changes) -> Path:
    """Train a head on `dataset` and write a run folder. changes: fields of the recipe that are not the default's."""
    from covid_tfds.examples import DatasetRequest
    from trainer import training
    from trainer.config import Config
    from trainer.features import backbone_features
    from trainer.metrics import calibration
    from trainer.models import head_fitting, heads
    from trainer.recipes import Augmentation, Recipe

    config = Config(data=DatasetRequest(dataset=str(dataset)), weights="random")
    recipe = dataclasses.replace(Recipe(augmentation=Augmentation(), l2=0.05), **changes)
    examples = load_training_set(config)
    cached = backbone_features.Features(
        examples,
        backbone_features.Backbone.load("random", config.seed),
        recipe,
        config.seed,
        backbone_features.default_folder(),
    )
    rows = np.arange(len(examples))
    pooled = cached.pooled(rows, 1)
    fold = head_fitting.Fold(examples.rows("train"), examples.rows("test"))
    fitted = head_fitting.fit_heads(recipe, pooled, cached.targets, [fold], config.seed)
    head = cached.build_head()
    head.set_weights(fitted.weights[0])
    head.set_weights(calibration.folded_in(head.get_weights(), TEMPERATURE))
    p_covid = heads.predict_positive(head.get_weights(), pooled[:, 0])
    write(folder, config, training.environment(config, cached), training.build(cached, head), examples, p_covid)
    assert load(folder).predictions
    return folder


def write(folder: Path, config, environment: dict, network, examples, p_covid: np.ndarray) -> None:
    """The files of a run folder that an export reads."""
    from trainer.report import terminal
    from trainer.run_folder import file_names

    folder.mkdir()
    write_text(folder / file_names.CONFIG, config.to_json())
    write_json(folder / file_names.ENVIRONMENT, environment)
    rows = terminal.prediction_rows(examples, p_covid)
    write_csv(folder / file_names.PREDICTIONS, file_names.PREDICTION_COLUMNS, rows)
    metrics = run_files.metrics() | {"threshold": 0.4, "temperature": TEMPERATURE}
    write_json(folder / file_names.METRICS, metrics)
    network.save(folder / file_names.MODEL)
    write_checksums(folder)
