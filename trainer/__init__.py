"""From a dataset to a run folder: `python -m trainer`."""
