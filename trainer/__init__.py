"""From a dataset to a run folder: `python -m trainer`, or in a notebook:

Example:
    >>> import covid_tfds, trainer
    >>> request = covid_tfds.DatasetRequest(config="phantom")
    >>> run = trainer.train(trainer.Config(data=request, weights="random", output="first"))  # doctest: +SKIP
    Dataset covid_tfds/phantom: 50 images
    ...
    >>> run = trainer.load("first")  # doctest: +SKIP
    >>> round(run.metrics.test.auroc.value, 2), run.metrics.shortcuts.verdict  # doctest: +SKIP
    (0.96, 'not detected')
    >>> run.plot("roc").paths[0].name, run.report.paths[0].name  # shown by a notebook  # doctest: +SKIP
    ('roc.svg', 'report.html')
    >>> trainer.predict(run, covid_tfds.load_examples(request)).shape  # doctest: +SKIP
    (50, 2)
"""

from typing import TYPE_CHECKING

from covid_tfds import __version__ as __version__
from covid_tfds.common.lazy import import_on_use

if TYPE_CHECKING:
    from trainer.config import Config
    from trainer.run_folder.run import Run, load
    from trainer.training import train
    from trainer.validation.external import predict

__all__ = ["Config", "Run", "__version__", "load", "predict", "train"]
_MODULES = {
    "Config": "trainer.config",
    "Run": "trainer.run_folder.run",
    "load": "trainer.run_folder.run",
    "predict": "trainer.validation.external",
    "train": "trainer.training",
}
__getattr__ = import_on_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
