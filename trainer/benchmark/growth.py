"""Measure how time and memory grow with the number of images: table and log-log plot."""

from __future__ import annotations

from dataclasses import dataclass

from covid_tfds.common.markdown import format_table
from trainer.benchmark.bench import Bench
from trainer.report.plots import plt


@dataclass(frozen=True)
class Growth:
    """Cost by number of images.

    Attributes:
        seconds: Number of images -> phase -> seconds.
        peak_mebibytes: Number of images -> peak memory of the process that went through the phases.
        training_peak_mebibytes: The same of a whole `python -m trainer`, for the fewest and the most images.
    """

    seconds: dict[int, dict[str, float]]
    peak_mebibytes: dict[int, float]
    training_peak_mebibytes: dict[int, float]

    def describe(self) -> str:
        """Returns the table and a line on how the memory of a training grows."""
        phases = list(self.seconds[min(self.seconds)])
        header = ("images", *(f"{phase}, s" for phase in phases), "peak memory")
        rows = [
            (str(size), *(f"{seconds[phase]:.1f}" for phase in phases), f"{self.peak_mebibytes[size]:.0f} MiB")
            for size, seconds in self.seconds.items()
        ]
        peaks = self.training_peak_mebibytes
        few, many = min(peaks), max(peaks)
        grows = (peaks[many] - peaks[few]) * (1 << 20) / 1e6
        return (
            f"{format_table(header, rows)}\n"
            f"Peak memory of training: {few} images {peaks[few]:.0f} MiB, {many} images {peaks[many]:.0f} MiB; "
            f"it grows by {grows:.0f} MB (goal: less than 300)."
        )


def measure_growth(bench: Bench) -> Growth:
    """Measures each phase's seconds and the peak memory at every number of images of the scale."""
    sizes = bench.scale.sizes
    caches = {size: bench.folder / f"growth-cache{size}" for size in sizes}
    measured = {size: bench.run_kernel("growth", size, cache=caches[size]) for size in sizes}
    peaks = {}
    for size in sorted({min(sizes), max(sizes)}):
        flags = ["--config", "phantom", "--num_examples", str(size), "--weights", "random"]
        flags += ["--data_dir", str(bench.folder / f"growth{size}")]
        peaks[size] = bench.run("trainer", *flags, "--output", str(bench.new_output()), cache=caches[size]).mebibytes
    return Growth(
        seconds={size: phases for size, (phases, _) in measured.items()},
        peak_mebibytes={size: peak for size, (_, peak) in measured.items()},
        training_peak_mebibytes=peaks,
    )


def draw_growth(seconds: dict[int, dict[str, float]]) -> plt.Figure:
    """Draws each phase's seconds by number of images on log-log axes, beside a line of slope 1."""
    sizes = sorted(seconds)
    figure, axis = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for phase in seconds[sizes[0]]:
        axis.loglog(sizes, [seconds[size][phase] for size in sizes], marker="o", label=phase)
    first = max(seconds[sizes[0]].values())
    axis.loglog(sizes, [first * size / sizes[0] for size in sizes], color="grey", linestyle=":", label="linear")
    axis.set_xlabel("images")
    axis.set_ylabel("seconds")
    axis.set_title("How cost grows")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    return figure
