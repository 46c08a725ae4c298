"""The dataset: a TFDS builder for a curated chest X-ray collection. See README.md beside this file."""

from covid_tfds.covid_tfds_dataset_builder import Builder, phantom_config
from covid_tfds.integrity import SourceError

__all__ = ["Builder", "SourceError", "phantom_config"]
