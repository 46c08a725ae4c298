"""What the tests share: one seed, and the real radiographs when they are there."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

SEED = 42


@pytest.fixture(autouse=True)
def seed():
    """Seed every generator that a library could draw from; TensorFlow only where a test has imported it."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002  (Keras and scikit-learn draw from it)


@pytest.fixture(scope="session")
def manual_dir() -> Path:
    """The folder with the real radiographs, laid out as covid_tfds/README.md says."""
    given = os.environ.get("COVID_TFDS_MANUAL_DIR")
    if not given:
        pytest.skip("COVID_TFDS_MANUAL_DIR is not set: no real radiographs to test on")
    return Path(given)
