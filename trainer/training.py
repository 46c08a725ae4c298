"""The main job: dataset -> features -> head -> one full model -> run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import atomic, read_json, write_csv, write_json, write_text
from covid_tfds.common.new_folder import clear, new_folder
from covid_tfds.examples import Examples
from trainer import fine_tune, recipes
from trainer.config import Config
from trainer.features import backbone_features, pipelines
from trainer.features.backbone_features import Backbone, Features
from trainer.features.training_set import load_training_set
from trainer.metrics import calibration
from trainer.models import head_fitting, heads, strategies, vgg16
from trainer.models.checkpoints import EpochCheckpoint
from trainer.recipes import Recipe
from trainer.report import dataset_card, page, plots, tensorboard, terminal
from trainer.run_folder import caveats, file_names
from trainer.run_folder.run import default_output
from trainer.tuning import workers
from trainer.validation import grad_cam, validate
from trainer.validation.validate import Judgement

PACKAGES = (
    "covid-tfds",
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "keras-tuner",
    "numpy",
    "scikit-learn",
    "scipy",
    "matplotlib",
    "pillow",
)
# What a run that goes on does not make again.
KEPT = (
    file_names.EPOCHS,
    file_names.TUNER,
    file_names.TUNING_TABLE,
    file_names.TENSORBOARD,
)


def train(config: Config) -> Path:
    """Run the whole job and return the run folder. Prints what people want to see.

    Raises UsageError for what the user can mend.
    """
    output = Path(config.output) if config.output else default_output(config)
    strategy = strategies.strategy(config)
    with new_folder(output, unlisted=file_names.REWRITTEN) as folder:
        clear(folder, KEPT)
        examples, backbone = _prepare(config)
        write_text(folder / file_names.CONFIG, config.to_json() + "\n")
        for note in caveats.of(config, examples):
            print(note)
        recipe = _recipe(folder, config, examples, backbone)
        if config.fine_tune:
            fine_tune.check(recipe)
        cached = Features(examples, backbone, recipe, config.seed, backbone_features.default_folder())
        with pipelines.naming_undecodable(examples):
            head, history, judged = _fit_frozen(folder, config, cached)
        p_covid = _p_covid(cached, head)
        if config.fine_tune:
            cached, more, judged = fine_tune.go_on(cached, head, strategy, judged, p_covid)
            history, p_covid = history + more, _p_covid(cached, head)
        _write(folder, config, cached, head, history, p_covid, judged)
        _report(folder, cached, head, history, p_covid)
        (folder / file_names.EPOCHS).unlink(missing_ok=True)
    result = read_json(output / file_names.METRICS)
    print(terminal.describe(examples, p_covid, result))
    print(*caveats.of(config, examples), sep="\n")
    if config.precision != "float32":
        change = read_json(output / file_names.ENVIRONMENT)["precision"]["largest_probability_change"]
        print(
            f"{config.precision} features: against float32 a test image's probability changes by {change:.1g} at most"
        )
    print(
        f"Run folder: {output}\nPicture to open: {output / file_names.PLOT}\n"
        f"Report to open: {output / file_names.REPORT}"
    )
    return output


def help_tune(config: Config) -> None:
    """Run trials of another process's `--tune` until it has no more; see `search.work`."""
    from trainer.tuning import search
    from trainer.tuning.trials import Problem

    folder = workers.wait_for_chief(Path(config.output))
    search.work(folder, config, Problem.of(config, *_prepare(config)))


def help_fine_tune(config: Config) -> None:
    """Lend this process's device to the fine-tuning of the first worker of TF_CONFIG, which alone writes a run."""
    strategy = strategies.strategy(config)
    examples, backbone = _prepare(config)
    with tempfile.TemporaryDirectory() as folder:
        recipe = _recipe(Path(folder), config, examples, backbone)
        cached = Features(examples, backbone, recipe, config.seed, backbone_features.default_folder())
        head, _, _ = _fit_frozen(Path(folder), config, cached)
    fine_tune.fine_tune(cached, head, strategy)
    print("Fine-tuning is done; the first worker writes the run.")


def _fit_frozen(folder: Path, config: Config, cached: Features) -> tuple[keras.Model, list[dict], Judgement]:
    """The head over the frozen backbone, its temperature folded in; its history; and what it is worth."""
    with tensorboard.profiled(folder, config.profile), _last_good_kept(folder, cached):
        if config.recipe == "tutorial":
            head, history = _fit_tutorial(cached, folder / file_names.EPOCHS, environment(config, cached))
        else:
            head, history = _fit_on_features(cached)
    judged = validate.judge(cached, config)
    head.set_weights(calibration.folded_in(head.get_weights(), judged.temperature))
    return head, history, judged


@contextlib.contextmanager
def _last_good_kept(folder: Path, cached: Features) -> Iterator[None]:
    """When the loss stops being finite in the block, write the model of the epoch before and say where it is."""
    try:
        yield
    except head_fitting.DivergedError as error:
        if error.weights is None:
            raise
        head = cached.build_head()
        head.set_weights(error.weights[0])
        path = folder / file_names.LAST_GOOD
        with atomic(path) as temporary:
            build(cached, head).save(temporary)
        raise UsageError(f"{error} The model as it was an epoch earlier is kept in {path}.") from error


def _p_covid(cached: Features, head: keras.Model) -> np.ndarray:
    """The model's probability of covid for every image, float64 [n]."""
    return heads.predict_positive(head.get_weights(), cached.pooled(np.arange(len(cached.examples)), 1)[:, 0])


def _prepare(config: Config) -> tuple[Examples, Backbone]:
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    backbone = Backbone.load(config.weights, config.seed, config.precision)
    return load_training_set(config), backbone


def _recipe(folder: Path, config: Config, examples: Examples, backbone: Backbone) -> Recipe:
    """The recipe that the flags name or, with --tune, the best one found."""
    if config.tune:
        from trainer.tuning import search  # imported late: KerasTuner takes a second
        from trainer.tuning.trials import Problem

        return search.search(folder, config, Problem.of(config, examples, backbone)).best.recipe
    if (folder / file_names.TUNER).exists():
        raise UsageError(f"{folder} holds an unfinished search: add --tune to go on with it, or remove it.")
    return recipes.named(
        config.recipe, epochs=config.epochs, batch_size=config.batch_size, learning_rate=config.learning_rate
    )


def _fit_on_features(cached: Features) -> tuple[keras.Model, list[dict]]:
    """Train the head on features computed once."""
    examples, recipe = cached.examples, cached.recipe
    # The test split's augmented copies, too: the cross-validation asks for them next, and one pass over all is quicker.
    pooled = cached.pooled(np.arange(len(examples)), recipe.variants)
    fold = head_fitting.Fold(examples.rows("train"), examples.rows("test"))
    fitted = head_fitting.fit_heads(recipe, pooled, cached.targets, [fold], cached.seed)
    head = cached.build_head()
    head.set_weights(fitted.weights[0])
    return head, [{name: float(value[0]) for name, value in entry.items()} for entry in fitted.history]


def _fit_tutorial(cached: Features, path: Path, about: dict) -> tuple[keras.Model, list[dict]]:
    """Train the head the tutorial's way: every epoch rotates each image anew and runs it through the whole network.

    path, about: where its epochs are kept, and what they are of; see `EpochCheckpoint`.
    """
    examples, recipe = cached.examples, cached.recipe
    train, test = examples.rows("train"), examples.rows("test")
    head = cached.build_head()
    network = build(cached, head)
    steps = -(-len(train) // recipe.batch_size)
    optimizer = keras.optimizers.Adam(head_fitting.learning_rate_schedule(recipe, steps))
    classes = len(examples.class_names)
    only_positive = [1.0] + [0.0] * (classes - 1)
    auroc = keras.metrics.AUC(name="auroc", multi_label=True, num_labels=classes, label_weights=only_positive)
    # The tutorial says binary_crossentropy; on softmax outputs that was this loss (see head_fitting.py).
    network.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy", auroc])
    optimizer.build(network.trainable_variables)
    epochs = EpochCheckpoint(path, about, head, optimizer, recipe)
    images = pipelines.train_pipeline(examples, train, recipe.augmentation, recipe.batch_size, cached.seed)
    done = epochs.restore(images)
    targets = tf.data.Dataset.from_tensor_slices(cached.targets[test]).batch(recipe.batch_size)
    validation = tf.data.Dataset.zip(pipelines.eval_pipeline(examples, test, recipe.batch_size), targets)
    network.fit(
        images,
        validation_data=validation.cache(),
        initial_epoch=done,
        epochs=recipe.epochs,
        shuffle=False,  # the pipeline shuffles
        verbose=2,
        callbacks=[epochs],
    )
    return head, epochs.history


def build(cached: Features, head: keras.Model) -> keras.Model:
    """The full model of a run: preprocessing layers, frozen backbone, head."""
    backbone = vgg16.cut_backbone(cached.backbone.network, cached.recipe.cut)
    return vgg16.assemble_model(vgg16.build_preprocessing(cached.recipe.scaling), backbone, head)


def _write(
    folder: Path,
    config: Config,
    cached: Features,
    head: keras.Model,
    history: list[dict],
    p_covid: np.ndarray,
    judged: Judgement,
) -> None:
    examples = cached.examples
    write_text(folder / file_names.CONFIG, config.to_json() + "\n")
    about = environment(config, cached) | {"precision": precision(cached, head, p_covid)}
    write_json(folder / file_names.ENVIRONMENT, about)
    columns = ("epoch", *history[0])
    write_csv(folder / file_names.HISTORY, columns, [{"epoch": i + 1, **h} for i, h in enumerate(history)])
    rows = terminal.prediction_rows(examples, p_covid)
    write_csv(folder / file_names.PREDICTIONS, file_names.PREDICTION_COLUMNS, rows)
    write_json(folder / file_names.METRICS, terminal.evaluate(examples, p_covid, judged))
    write_csv(folder / file_names.OUT_OF_FOLD, file_names.OUT_OF_FOLD_COLUMNS, judged.out_of_fold)
    how = "tuned" if config.tune else config.recipe
    title = f"{examples.name}, {how} recipe, {config.weights_name} weights"
    if config.fine_tune:
        title += f", {config.fine_tune} fine-tuned in the last {fine_tune.EPOCHS} epochs"
    plots.training_curves(folder / file_names.PLOT, history, title)
    with atomic(folder / file_names.MODEL) as temporary:
        build(cached, head).save(temporary)


def _report(folder: Path, cached: Features, head: keras.Model, history: list[dict], p_covid: np.ndarray) -> None:
    """What people read: made last, from the files that are in the folder by now."""
    threshold = read_json(folder / file_names.METRICS)["threshold"]
    write_json(folder / file_names.DATASET, dataset_card.describe(cached.examples))
    grad_cam.write(folder, cached, head, p_covid, threshold)
    tensorboard.write_run(folder, cached, build(cached, head), history, p_covid, threshold)
    page.write(folder)


def precision(cached: Features, head: keras.Model, p_covid: np.ndarray) -> dict:
    """What the features were computed in, and what that did: the largest change of a test image's probability."""
    used = cached.backbone.precision
    if used == "float32":
        return {"name": used, "largest_probability_change": 0.0}
    test = cached.examples.rows("test")
    exact = dataclasses.replace(cached, backbone=dataclasses.replace(cached.backbone, precision="float32"))
    change = heads.predict_positive(head.get_weights(), exact.pooled(test, 1)[:, 0]) - p_covid[test]
    return {"name": used, "largest_probability_change": float(np.abs(change).max())}


def environment(config: Config, cached: Features) -> dict:
    """environment.json: what the run's figures depend on besides its flags."""
    examples, recipe = cached.examples, cached.recipe
    about = {
        "schema": file_names.SCHEMA,
        "seed": config.seed,
        "recipe": dataclasses.asdict(recipe),
        "weights": {
            "name": config.weights_name,
            "sha256": cached.backbone.sha256,
            "trained": config.weights != "random",
        },
        "dataset": {
            "name": examples.name,
            "version": examples.version,
            "fingerprint": examples.fingerprint,
            "class_names": list(examples.class_names),
            "patient_grouped": examples.patients_known,
        },
        "notes": caveats.of(config, examples),
    }
    run_id = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return {**about, "run_id": run_id, "versions": versions, "platform": platform.platform()}
