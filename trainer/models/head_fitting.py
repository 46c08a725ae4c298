"""Train heads on backbone features: any number of them at once, one for each fold, in one compiled Keras function.

A head's arithmetic takes milliseconds; `model.fit` adds seconds of overhead. Here K heads of one shape are stacked
into one Keras model (`EinsumDense` with a fold axis) whose per-sample losses add up, so that each head gets its own
gradients only, and an epoch is one call of a `tf.function`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from covid_tfds.common.errors import UsageError
from trainer.metrics import bootstrap
from trainer.models import heads
from trainer.recipes import Recipe

VARIANCE_FLOOR = 1e-2


class DivergedError(UsageError):
    """The loss is no longer finite: these hyperparameters don't train, whatever the data.

    Attributes:
        weights: Each fold's, as `FittedHeads` has them, after the last epoch with a finite loss; None if there is none.
    """

    def __init__(self, message: str, weights: list[list[np.ndarray]] | None = None):
        super().__init__(message)
        self.weights = weights


@dataclass(frozen=True)
class Fold:
    """Rows (indices into the features) that a head is trained on, and rows that it is evaluated on."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class FittedHeads:
    """Trained heads.

    Attributes:
        weights: For each fold the weights of `heads.build_head`, float64, for features that are not standardized.
        history: One dict per epoch, each value float [folds]: loss, accuracy and auroc over the epoch's batches
            (dropout on), val_loss, val_accuracy and val_auroc of the test rows, and the learning_rate of the last step.
            An AUROC is NaN where only one class is present.
    """

    weights: list[list[np.ndarray]]
    history: list[dict]


def fit_heads(
    recipe: Recipe,
    features: np.ndarray,
    targets: np.ndarray,
    folds: list[Fold],
    seed: int,
    on_epoch: Callable[[int, dict], None] | None = None,
) -> FittedHeads:
    """Trains one head for each fold.

    Args:
        recipe: What is trained and how.
        features: float32 [n, variants, d], pooled; variant 0 is the unaugmented image.
        targets: float32 [n, classes], one-hot; column 0 is the positive class.
        folds: Training and test rows of each head.
        seed: Of the first head's weights (the next one has seed + 1), of dropout and of the order of the images.
        on_epoch: Called with the epoch (from 0) and its history entry.

    Raises:
        DivergedError: When the loss or a weight is not finite; names the epoch and the likely cause.
        UsageError: When the batch size is larger than a fold's training part.
    """
    count, width, classes = len(folds), features.shape[-1], targets.shape[-1]
    if recipe.batch_size > min(len(fold.train) for fold in folds):
        raise UsageError(f"Batch size {recipe.batch_size} is larger than a fold's training part.")
    initial = [heads.draw_initial_weights(recipe, width, classes, seed + index) for index in range(count)]
    stack = _stack(recipe, initial, seed)
    mean, scale = _standardization(recipe, features, folds)
    weights = _weigh_classes(recipe, targets, folds)
    steps = -(-max(len(fold.train) for fold in folds) // recipe.batch_size)
    optimizer = keras.optimizers.Adam(learning_rate_schedule(recipe, steps))
    optimizer.build(stack.trainable_variables)
    train_epoch, evaluate = _compile(stack, optimizer, features, targets, mean, scale, weights)
    is_positive = targets[:, 0] == 1
    longest = max(len(fold.test) for fold in folds)
    # The shorter test parts are filled up with their own rows, which get no weight.
    padded = np.stack([np.resize(fold.test, longest) for fold in folds], axis=1).astype(np.int32)
    counts = np.stack([np.arange(longest) < len(fold.test) for fold in folds], axis=1)
    history: list[dict] = []
    finite: list[np.ndarray] = []
    for epoch in range(recipe.epochs):
        rows, variants = _draw_batches(recipe, folds, steps, seed, epoch)
        loss, accuracy, drawn_p = (tensor.numpy() for tensor in train_epoch(rows, variants))
        log_loss, hit, held_out_p = (tensor.numpy() for tensor in evaluate(padded))
        arrays = [variable.numpy() for variable in stack.trainable_variables]
        if not all(np.isfinite(array).all() for array in (loss, *arrays)):
            features_are_finite = all(np.isfinite(features[fold.train]).all() for fold in folds)
            message = describe_divergence(epoch, recipe, features_are_finite)
            raise DivergedError(message, _unstack(finite, mean, scale, weights) if finite else None)
        finite = arrays
        entry = {
            "loss": loss,
            "accuracy": accuracy,
            "auroc": _aurocs(is_positive[rows.reshape(-1, count)], drawn_p.reshape(-1, count)),
            "val_loss": (log_loss * counts).sum(0) / counts.sum(0),
            "val_accuracy": (hit * counts).sum(0) / counts.sum(0),
            "val_auroc": _aurocs(is_positive[padded], held_out_p, counts),
            "learning_rate": np.full(count, float(optimizer.learning_rate)),
        }
        history.append(entry)
        if on_epoch is not None:
            on_epoch(epoch, entry)
    return FittedHeads(_unstack(finite, mean, scale, weights), history)


def describe_divergence(epoch: int, recipe: Recipe, features_are_finite: bool = True) -> str:
    """Returns the message for a loss that is not finite in an epoch (from 0): which epoch, and the likely cause."""
    cause = f"the learning rate {recipe.learning_rate:g} is probably too high. Try a tenth of it."
    if not features_are_finite:
        cause = "the backbone's features are NaN or infinite. Give other --weights, or leave out --precision."
    return f"The loss is not finite in epoch {epoch + 1} of {recipe.epochs}: {cause}"


def learning_rate_schedule(recipe: Recipe, steps: int):
    """Returns the learning rate or its schedule; inverse_time is rate / (1 + step * rate / epochs)."""
    rate, total = recipe.learning_rate, recipe.epochs * steps
    if recipe.decay == "inverse_time":
        return keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=rate / recipe.epochs)
    if recipe.decay == "cosine":
        return keras.optimizers.schedules.CosineDecay(rate, decay_steps=total)
    return rate


def _aurocs(is_positive: np.ndarray, scores: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """AUROC of each column, float64 [folds]. All arguments [n, folds]; counts: which cells count, None for all."""
    counts = np.ones(scores.shape) if counts is None else counts
    columns = zip(is_positive.T, scores.T, counts.T, strict=True)
    with np.errstate(invalid="ignore"):
        return np.asarray([bootstrap.roc_area(truth, score, count[None])[0] for truth, score, count in columns])


def _stack(recipe: Recipe, initial: list[list[np.ndarray]], seed: int) -> keras.Model:
    """Classifiers of these weights side by side: float [batch, folds, d] -> probabilities [batch, folds, classes]."""
    count, width, classes = len(initial), len(initial[0][0]), len(initial[0][-1])
    penalty = keras.regularizers.L2(recipe.l2) if recipe.l2 else None

    def dense(units: int, activation: str) -> keras.Layer:
        return keras.layers.EinsumDense(
            "bki,kio->bko", (count, units), activation=activation, bias_axes="ko", kernel_regularizer=penalty
        )

    x = inputs = keras.Input((count, width))
    for index in range(recipe.depth):
        x = dense(recipe.units, "relu")(x)
        x = keras.layers.Dropout(recipe.dropout, seed=seed + index)(x)
    stack = keras.Model(inputs, dense(classes, "softmax")(x))
    stack.set_weights([np.stack(arrays) for arrays in zip(*initial, strict=True)])
    return stack


def _unstack(
    stacked: list[np.ndarray], mean: np.ndarray, scale: np.ndarray, class_weights: np.ndarray
) -> list[list[np.ndarray]]:
    """Each fold's weights, with its standardization folded into the first dense layer: (x - m) s W + b.

    A head that was trained with class weights w gives probabilities in proportion to w_c p_c: subtracting log w_c from
    the last bias gives p_c again (Elkan 2001, The foundations of cost-sensitive learning).
    """
    arrays = [array.astype(np.float64) for array in stacked]
    kernel = arrays[0] * scale[:, :, None]
    arrays[1] = arrays[1] - np.einsum("ki,kio->ko", mean, kernel)
    arrays[0] = kernel
    arrays[-1] = arrays[-1] - np.log(class_weights)
    return [[array[fold] for array in arrays] for fold in range(len(mean))]


def _standardization(recipe: Recipe, features: np.ndarray, folds: list[Fold]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and 1 / standard deviation of each fold's training features, float64 [folds, d]; 0 and 1 when unused."""
    shape = (len(folds), features.shape[-1])
    if not recipe.standardize:
        return np.zeros(shape), np.ones(shape)
    used = features[:, recipe.training_variants]
    with np.errstate(invalid="ignore"):  # infinite features: the loss is not finite, and that is reported
        mean = np.stack([used[fold.train].mean((0, 1), dtype=np.float64) for fold in folds])
        variance = np.stack([used[fold.train].var((0, 1), dtype=np.float64) for fold in folds])
    # Without a floor, a feature that is almost constant in training would be scaled to huge values elsewhere.
    floor = np.maximum(VARIANCE_FLOOR * variance.mean(1, keepdims=True), np.finfo(np.float32).tiny)
    return mean, 1 / np.sqrt(np.maximum(variance, floor))


def _weigh_classes(recipe: Recipe, targets: np.ndarray, folds: list[Fold]) -> np.ndarray:
    """The weight of each class in each fold's loss, float64 [folds, classes]; their mean over the images is 1."""
    counts = np.stack([targets[fold.train].sum(0, dtype=np.float64) for fold in folds])
    if not recipe.class_weights:
        return np.ones(counts.shape)
    return counts.sum(1, keepdims=True) / (counts.shape[1] * np.maximum(counts, 1))


def _draw_batches(
    recipe: Recipe, folds: list[Fold], steps: int, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows and variants of an epoch's batches: two int32 [steps, batch, folds].

    Each fold's training rows come once, in random order; the last batch is filled up from the front of that order.
    """
    size = steps * recipe.batch_size
    rows = np.empty((size, len(folds)), dtype=np.int32)
    variants = np.empty_like(rows)
    choice = np.asarray(recipe.training_variants)
    for index, fold in enumerate(folds):
        random = np.random.default_rng([seed, epoch, index])
        rows[:, index] = np.resize(random.permutation(fold.train), size)
        variants[:, index] = random.choice(choice, size)
    shape = (steps, recipe.batch_size, len(folds))
    return rows.reshape(shape), variants.reshape(shape)


def _compile(stack, optimizer, features, targets, mean, scale, class_weights):
    """Two compiled functions: an epoch's training steps over drawn rows, and an evaluation of rows [n, folds]."""
    features, targets = tf.constant(features), tf.constant(targets)
    mean, scale = tf.constant(mean, tf.float32), tf.constant(scale, tf.float32)
    class_weights = tf.constant(class_weights, tf.float32)
    # Equal to the tutorial's binary cross-entropy on one-hot labels. Keras 3 computes that one from a softmax's logits
    # as if they were a sigmoid's, which is another loss.
    cross_entropy = keras.losses.CategoricalCrossentropy(reduction=None)

    def predict(rows, variants, training):
        inputs = (tf.gather_nd(features, tf.stack([rows, variants], -1)) - mean) * scale
        wanted = tf.gather(targets, rows)
        probabilities = stack(inputs, training=training)
        hit = tf.cast(tf.argmax(probabilities, -1) == tf.argmax(wanted, -1), tf.float32)
        return cross_entropy(wanted, probabilities), hit, probabilities[..., 0]

    # AutoGraph is for the loop over steps alone: it would take longer to rewrite Keras than the heads take to train.
    @tf.autograph.experimental.do_not_convert
    def step(rows, variants):
        with tf.GradientTape() as tape:
            losses, hit, p_positive = predict(rows, variants, True)
            weights = tf.einsum("bkc,kc->bk", tf.gather(targets, rows), class_weights)
            loss = tf.reduce_mean(losses * weights, 0)
            objective = tf.reduce_sum(loss) + (tf.add_n(stack.losses) if stack.losses else 0.0)
        variables = stack.trainable_variables
        optimizer.apply(tape.gradient(objective, variables), variables)
        return loss, tf.reduce_mean(hit, 0), p_positive

    @tf.function(reduce_retracing=True)
    def train_epoch(rows, variants):
        steps = tf.shape(rows)[0]
        total_loss = total_hit = tf.zeros(mean.shape[0])
        all_p_positive = tf.TensorArray(tf.float32, steps)
        for index in tf.range(steps):
            loss, hit, p_positive = step(rows[index], variants[index])
            total_loss += loss
            total_hit += hit
            all_p_positive = all_p_positive.write(index, p_positive)
        count = tf.cast(steps, tf.float32)
        return total_loss / count, total_hit / count, all_p_positive.stack()

    @tf.function(reduce_retracing=True, autograph=False)
    def evaluate(rows):
        return predict(rows, tf.zeros_like(rows), False)

    return train_epoch, evaluate
