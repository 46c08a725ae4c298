"""What the benchmark measured, as a table of ratios and a log-log plot. Never TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from trainer.report.plots import plt, save


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ratios: of each repetition, alternative / work for times, so that larger is better. goal: what to reach, with its
    unit. mebibytes: largest peak memory of the work's process, None where it shares one.
    """

    work: str
    against: str
    goal: str
    ratios: list[float]
    mebibytes: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The line's texts: the ratio is the median, with the smallest and largest of the repetitions."""
        low, middle, high = min(self.ratios), median(self.ratios), max(self.ratios)
        memory = "" if self.mebibytes is None else f"{self.mebibytes:.0f} MiB"
        return self.work, self.against, self.goal, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", memory


HEADER = ("work", "against", "goal", "ratio", "spread", "peak memory")


def markdown(rows: list[Row]) -> str:
    """The table, as GitHub shows it."""
    return markdown_table(HEADER, [row.cells() for row in rows])


def markdown_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Any table, as GitHub shows it."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ("---",) * len(header), *rows])


def growth_plot(path: Path, growth: dict[int, dict[str, float]]) -> None:
    """Log-log plot of seconds by number of images for each phase, beside a line of slope 1."""
    sizes = sorted(growth)
    figure, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for phase in growth[sizes[0]]:
        axis.loglog(sizes, [growth[size][phase] for size in sizes], marker="o", label=phase)
    first = max(growth[sizes[0]].values())
    axis.loglog(sizes, [first * size / sizes[0] for size in sizes], color="grey", linestyle=":", label="linear")
    axis.set_xlabel("images")
    axis.set_ylabel("seconds")
    axis.set_title("How cost grows")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    save(figure, path)
