"""What a notebook shows of a run: the files of its folder, and a table of its metrics."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.errors import UsageError
from trainer.run_folder import file_names
from trainer.run_folder.results import Estimate, RunMetrics
from trainer.run_folder.saliency import Saliency
from trainer.run_folder.typed_files import read_result

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}
SHOWN = 4  # heat maps in a notebook
ROWS = ("accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class ShownFiles:
    """Files that a notebook shows where they are the last value of a cell: images, or a page in a frame.

    Attributes:
        paths: SVG, PNG, JPEG or HTML files.
        captions: A line below each file; empty for none.
    """

    paths: tuple[Path, ...]
    captions: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        captions = self.captions or ("",) * len(self.paths)
        return "\n".join(
            f"{_to_html(path)}<p>{html.escape(caption)}</p>" if caption else _to_html(path)
            for path, caption in zip(self.paths, captions, strict=True)
        )


def find_plot(folder: Path, name: str) -> ShownFiles:
    """Returns the plot of a run folder.

    Args:
        folder: The run folder.
        name: "training" or "tuning", or one of the report's plots, such as "roc".

    Raises:
        UsageError: If there is no such plot; the message lists those there are.
    """
    plots = {path.stem: path for path in sorted((folder / file_names.PLOTS).glob("*.svg"))}
    if (folder / file_names.TUNING_PLOT).is_file():
        plots["tuning"] = folder / file_names.TUNING_PLOT
    if name not in plots:
        raise UsageError(f"no plot {name!r} in {folder}, expected one of: {', '.join(sorted(plots))}.")
    return ShownFiles((plots[name],))


def find_heat_maps(folder: Path) -> ShownFiles:
    """Returns the first images of a run's test split that were drawn with their heat maps."""
    images = read_result(Saliency, folder / file_names.SALIENCY).images
    drawn = [image for image in images if image.group == "test" and image.overlay][:SHOWN]
    return ShownFiles(
        tuple(folder / str(image.overlay) for image in drawn),
        tuple(f"label {image.label}, decision {image.decision}" for image in drawn),
    )


def render_metrics(metrics: RunMetrics) -> str:
    """Returns the HTML of a small table: both decision rules on the test split, the cross-validation, the verdict."""
    columns = {
        "test split, argmax": metrics.test.argmax,
        f"test split, threshold {metrics.threshold:.2f}": metrics.test,
        "cross-validation, argmax": metrics.cross_validation.argmax,
    }
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr><th>{name}</th>"
        + "".join(f"<td>{_format(getattr(part, name))}</td>" for part in columns.values())
        + "</tr>"
        for name in ROWS
    )
    auroc = (metrics.test.auroc, metrics.test.auroc, metrics.cross_validation.auroc)
    body += "<tr><th>AUROC</th>" + "".join(f"<td>{_format(one)}</td>" for one in auroc) + "</tr>"
    verdict = html.escape(f"Shortcut verdict: {metrics.shortcuts.verdict}. {metrics.shortcuts.because}")
    return f"<table><tr><th></th>{head}</tr>{body}</table><p>{verdict}</p>"


def _format(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    value, low, high = estimate.value_and_limits
    return f"{value:.3f} ({low:.3f} to {high:.3f}), n = {estimate.n}"


def _to_html(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".html":
        page = html.escape(content.decode("utf-8"), quote=True)
        return f'<iframe title="{path.name}" srcdoc="{page}" style="width: 100%; height: 40em"></iframe>'
    data = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:{MEDIA_TYPES[path.suffix]};base64,{data}">'
