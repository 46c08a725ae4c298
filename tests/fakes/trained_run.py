"""A small run that was really trained, in seconds: real features, a real fit, and none of a run's judgements."""

import dataclasses
from pathlib import Path

from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.files import write_checksums
from tests.fakes import run_files
from trainer.run_folder.details import save, save_config

IMAGES = 30  # 15 a class: 12 to train on, 10 of which int8 needs
THRESHOLD = 0.4
TEMPERATURE = 2.0  # and strong weight decay: a head that is sure of everything would hide every fault


def make_dataset(folder: Path) -> Path:
    """Drawn radiographs in the layout that --dataset takes: grey and colour, JPEG and PNG, of many sizes."""
    for index in range(IMAGES):
        drawn = phantom.draw(index)
        image = Image.fromarray(drawn.image).resize((180 + 7 * index, 260 - 3 * index))
        if index % 3 == 0:
            image = Image.merge("RGB", [image, image.point(lambda value: 255 - value), image.rotate(180)])
        path = folder / drawn.label / f"{drawn.image_id}{'.png' if index % 4 == 1 else '.jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return folder


def make_run(folder: Path, dataset: Path, **changes) -> Path:
    """Train a head on `dataset` and write a run folder. changes: fields of the recipe that are not the default's."""
    from covid_tfds.examples import DatasetRequest
    from trainer.config import Config
    from trainer.features.backbone_features import Backbone, Features, default_folder
    from trainer.features.head_training import build_model, predict_probabilities, train_on_features
    from trainer.features.training_set import load_training_set
    from trainer.metrics.calibration import divide_last_layer
    from trainer.recipes import Augmentation, Recipe
    from trainer.run_folder.dataset_card import describe_dataset
    from trainer.run_folder.environment import describe_environment
    from trainer.run_folder.predictions import list_predictions
    from trainer.validation.typicality import build_reference

    config = Config(data=DatasetRequest(dataset=str(dataset)), weights="random")
    recipe = dataclasses.replace(Recipe(augmentation=Augmentation(), l2=0.05), **changes)
    examples = load_training_set(config)
    features = Features(examples, Backbone.load("random", config.seed), recipe, config.seed, default_folder())
    head, _ = train_on_features(features)
    head.set_weights(divide_last_layer(head.get_weights(), TEMPERATURE))
    run, details = run_files.make(folder)
    run = dataclasses.replace(
        run,
        config=config,
        environment=describe_environment(config, examples, recipe, features.backbone.weights),
        metrics=dataclasses.replace(run.metrics, threshold=THRESHOLD, temperature=TEMPERATURE),
        predictions=list_predictions(examples, predict_probabilities(features, head), THRESHOLD),
    )
    folder.mkdir()
    save_config(folder, config)
    build_model(features, head).save(run.model_path)
    reference = build_reference(features)
    save(run, dataclasses.replace(details, dataset=describe_dataset(examples), reference=reference))
    write_checksums(folder)
    return folder
