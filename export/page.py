"""README.md of an export: one page for the developer of an app, with snippets that the tests run as they stand."""

from __future__ import annotations

from pathlib import Path

import jinja2

from covid_tfds.common import markdown
from covid_tfds.common.files import read_json, write_text
from export.parity import check, golden
from trainer.run_folder.run import Run

PAGE = "README.md"
TEMPLATES = Path(__file__).parent / "templates"
SNIPPETS = ("python", "javascript", "csharp")


def write(folder: Path, run: Run, about: dict, result: dict, map_shape: tuple[int, int]) -> None:
    """Write the page beside the artefacts.

    about: the model's metadata. result: what parity.json says. map_shape: height and width of the heat map, in cells.
    """
    about, result = markdown.escaped(about), markdown.escaped(result)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    snippets = {name: (TEMPLATES / f"{name}.txt").read_text(encoding="utf-8").strip() for name in SNIPPETS}
    cases = read_json(folder / golden.FOLDER / golden.ANSWERS)["cases"]
    sizes = {name: f"{file.stat().st_size / 1e6:.0f}" for name, file in _models(folder)}
    text = environment.get_template("README.md.j2").render(
        title=f"VGG16 chest radiograph model, run {about['run_id']}",
        about=about,
        parity=result,
        stages=result["stages"],
        int8=next((stage for stage in result["stages"] if stage["stage"] == "int8"), None),
        float_mb=sizes[check.FLOAT],
        int8_mb=sizes.get(check.INT8),
        map_shape=map_shape,
        whole_image=about["heatmap_region"] == [0.0, 0.0, 1.0, 1.0],
        golden_p=next(case["probabilities"][0] for case in cases if case["file"] in snippets["python"]),
        n_train=sum(row.split == "train" for row in run.predictions),
        **snippets,
    )
    write_text(folder / PAGE, text)


def _models(folder: Path) -> list[tuple[str, Path]]:
    return [(name, folder / name) for name in (check.FLOAT, check.INT8) if (folder / name).is_file()]
