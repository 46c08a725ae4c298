"""`--fine_tune block5`: train VGG16's last block after the head, at a low learning rate, on one device or on many.

The blocks before it stay frozen: their output is computed once, into a temporary file (0.4 MB an image), and an image
costs a quarter of a pass through VGG16 in each epoch. Whatever the number of replicas, the same images make up the same
global batches in the same order, the loss is divided by the global batch, and nothing random is left: images are not
augmented and dropout is off. So the loss curve depends on the replicas only by rounding.

The loop is our own: Keras 3's `model.fit` trains over the devices of one process, but not over several processes
(MultiWorkerMirroredStrategy), where it fails to convert a PerReplica value to a tensor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common import progress
from covid_tfds.common.errors import UsageError
from trainer.features.backbone_features import Backbone, Features
from trainer.features.head_training import predict_probabilities
from trainer.metrics import bootstrap
from trainer.models import vgg16
from trainer.models.head_fitting import DivergedError
from trainer.recipes import Recipe
from trainer.run_folder import caveats
from trainer.run_folder.results import FineTuning
from trainer.validation.assemble import evaluate_test_split
from trainer.validation.validate import Validation

BLOCK, BEFORE, AFTER = "block5", "block4_pool", "block5_pool"
EPOCHS = 10
LEARNING_RATE = 1e-6  # at 1e-5 the training loss of an untrained VGG16 rises a hundredfold before it falls
EVALUATED = 16


@dataclass(frozen=True)
class Tuned:
    """The whole network with its new block, the head's new weights, and one dict of metrics per epoch."""

    backbone: Backbone
    head: list[np.ndarray]
    history: list[dict]


@dataclass(frozen=True)
class FineTunedRun:
    """A run after fine-tuning.

    Attributes:
        features: Of the new backbone.
        history: One dict of metrics per epoch of fine-tuning.
        validation: Of the frozen model, and marked so.
        results: metrics.json's "fine_tuning".
    """

    features: Features
    history: list[dict]
    validation: Validation
    results: FineTuning


def check_recipe(recipe: Recipe) -> None:
    """Raises UsageError if the recipe's head does not read the block that is to be fine-tuned."""
    if recipe.cut != AFTER:
        raise UsageError(
            f"--fine_tune {BLOCK}: the best recipe found reads {recipe.cut}, so that its model has no {BLOCK}. "
            "Leave out --fine_tune, or --tune."
        )


def fine_tune(features: Features, head: keras.Model, strategy: tf.distribute.Strategy) -> Tuned:
    """Trains the block and the head together on the training split.

    Adam at LEARNING_RATE for EPOCHS epochs, cross-entropy, no weight decay.

    Args:
        features: Features of the frozen backbone.
        head: Where the head's training starts.
        strategy: Where to compute.

    Raises:
        DivergedError: If the loss is not finite.
        UsageError: If another process no longer answers.
    """
    try:
        with maps_before(features) as maps:
            return _fine_tune(features, maps, head, strategy)
    except tf.errors.OpError as error:
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise
        reason = str(error.message).strip().splitlines()[0]
        raise UsageError(
            f"Another process of TF_CONFIG no longer answers ({reason}). Start the same command in all of them again."
        ) from error


def _fine_tune(features: Features, maps: np.ndarray, head: keras.Model, strategy: tf.distribute.Strategy) -> Tuned:
    batch, steps = features.recipe.batch_size, -(-len(features.examples.rows("train")) // features.recipe.batch_size)
    frozen = _block_of(features.backbone.network)
    with strategy.scope():
        block, own_head = keras.models.clone_model(frozen), features.build_head()
        block.set_weights(frozen.get_weights())
        for layer in block.layers:
            layer.trainable = True
        own_head.set_weights(head.get_weights())
        network = keras.Model(block.input, own_head(block.output))
        optimizer = keras.optimizers.Adam(LEARNING_RATE)
        optimizer.build(network.trainable_variables)
    batches = strategy.distribute_datasets_from_function(lambda context: _share(features, maps, context))
    step = _compile_step(network, optimizer, strategy, batch)
    history: list[dict[str, float]] = []
    losses: list[float] = []
    with progress.Line(EPOCHS, f"fine-tuning of {BLOCK}", "epoch") as line:
        for inputs in batches:
            losses.append(float(step(*inputs)))
            if not np.isfinite(losses[-1]):
                raise DivergedError(f"The loss of fine-tuning is not finite in epoch {len(history) + 1}.")
            if len(losses) == steps:
                history.append({"loss": float(np.mean(losses)), **_evaluate_epoch(network, features, maps)})
                losses.clear()
                line.advance(note=f"loss {history[-1]['loss']:.4f}")
    return Tuned(_replace_block(features.backbone, block.get_weights()), own_head.get_weights(), history)


@contextlib.contextmanager
def maps_before(features: Features) -> Iterator[np.ndarray]:
    """Gives the feature maps of all images before the block, float32 [n, h, w, c], from a file that ends with it.

    Raises:
        UsageError: If the file can't be written.
    """
    before = dataclasses.replace(features, recipe=dataclasses.replace(features.recipe, cut=BEFORE))
    count = len(features.examples)
    with contextlib.ExitStack() as stack:
        try:
            features.folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.TemporaryFile(dir=features.folder))
            with progress.Line(count, f"output of {BEFORE}", "image") as line:
                for one in before.stream_maps(np.arange(count)):
                    file.write(one.tobytes())
                    line.advance()
            file.flush()
        except OSError as error:
            raise UsageError(
                f"--fine_tune {BLOCK} needs {count * 4 * np.prod(before.map_shape) / 1e9:.1f} GB for a temporary file "
                f"in {features.folder}: {error.strerror}."
            ) from error
        yield np.memmap(file, np.float32, "r", shape=(count, *before.map_shape))


def continue_run(
    features: Features, head: keras.Model, strategy: tf.distribute.Strategy, validation: Validation
) -> FineTunedRun:
    """Fine-tunes the validated head of a run, and sets the head's new weights.

    Args:
        features: Of the frozen backbone.
        head: The head, its temperature applied.
        strategy: Where to compute.
        validation: Of the frozen model.
    """
    probabilities = predict_probabilities(features, head)
    frozen = evaluate_test_split(features.examples, probabilities, validation.operating_point.threshold)
    tuned = fine_tune(features, head, strategy)
    head.set_weights(tuned.head)
    results = FineTuning(
        block=BLOCK,
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        batch_size=features.recipe.batch_size,
        replicas=strategy.num_replicas_in_sync,
        backbone_before=features.backbone.sha256,
        how=caveats.FINE_TUNED,
        frozen_test=frozen,
        largest_weight_change=_largest_change(features.backbone.network, tuned.backbone.network),
    )
    sections = ("cross_validation", "shortcuts", "operating_point", "calibration")
    of_frozen = {name: dataclasses.replace(getattr(validation, name), of="the frozen model") for name in sections}
    return FineTunedRun(
        dataclasses.replace(features, backbone=tuned.backbone),
        tuned.history,
        dataclasses.replace(validation, **of_frozen),
        results,
    )


def _block_of(whole: keras.Model) -> keras.Model:
    """The network's own layers after BEFORE, as a model: float32 [n, 14, 14, 512] -> [n, 7, 7, 512]."""
    return keras.Model(whole.get_layer(BEFORE).output, whole.output)


def _share(features: Features, maps: np.ndarray, context) -> tf.data.Dataset:
    """What one process trains on: its part of every global batch of every epoch, a replica's part at a time.

    As in the head's training, each epoch takes the rows once in a random order and fills its last batch from the front
    of it, so that every batch is whole and every replica's part as large as another's.
    """
    targets, train, batch = features.targets, features.examples.rows("train"), features.recipe.batch_size
    steps = -(-len(train) // batch)
    size = batch // context.num_input_pipelines
    own = slice(context.input_pipeline_id * size, (context.input_pipeline_id + 1) * size)

    def rows() -> Iterator[np.ndarray]:
        for epoch in range(EPOCHS):
            order = np.random.default_rng([features.seed, epoch]).permutation(train)
            yield np.resize(order, steps * batch).reshape(steps, batch)[:, own].ravel()

    def generate():
        for chosen in rows():
            yield from ((maps[row], targets[row]) for row in chosen)

    kinds = (tf.TensorSpec(maps.shape[1:], tf.float32), tf.TensorSpec(targets.shape[1:], tf.float32))
    dataset = tf.data.Dataset.from_generator(generate, output_signature=kinds)
    return dataset.batch(context.get_per_replica_batch_size(batch), drop_remainder=True).prefetch(2)


def _compile_step(network: keras.Model, optimizer, strategy: tf.distribute.Strategy, batch: int):
    """A compiled training step: a global batch's maps and targets, as the strategy hands them out -> its mean loss."""
    # As everywhere here, not binary_crossentropy: head_fitting.py says why.
    cross_entropy = keras.losses.CategoricalCrossentropy(reduction=None)

    def on_replica(maps, targets):
        with tf.GradientTape() as tape:
            losses = cross_entropy(targets, network(maps, training=False))
            loss = tf.nn.compute_average_loss(losses, global_batch_size=batch)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)  # which adds up the replicas' gradients
        return loss

    @tf.function
    def step(maps, targets):
        losses = strategy.run(on_replica, args=(maps, targets))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    return step


def _evaluate_epoch(network: keras.Model, features: Features, maps: np.ndarray) -> dict[str, float]:
    """An epoch's metrics except the training loss, named as in the head's history."""
    metrics = {"learning_rate": LEARNING_RATE}
    examples = features.examples
    is_positive = examples.is_positive
    for prefix, split in (("", "train"), ("val_", "test")):
        rows = examples.rows(split)
        labels, parts = examples.labels[rows], np.array_split(rows, -(-len(rows) // EVALUATED))
        p = np.concatenate([network(maps[part], training=False).numpy() for part in parts])
        scores = p[:, 0].astype(np.float64)
        if split == "test":
            metrics["val_loss"] = float(-np.log(np.maximum(p[np.arange(len(rows)), labels], 1e-7)).mean())
        metrics[f"{prefix}accuracy"] = float(np.mean(p.argmax(-1) == labels))
        metrics[f"{prefix}auroc"] = float(bootstrap.roc_area(is_positive[rows], scores, np.ones((1, len(rows))))[0])
    return metrics


def _replace_block(before: Backbone, weights: list[np.ndarray]) -> Backbone:
    """A copy of the whole frozen network with these weights in the block."""
    whole = keras.models.clone_model(before.network)
    whole.set_weights(before.network.get_weights())
    _block_of(whole).set_weights(weights)
    whole.trainable = False
    return dataclasses.replace(before, network=whole, sha256=vgg16.hash_weights(whole))


def _largest_change(before: keras.Model, after: keras.Model) -> float:
    pairs = zip(before.get_weights(), after.get_weights(), strict=True)
    return max(float(np.abs(new - old).max()) for old, new in pairs)
