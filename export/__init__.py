"""From a run folder to what other programs run: `python -m export`."""

from covid_tfds import __version__ as __version__
