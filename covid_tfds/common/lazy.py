"""Names of a package that are imported when they are first used (PEP 562), so that the package itself imports fast."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from covid_tfds.common import logs


def import_on_use(package: str, module_of: dict[str, str]) -> Callable[[str], Any]:
    """Returns a `__getattr__` for the `__init__` of a package.

    Args:
        package: Name of the package.
        module_of: Module that holds each public name.

    Example:
        >>> get = import_on_use("maths", {"sqrt": "math"})
        >>> get("sqrt")(9)
        3.0
        >>> get("cube")
        Traceback (most recent call last):
        AttributeError: module 'maths' has no attribute 'cube'
    """

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with logs.silenced():
            return getattr(importlib.import_module(module_of[name]), name)

    return get
