"""A TFDS dataset of chest radiographs with and without COVID-19. See README.md beside this file.

`import covid_tfds` registers the builder with TFDS, as TFDS's own convention has it, but does not import TFDS, which
takes two seconds and which `export.runtime` must not need: TFDS's import, now or later, imports the builder.

Example:
    >>> import covid_tfds
    >>> covid_tfds.phantom_config(200).name
    'phantom_200'
"""

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import TYPE_CHECKING, Any

from covid_tfds.common.errors import SourceError
from covid_tfds.common.lazy import import_on_use

if TYPE_CHECKING:
    from covid_tfds.audit.report import audit_examples
    from covid_tfds.covid_tfds_dataset_builder import Builder, phantom_config
    from covid_tfds.datasets import load_examples
    from covid_tfds.examples import DatasetRequest

__all__ = [
    "Builder",
    "DatasetRequest",
    "SourceError",
    "__version__",
    "audit_examples",
    "load_examples",
    "phantom_config",
]

try:
    __version__ = version("covid-tfds")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

_BUILDER_MODULE = "covid_tfds.covid_tfds_dataset_builder"
_MODULES = {
    "audit_examples": "covid_tfds.audit.report",
    "Builder": _BUILDER_MODULE,
    "phantom_config": _BUILDER_MODULE,
    "load_examples": "covid_tfds.datasets",
    "DatasetRequest": "covid_tfds.examples",
}
_import_name = import_on_use(__name__, _MODULES)
_failure: Exception | None = None


def _import_builder(_: ModuleType) -> None:
    """Import the builder module, which registers the builder.

    Only `import_module`: TFDS may be imported in the middle of that module, when its names do not exist yet.
    """
    global _failure
    try:
        importlib.import_module(_BUILDER_MODULE)
    except Exception as error:  # raised when `Builder` is used: it must not break other people's import of TFDS
        _failure = error


if importlib.util.find_spec("tensorflow_datasets"):
    import wrapt

    wrapt.when_imported("tensorflow_datasets")(_import_builder)


def __getattr__(name: str) -> Any:
    if _failure is not None and _MODULES.get(name) == _BUILDER_MODULE:
        raise _failure
    return _import_name(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
