"""Check a property on examples that hypothesis draws: 25 in every test run, 1,000 with `-m trial`."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

in_two_sizes = pytest.mark.parametrize(
    "examples", [25, pytest.param(1000, marks=[pytest.mark.trial, pytest.mark.timeout(0)])]
)


def check_property(examples: int, strategy: SearchStrategy, holds: Callable) -> None:
    """Calls `holds` with that many examples of a strategy, always the same ones; the smallest failure is shown."""
    profile = settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    profile(given(strategy)(holds))()
