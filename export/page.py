"""Write an export's README.md: one page for the developer of an app, with snippets that the tests run as they stand."""

from __future__ import annotations

from pathlib import Path

import jinja2

from covid_tfds.common import markdown
from covid_tfds.common.files import to_json, write_text
from export.file_names import ONNX, ONNX_INT8, PAGE
from export.parity.report import ParityReport
from export.runtime.model_info import ModelInfo

TEMPLATES = Path(__file__).parent / "templates"
SNIPPETS = ("python", "javascript", "browser", "csharp")


def write_page(
    folder: Path,
    info: ModelInfo,
    report: ParityReport,
    map_shape: tuple[int, int],
    n_train: int,
    web: str | None,
) -> None:
    """Write the page beside the artefacts.

    Args:
        folder: The export.
        info: The model's metadata.
        report: Of the parity check.
        map_shape: Height and width of the heat map, in cells.
        n_train: Number of training images.
        web: Name of the model file in web/; None where there is no such folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    snippets = {name: (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").strip() for name in SNIPPETS}
    about, parity = markdown.escaped(info.to_json()), markdown.escaped(to_json(report))
    megabytes = {name: (folder / name).stat().st_size / 1e6 for name in (ONNX, ONNX_INT8) if (folder / name).is_file()}
    text = environment.get_template("README.md.j2").render(
        about=about,
        parity=parity,
        int8={stage["stage"]: stage for stage in parity["stages"]} if ONNX_INT8 in megabytes else None,
        megabytes=megabytes,
        map_shape=map_shape,
        whole_image=info.heatmap_region == [0.0, 0.0, 1.0, 1.0],
        n_train=n_train,
        web=web,
        **snippets,
    )
    write_text(folder / PAGE, text)
