"""`Estimate`: a metric with its confidence interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval.

    Attributes:
        value: The metric; None where it is undefined.
        ci95: Lower and upper limit; None where the metric is undefined.
        n: Number of images the metric counts.
        because: Why the metric is undefined.
    """

    value: float | None
    ci95: tuple[float, float] | None
    n: int
    because: str | None = None

    @property
    def value_and_limits(self) -> tuple[float, float, float]:
        """Value, lower and upper limit of a metric that is defined."""
        if self.value is None or self.ci95 is None:
            raise ValueError(f"The metric is undefined: {self.because}.")
        return self.value, *self.ci95
