"""The benchmark's table of ratios, as Markdown. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        work: What was measured.
        against: What it is compared with.
        goal: The ratio to reach on a processor with AMX, with its sign.
        goal_without_amx: The same on another one.
        ratios: One for each repetition. For times: seconds of the alternative / seconds of the work, so that larger
            is better.
        mebibytes: Largest peak memory of the work's process; None where it has no process of its own.

    Example:
        >>> Row("work", "other", ">= 6", ">= 5", [7.0, 5.0, 9.0]).cells()
        ('work', 'other', '>= 6', '>= 5', '7.00', '5.00 to 9.00', '')
    """

    work: str
    against: str
    goal: str
    goal_without_amx: str
    ratios: list[float]
    mebibytes: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Returns the line's texts: the ratio is the median, the spread the smallest and largest repetition."""
        low, middle, high = min(self.ratios), median(self.ratios), max(self.ratios)
        memory = "" if self.mebibytes is None else f"{self.mebibytes:.0f} MiB"
        spread = f"{low:.2f} to {high:.2f}"
        return self.work, self.against, self.goal, self.goal_without_amx, f"{middle:.2f}", spread, memory


HEADER = ("work", "against", "goal, AMX", "goal, no AMX", "ratio", "spread", "peak memory")


def divide(slow: Iterable[float], fast: Iterable[float]) -> list[float]:
    """Returns slow / fast for each repetition."""
    return [a / b for a, b in zip(slow, fast, strict=True)]
