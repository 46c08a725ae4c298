"""Recipes: what is trained and how. The tutorial's, the default and every point of the search space are a `Recipe`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from trainer.config import Config

POOLINGS = ("corner", "average", "max", "average_and_max")
SCALINGS = ("unit", "caffe")
CUTS = ("block4_pool", "block5_pool")
# Augmented copies are two of three forward passes. They enlarge a small training set; a large one needs them less.
MOST_AUGMENTED = 2_000
SMALLEST_BATCH, LARGEST_BATCH = 8, 128  # of the default; both and all between are powers of two
DECAYS = ("inverse_time", "cosine", "constant")


@dataclass(frozen=True)
class Augmentation:
    """Random changes to a training image, as Keras preprocessing layers draw them.

    Attributes:
        rotation: Degrees either way.
        translation: Fraction of the side either way.
        zoom: Fraction of the side either way.
        contrast: Factor either way.
    """

    rotation: float = 0.0
    translation: float = 0.0
    zoom: float = 0.0
    contrast: float = 0.0

    def __bool__(self) -> bool:
        return any(dataclasses.astuple(self))


# Those of the search. Few and fixed, because each costs a forward pass of every training image and variant, for each
# scaling.
AUGMENTATIONS = {
    "none": Augmentation(),
    "rotation_5": Augmentation(rotation=5.0),
    "rotation_15": Augmentation(rotation=15.0),
    "rotation_30": Augmentation(rotation=30.0),
    "shift_and_zoom": Augmentation(rotation=5.0, translation=0.05, zoom=0.1),
    "contrast": Augmentation(rotation=5.0, contrast=0.2),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained head, apart from the images, the backbone's weights and the seed.

    Attributes:
        scaling: Input of the backbone: "unit" is [0, 1] RGB; "caffe" is mean-subtracted BGR, as VGG16's ImageNet
            weights expect.
        cut: The VGG16 layer whose feature map the head reads: block5_pool (7 x 7) or block4_pool (14 x 14).
        pooling: "corner" is the tutorial's AveragePooling2D(4, 4), whose windows leave out the map's last rows and
            columns (on 7 x 7 it reads the upper-left 4 x 4 cells only); the others read the whole map.
        standardize: Train on features scaled to zero mean and unit variance of the training images. The scaling is
            folded into the first dense layer afterwards.
        depth: Number of hidden layers.
        units: Units of each hidden layer.
        dropout: Fraction of a hidden layer's outputs set to zero in training.
        l2: Weight of the L2 penalty on kernels.
        learning_rate: Adam's, at the first step.
        decay: Schedule of the learning rate, one of DECAYS.
        epochs: Passes over the training images.
        batch_size: Images in a training step.
        augmentation: Random changes to the training images.
        copies: Augmented copies made of each training image; an epoch uses one variant of each image.
        keep_original: Whether the unaugmented image is one of the variants.
        class_weights: Whether an image's loss is weighted by n / (k n_c), with n_c of n training images in its class
            and k classes. The last layer's bias is corrected for it afterwards, so that probabilities are those of
            the real shares.
    """

    scaling: str = "caffe"
    cut: str = "block5_pool"
    pooling: str = "average"
    standardize: bool = True
    depth: int = 1
    units: int = 64
    dropout: float = 0.5
    l2: float = 1e-3
    learning_rate: float = 1e-3
    decay: str = "inverse_time"
    epochs: int = 25
    batch_size: int = 8
    augmentation: Augmentation = Augmentation(rotation=15.0)
    copies: int = 2
    keep_original: bool = True
    class_weights: bool = False

    @property
    def variants(self) -> int:
        """Number of variants of an image whose features are needed: the original, always, and the copies."""
        return 1 + (self.copies if self.augmentation else 0)

    @property
    def training_variants(self) -> range:
        """Indices of the variants that training draws from; 0 is the original.

        Example:
            >>> list(TUTORIAL.training_variants), list(DEFAULT.training_variants)
            ([1, 2], [0, 1, 2])
        """
        return range(0 if self.keep_original or self.variants == 1 else 1, self.variants)


TUTORIAL = Recipe(
    scaling="unit",
    pooling="corner",
    standardize=False,
    l2=0.0,
    keep_original=False,
)
DEFAULT = Recipe()


def choose_batch_size(training_images: int) -> int:
    """Returns the default batch size: a hundredth of the training images, as a power of two from 8 to 128.

    Example:
        >>> [choose_batch_size(images) for images in (40, 1_599, 1_600, 5_000, 17_000)]
        [8, 8, 16, 32, 128]
    """
    hundredth = max(training_images // 100, SMALLEST_BATCH)
    return min(1 << (hundredth.bit_length() - 1), LARGEST_BATCH)


def choose_recipe(config: Config, training_images: int) -> Recipe:
    """Returns the recipe that a config names, with the config's numbers.

    The default recipe augments up to MOST_AUGMENTED training images only.

    Args:
        config: Names the recipe, "default" or "tutorial". Without a batch size `choose_batch_size` gives it.
        training_images: Number of images in the training split.

    Example:
        >>> small, large = choose_recipe(Config(), 40), choose_recipe(Config(), 17_000)
        >>> (small.variants, small.batch_size), (large.variants, large.batch_size)
        ((3, 8), (1, 128))
    """
    recipe = {"default": DEFAULT, "tutorial": TUTORIAL}[config.recipe]
    if recipe is DEFAULT and training_images > MOST_AUGMENTED:
        recipe = dataclasses.replace(recipe, augmentation=AUGMENTATIONS["none"])
    return dataclasses.replace(
        recipe,
        epochs=config.epochs,
        batch_size=config.batch_size or choose_batch_size(training_images),
        learning_rate=config.learning_rate,
        class_weights=config.class_weights,
    )
