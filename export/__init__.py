"""From a run folder to what other programs run: `python -m export`, or in a notebook:

Example:
    >>> import export
    >>> report = export.export_run("runs/demo", "exported", int8=False)  # doctest: +SKIP
    >>> export.Predictor("exported/model.onnx").predict_file("image.png")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING

from covid_tfds import __version__ as __version__
from covid_tfds.common.lazy import import_on_use

if TYPE_CHECKING:
    from covid_tfds.imaging.overlay import draw_overlay
    from export.exporting import export_run
    from export.runtime.predictor import Predictor

__all__ = ["Predictor", "__version__", "draw_overlay", "export_run"]
_MODULES = {
    "Predictor": "export.runtime.predictor",
    "draw_overlay": "covid_tfds.imaging.overlay",
    "export_run": "export.exporting",
}
__getattr__ = import_on_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
