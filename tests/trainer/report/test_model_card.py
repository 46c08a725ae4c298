import dataclasses
import re

import pytest
import yaml

from covid_tfds.common.errors import INTENDED_USE
from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.report import model_card
from trainer.report.facts import collect_facts


@pytest.fixture
def made(tmp_path):
    return run_files.make(tmp_path)


@pytest.fixture
def facts(made):
    return collect_facts(*made)


@pytest.fixture
def with_external(made):
    run, details = made
    return collect_facts(run, dataclasses.replace(details, external=(run_files.external(),)))


@pytest.fixture
def card(made):
    """Renders the run's card from facts."""
    return lambda facts: model_card.render(made[0], facts)


def items(text, heading):
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [row.split(" | ") for row in re.findall(r"^\| (\d+ \| .*) \|$", section, flags=re.MULTILINE)]


def test_the_yaml_header_has_hugging_faces_fields(card, facts):
    _, head, _ = card(facts).split("---\n", 2)
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


def test_undefined_metrics_are_not_in_the_header(card, with_external):
    names = model_card.HUB_METRICS
    undefined = dict.fromkeys(names, run_files.UNDEFINED)
    one = with_external["external"]["source_matched"]
    of_argmax = {name: value for name, value in undefined.items() if hasattr(one.test.argmax, name)}
    argmax = dataclasses.replace(one.test.argmax, **of_argmax)
    one = dataclasses.replace(one, test=dataclasses.replace(one.test, **undefined, argmax=argmax))
    _, head, body = card(with_external | {"external": {"source_matched": one}}).split("---\n", 2)
    assert yaml.safe_load(head)["model-index"][0]["results"][2]["metrics"] == []
    assert "undefined (n = 3)" in body


def test_a_known_dataset_is_named(card, facts):
    data = dataclasses.replace(facts["environment"].dataset, name="covid_tfds/curated")
    named = facts | {"environment": dataclasses.replace(facts["environment"], dataset=data)}
    assert yaml.safe_load(card(named).split("---\n")[1])["datasets"] == ["covid_tfds/curated"]


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
    group = dataclasses.replace(run_files.dataset().groups[0], license=licences)
    assert model_card.choose_licence(dataclasses.replace(run_files.dataset(), groups=(group,))) == expected


@pytest.mark.parametrize(("heading", "count"), [("TRIPOD+AI", 27), ("CLAIM", 44)])
def test_every_item_of_the_checklist_is_answered(card, facts, heading, count):
    rows = items(card(facts), heading)
    assert [int(row[0]) for row in rows] == list(range(1, count + 1))
    assert all(len(row) == 3 and row[1].strip() and row[2].strip() for row in rows)


def test_what_was_not_done_is_answered_so(card, facts):
    answers = {int(row[0]): row[2] for row in items(card(facts), "CLAIM")}
    for item in (18, 21, 33, 34, 44):
        assert answers[item].startswith("not done"), item


def test_what_was_done_is_answered_with_its_metrics(card, with_external):
    text = card(with_external)
    claim = {int(row[0]): row[2] for row in items(text, "CLAIM")}
    assert claim[30] == "4 shortcut controls"
    assert claim[31] == "Grad-CAM; 25 % of the heat outside the lung region"
    assert claim[33] == "source_matched"
    tripod = {int(row[0]): row[2] for row in items(text, "TRIPOD+AI")}
    assert "sensitivity of 0.95" in tripod[12]
    assert "AUROC 0.95 (95 % CI 0.86 to 0.98)" in tripod[23]
    assert "| AUROC | 0.95 (95 % CI 0.86 to 0.98) | 0.95 (95 % CI 0.86 to 0.98) | 0.51 (95 % CI 0.40 to 0.60) |" in text
    assert "| Sensitivity, argmax |" in text
    assert "| Sensitivity, operating point |" in text
    assert "| Sex: F | 20 (10) | 15 |" in text
    assert "sex" in tripod[14]


def test_names_are_text_and_never_markup(card, facts):
    body = card(facts).split("---\n", 2)[2]
    assert "<img" not in body
    assert "[a](b)" not in body.replace("\\[a\\](b)", "")
    tables = [line for line in body.splitlines() if line.startswith("|")]
    assert all(line.endswith(("|", "| ")) for line in tables)


def test_every_tables_rows_have_as_many_cells_as_its_head(card, with_external):
    tables = re.findall(r"(?:^\|.*\n)+", card(with_external), flags=re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        cells = [len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(cells)) == 1, table


def test_the_intended_use_is_said_once(card, facts):
    assert card(facts).count(INTENDED_USE) == 1
