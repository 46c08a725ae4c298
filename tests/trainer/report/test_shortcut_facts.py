"""Patient facts and sources in report and card."""

import dataclasses

import pytest

from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.report.writing import write_report
from trainer.run_folder import file_names
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.shortcut_results import PatientFacts, Shortcuts
from trainer.run_folder.typed_files import read_result, write_result

FACTS = PatientFacts(
    facts=Estimate(0.71, (0.6, 0.82), 50),
    image=Estimate(0.72, (0.61, 0.83), 50),
    both=Estimate(0.73, (0.62, 0.84), 50),
    image_minus_facts=Estimate(0.01, (-0.13, 0.15), 50),
    both_minus_image=Estimate(0.01, (-0.02, 0.04), 50),
    because="The facts do as well.",
)


def test_they_are_read_as_they_were_written(tmp_path):
    made = run_files.metrics().shortcuts
    sources = {"hospital": {"covid": 1, "normal": 2}}
    shortcuts = dataclasses.replace(made, patient_facts=FACTS, sources=sources, classes={"normal": made})
    write_result(tmp_path / "result.json", shortcuts)
    assert read_result(Shortcuts, tmp_path / "result.json") == shortcuts


@pytest.fixture
def written(tmp_path):
    """A function that writes the report of a run with these shortcuts and returns page and card."""

    def write(**changes):
        folder = tmp_path / "run"
        folder.mkdir()
        run, details = run_files.make(folder)
        shortcuts = dataclasses.replace(run.metrics.shortcuts, **changes)
        write_report(dataclasses.replace(run, metrics=dataclasses.replace(run.metrics, shortcuts=shortcuts)), details)
        return [(folder / name).read_text(encoding="utf-8") for name in (file_names.REPORT, file_names.MODEL_CARD)]

    return write


def test_facts_image_and_both_stand_in_one_table(written):
    page, card = written(patient_facts=FACTS)
    table = page.split('id="patient-facts"')[1].split("</table>")[0]
    for value in ("0.71", "0.72", "0.73", "-0.13 to 0.15", "-0.02 to 0.04"):
        assert value in table
    for text in (page, card):
        assert FACTS.because in text
    assert "0.73" in card


def test_without_facts_and_sources_there_is_no_table(written):
    page, _ = written()
    assert 'id="patient-facts"' not in page
    assert 'id="sources"' not in page


@pytest.mark.parametrize(("other", "is_mixed"), [(0, False), (3, True)])
def test_sources_are_counted_by_class(written, other, is_mixed):
    page, _ = written(sources={"hospital": {"covid": 17, "normal": other}, HOSTILE: {"covid": 0, "normal": 19}})
    section = page.split('id="sources"')[1].split("</table>")[0]
    assert "<td>17</td>" in section
    assert "<td>19</td>" in section
    assert ("one class only" in section) != is_mixed
    assert "<img src=x" not in section


def test_many_sources_are_cut_short(written):
    page, _ = written(sources={f"hospital {i}": {"covid": 2, "normal": 1} for i in range(30)})
    assert "hospital 19" in page
    assert "hospital 20" not in page
