"""Command line flags from the fields of a dataclass: one flag a field, with the field's default and help text.

Example:
    >>> import argparse
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Wanted:
    ...     epochs: int = flag(25, "passes over the training images")
    >>> parser = argparse.ArgumentParser()
    >>> add_flags(parser, Wanted)
    >>> from_namespace(Wanted, parser.parse_args(["--epochs", "3"]))
    Wanted(epochs=3)
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from collections.abc import Collection
from typing import Any, TypeVar

T = TypeVar("T")


def flag(default: Any, help_text: str, **options: Any) -> Any:
    """Returns a dataclass field that is a command line flag.

    Args:
        default: The field's default: False for a switch, None for a flag without a default.
        help_text: What the field means, shown by --help.
        **options: More for argparse: choices, metavar, and the type where the default is None and it is not str.
    """
    return dataclasses.field(default=default, metadata={"help": help_text, **options})


def add_flags(parser: argparse._ActionsContainer, config_class: type, names: Collection[str] | None = None) -> None:
    """Adds one flag for each field of a dataclass that `flag` made.

    Args:
        parser: A parser or a group of it.
        config_class: The dataclass.
        names: The fields to take; None for all.
    """
    for field in dataclasses.fields(config_class):
        if "help" in field.metadata and (names is None or field.name in names):
            add_flag(parser, field)


def add_flag(parser: argparse._ActionsContainer, field: dataclasses.Field, **changes: Any) -> None:
    """Adds the flag of one field.

    Args:
        parser: A parser or a group of it.
        field: A field of a dataclass, made by `flag`.
        **changes: argparse options in place of the field's own.
    """
    options = {"default": field.default, **field.metadata}
    if isinstance(field.default, bool):
        options["action"] = "store_true"
    else:
        options.setdefault("type", str if field.default is None else type(field.default))
        if "choices" not in options:
            options.setdefault("metavar", {int: "N", float: "X"}.get(options["type"], field.name.upper()))
    if field.default is None or field.default is False:
        options["default"] = argparse.SUPPRESS  # else --help would show "(default: None)"
    parser.add_argument(f"--{field.name}", **options | changes)


def from_namespace(config_class: type[T], parsed: argparse.Namespace) -> T:
    """Returns the dataclass that argparse's values make; values of other flags are left out."""
    fields = inspect.signature(config_class).parameters
    return config_class(**{name: value for name, value in vars(parsed).items() if name in fields})
