"""Truth and predictions of two classes, from those of the positive class."""

import numpy as np
from scipy.special import log_expit


def truth(is_positive: np.ndarray) -> np.ndarray:
    """Whether each image is of each class, bool [n, 2]."""
    return np.stack([is_positive, ~is_positive], axis=1)


def log_p(log_odds: np.ndarray) -> np.ndarray:
    """Log-probabilities, float [..., 2], from log-odds of the positive class."""
    return np.stack([log_expit(log_odds), log_expit(-log_odds)], axis=-1)
