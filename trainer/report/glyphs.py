"""Save plots whose names are in a script that Matplotlib's own font lacks, without its warnings."""

from __future__ import annotations

import warnings
from typing import Any

from matplotlib.figure import Figure


def save_figure(figure: Figure, target: Any, **options: Any) -> None:
    """Calls `figure.savefig`. Letters that the font lacks become boxes; the tables beside the plot have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(target, **options)
