"""Files, classes and patients may be called anything: what we write is neither markup, formula nor terminal control."""

import csv
import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.files import read_csv, write_csv
from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.run_folder import file_names

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "'", "=cmd|' /C calc'!A0", "-", "a=1", ""]
TAGS = "<img src=x onerror=alert(1)><script>alert(2)</script>"


class Tags(HTMLParser):
    """The names of a text's HTML tags, as a browser or a Markdown renderer that lets HTML through would find them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)


def hostile_folder(tmp_path):
    """A training folder, its name, class, files and patients as somebody hostile chose them."""
    folder = tmp_path / "<b>hospital [x](http:evil) `"
    other = "normal" + TAGS.replace("/", "∕")  # a name can hold anything but a slash
    for index in range(10):
        drawn = phantom.draw(index)
        path = folder / (drawn.label if drawn.label == "covid" else other) / f"=1+1 | <i>\x1b[31m{index}\n.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn.image).resize((64, 64)).save(path)
    return folder


def test_the_audit_of_hostile_names_holds_no_markup(tmp_path, capsys):
    from covid_tfds.audit import __main__ as audit

    folder = hostile_folder(tmp_path)
    first = next((folder / "covid").iterdir())
    (folder / "covid" / ("copy of " + first.name)).write_bytes(first.read_bytes())  # so that a table names files
    assert audit.main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) in (0, 1)
    text = (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    for shown in (text, printed[printed.index("\n# ") :]):  # above it stands plain text for the terminal
        assert "hospital" in shown
        assert Tags(shown).found == []
        assert not re.search(r"(?<!\\)\]\(http", shown)
        assert "\x1b" not in shown
    table = [line for line in text.splitlines() if "copy of" in line]
    assert table
    assert all(line.startswith("| ") and line.endswith(" |") for line in table)
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["dataset"] == folder.name


def test_the_model_card_and_the_page_hold_no_markup(tmp_path):
    from trainer.report.writing import write_report

    write_report(*run_files.make(tmp_path))
    card = (tmp_path / file_names.MODEL_CARD).read_text(encoding="utf-8").split("---", 2)[2]  # after its YAML
    assert "img src=x" in card
    assert not set(Tags(card).found) & {"img", "script", "b", "i"}
    html = (tmp_path / file_names.REPORT).read_text(encoding="utf-8")
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in html


def test_the_page_of_an_export_holds_no_markup(exported, tmp_path):
    import shutil

    from export import page
    from export.file_names import PAGE
    from export.parity.report import ComparedImages, ParityReport
    from export.parity.stages import INT8_STAGES, STAGES
    from export.runtime.predictor import Predictor

    folder = shutil.copytree(exported, tmp_path / "export", ignore=shutil.ignore_patterns("saved_model"))
    info = dataclasses.replace(
        Predictor(exported / "model.onnx").info,
        labels=["covid", TAGS],
        run_id=TAGS,
        notes=(f"{TAGS}\n# title",),
        shortcuts_because=f"[x](http:evil) {TAGS}",
        dataset={"name": f"`{TAGS}"},
        weights={"name": f"`{TAGS}"},
    )
    images = ComparedImages([TAGS], [TAGS], [TAGS])
    report = ParityReport("pass", [*STAGES[:3], *INT8_STAGES], images, {})
    page.write_page(folder, info, report, (7, 7), 10, None)
    text = (folder / PAGE).read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert "alert(2)" in prose
    assert Tags(prose).found == []
    assert "\n# title" not in prose
    assert not re.search(r"(?<!\\)\]\(http:evil", prose)


def test_tensorboards_text_shows_a_config_as_text(tmp_path):
    """By TensorBoard's own Markdown: what is in the fence stays in the fence."""
    from tensorboard import plugin_util

    from trainer.report import tensorboard

    config = {"dataset": f"x\n```\n{TAGS}\n```", "weights": TAGS}
    shown = plugin_util.markdown_to_safe_html(tensorboard.fenced(config))
    assert "onerror" in shown
    assert set(Tags(shown).found) <= {"pre", "code"}


def test_cells_that_spreadsheets_would_compute_are_texts(tmp_path):
    path = tmp_path / "table.csv"
    rows = [{"image_id": text, "p_covid": -0.5} for text in FORMULAS]
    write_csv(path, ("image_id", "p_covid"), rows)
    with path.open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert not [row["image_id"] for row in written if row["image_id"].startswith(tuple("=+-@\t\r\n"))]
    assert written[1]["image_id"] == "'+1"
    assert {row["p_covid"] for row in written} == {"-0.5"}
    assert read_csv(path) == [{"image_id": text, "p_covid": "-0.5"} for text in FORMULAS]


def test_the_predictors_table_is_neutral_as_well(tmp_path):
    from export.runtime.model_info import ModelInfo
    from export.runtime.prediction_rows import PredictionRow, write_csv_rows
    from export.runtime.predictor import Prediction

    path = tmp_path / "table.csv"
    info = ModelInfo(["covid", "normal"], "covid", 0.5, [0.0, 0.0, 1.0, 1.0], "A test.")
    with write_csv_rows(path, info) as write:
        for text in FORMULAS:
            answer = Prediction({"covid": 0.5, "normal": 0.5}, "covid", "covid", np.zeros((7, 7)), [text])
            write(PredictionRow(text, answer))
    with path.open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [row["image"].removeprefix("'") for row in written] == FORMULAS
    assert not [c for row in written for c in row.values() if c.startswith(tuple("=+-@\t\r\n"))]
    assert {row["p_covid"] for row in written} == {"0.5"}


def test_patients_called_like_formulas_come_back_as_they_were(train_tiny, phantom_folder, tmp_path):
    import shutil

    folder = shutil.copytree(phantom_folder, tmp_path / "images")
    images = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*.png"))
    patient_of = {image: f"=1+{index}" for index, image in enumerate(images)}
    with (folder / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "patient_id"), *patient_of.items()])
    assert train_tiny(tmp_path / "run", "--dataset", str(folder)) == 0
    for name in (file_names.PREDICTIONS, file_names.OUT_OF_FOLD):
        text = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert ",'=1+0," in text
        assert ",=1" not in text
        for row in read_csv(tmp_path / "run" / name):
            assert row["patient_id"] == patient_of[row["image_id"]]
