"""From a dataset to a run folder: `python -m trainer`, or in a notebook:

Example:
    >>> import covid_tfds, trainer
    >>> config = trainer.Config(data=covid_tfds.DatasetRequest(config="phantom"), weights="random")
    >>> run = trainer.train(config)  # doctest: +SKIP
    >>> run.metrics.test.auroc.value  # doctest: +SKIP
    1.0
"""

from typing import TYPE_CHECKING

from covid_tfds import __version__ as __version__
from covid_tfds.common.lazy import import_on_use

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.run_folder.run import Run, load
    from trainer.training import train

__all__ = ["Config", "Run", "__version__", "load", "train"]
_MODULES = {
    "Config": "trainer.config",
    "Run": "trainer.run_folder.run",
    "load": "trainer.run_folder.run",
    "train": "trainer.training",
}
__getattr__ = import_on_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
