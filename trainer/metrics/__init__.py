"""Metrics, confidence intervals, calibration, operating point, folds. NumPy, SciPy and scikit-learn only."""
