"""From a dataset to a run folder: `python -m trainer`."""

from covid_tfds import __version__ as __version__
