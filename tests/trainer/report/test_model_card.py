import re

import pytest
import yaml

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import read_json
from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.report import facts, model_card
from trainer.run_folder import file_names


@pytest.fixture
def run(tmp_path):
    return run_files.write(tmp_path / "run")


def card(run):
    return model_card.text(facts.collect(run))


def items(text, heading):
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [row.split(" | ") for row in re.findall(r"^\| (\d+ \| .*) \|$", section, flags=re.MULTILINE)]


def test_the_yaml_header_has_hugging_faces_fields(run):
    _, head, _ = card(run).split("---\n", 2)
    fields = yaml.safe_load(head)
    assert fields["library_name"] == "keras"
    assert fields["license"] == "unknown"
    assert "chest-x-ray" in fields["tags"]
    assert "datasets" not in fields
    results = fields["model-index"][0]["results"]
    assert [result["dataset"]["split"] for result in results] == ["cross-validation", "test"]
    assert results[0]["dataset"]["name"] == HOSTILE
    values = {metric["type"]: metric["value"] for metric in results[0]["metrics"]}
    assert values["roc_auc"] == 0.95
    assert values["recall"] == 0.92
    assert set(values) == set(fields["metrics"])


def test_undefined_figures_are_not_in_the_header(run):
    undefined = {name: run_files.figure(None) for name in run_files.figures()}
    test = run_files.metrics()["test"] | undefined
    run_files.change(run, file_names.METRICS, test=test, cross_validation=None)
    _, head, body = card(run).split("---\n", 2)
    assert yaml.safe_load(head)["model-index"][0]["results"][0]["metrics"] == []
    assert "undefined (n = 50)" in body


def test_a_known_dataset_is_named(run):
    about = read_json(run / file_names.ENVIRONMENT)["dataset"] | {"name": "covid_tfds/curated"}
    run_files.change(run, file_names.ENVIRONMENT, dataset=about)
    assert yaml.safe_load(card(run).split("---\n")[1])["datasets"] == ["covid_tfds/curated"]


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ({"MIT": 4}, "mit"),
        ({"CC BY 4.0": 4}, "cc-by-4.0"),
        ({"CC BY 4.0": 4, "MIT": 1}, "other"),
        ({"not stated": 1, "MIT": 3}, "unknown"),
    ],
)
def test_licence_follows_the_images(licences, expected):
    assert model_card.licence({"groups": [{"license": licences}]}) == expected
    assert model_card.licence(None) == "unknown"


@pytest.mark.parametrize(("heading", "count"), [("TRIPOD+AI", 27), ("CLAIM", 44)])
def test_every_item_of_the_checklist_is_answered(run, heading, count):
    rows = items(card(run), heading)
    assert [int(row[0]) for row in rows] == list(range(1, count + 1))
    assert all(len(row) == 3 and row[1].strip() and row[2].strip() for row in rows)


def test_what_was_not_done_is_said_to_be_so(run):
    run_files.change(run, file_names.METRICS, shortcuts=None, calibration=None, cross_validation=None)
    for name in (file_names.SALIENCY, file_names.DATASET):
        (run / name).unlink()
    answers = {int(row[0]): row[2] for row in items(card(run), "CLAIM")}
    for item in (18, 20, 30, 31, 33, 34, 39, 44):
        assert answers[item].startswith("not done"), item
    assert "calibration not done" in card(run)


def test_what_was_done_is_said_with_its_figures(run):
    run_files.add_external(run)
    text = card(run)
    claim = {int(row[0]): row[2] for row in items(text, "CLAIM")}
    assert claim[30] == "shortcut controls, 5 of them"
    assert claim[31] == "Grad-CAM; 25 % of the heat outside the lung region"
    assert claim[33] == "source_matched"
    tripod = {int(row[0]): row[2] for row in items(text, "TRIPOD+AI")}
    assert "threshold for a sensitivity of 0.95" in tripod[12]
    assert "AUROC 0.95 (95 % CI 0.86 to 0.98)" in tripod[23]
    assert "| AUROC | 0.95 (95 % CI 0.86 to 0.98) | 0.95 (95 % CI 0.86 to 0.98) | 0.51 (95 % CI 0.40 to 0.60) |" in text


def test_names_are_text_and_never_markup(run):
    body = card(run).split("---\n", 2)[2]
    assert "<img" not in body
    assert "[a](b)" not in body.replace("\\[a\\](b)", "")
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert all(line.endswith(("|", "| ")) for line in tables)


def test_every_tables_rows_have_as_many_cells_as_its_head(run):
    run_files.add_external(run)
    tables = re.findall(r"(?:^\|.*\n)+", card(run), flags=re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(cells)) == 1, table


def test_the_intended_use_is_said_once(run):
    assert card(run).count(INTENDED_USE) == 1
