from dataclasses import dataclass

import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_json
from tests.fakes import run_files
from trainer.run_folder.details import load_details, save_external
from trainer.run_folder.environment import Environment
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.predictions import Prediction
from trainer.run_folder.results import RunMetrics
from trainer.run_folder.typed_files import read_result, read_rows, write_result, write_rows


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (Estimate, Estimate(0.5, (0.25, 0.75), 10)),
        (Estimate, run_files.UNDEFINED),
        (RunMetrics, run_files.metrics()),
        (Environment, run_files.environment()),
    ],
)
def test_a_result_is_read_as_it_was_written(tmp_path, kind, result):
    write_result(tmp_path / "result.json", result)
    assert read_result(kind, tmp_path / "result.json") == result


def test_details_are_read_as_they_were_saved(tmp_path):
    run, details = run_files.write(tmp_path / "run")
    assert load_details(run.path) == details
    save_external(run, run_files.external())
    assert load_details(run.path).external == (run_files.external(),)


@pytest.mark.parametrize("content", [[], "text", {}, {"value": 1.0, "ci95": None, "n": "3"}, {"n": 3, "unknown": 1}])
def test_what_is_not_that_result_is_refused_by_name(tmp_path, content):
    write_json(tmp_path / "metrics.json", content)
    with pytest.raises(UsageError, match=r"metrics\.json is damaged") as refusal:
        read_result(Estimate, tmp_path / "metrics.json")
    assert "Estimate" in str(refusal.value)


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = (
        Prediction("=1+1", "p", "test", "covid", **run_files.row(0.1), sha256="ab"),
        Prediction("b", "q", "train", "normal", **run_files.row(1e-9), sha256=""),
    )
    write_rows(tmp_path / "predictions.csv", Prediction, rows)
    assert read_rows(Prediction, tmp_path / "predictions.csv") == rows


@dataclass(frozen=True)
class Row:
    name: str
    n: int


@pytest.mark.parametrize("text", ["name\na\n", "name,n\na,many\n", "name,n\na,\n"])
def test_a_damaged_table_is_refused_by_name(tmp_path, text):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UsageError, match=r"table\.csv is damaged"):
        read_rows(Row, tmp_path / "table.csv")
