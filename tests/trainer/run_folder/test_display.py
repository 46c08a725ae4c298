"""What a notebook shows of a run."""

import pytest

from covid_tfds.common.errors import UsageError
from tests.fakes import run_files
from trainer.run_folder.display import ShownFiles, find_plot, render_metrics


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.svg").write_text("<svg/>")
    return tmp_path


def test_a_plot_is_an_image_with_its_name_as_text(folder):
    assert 'alt="roc" src="data:image/svg+xml;base64,' in find_plot(folder, "roc")._repr_html_()


def test_an_unknown_plot_is_refused_with_those_there_are(folder):
    (folder / "tuning.png").write_bytes(b"")
    with pytest.raises(UsageError, match="roc, tuning"):
        find_plot(folder, "rock")


def test_a_page_is_shown_in_a_frame_that_its_markup_can_not_leave(tmp_path):
    (tmp_path / "report.html").write_text('<p title="x">a</p>')
    shown = ShownFiles((tmp_path / "report.html",))._repr_html_()
    assert 'srcdoc="&lt;p title=&quot;x&quot;&gt;a&lt;/p&gt;"' in shown


def test_heat_maps_are_those_of_the_test_split_with_label_and_decision(tmp_path):
    run, _ = run_files.write(tmp_path / "run")
    shown = run.heat_maps
    assert shown.paths == (run.path / "saliency" / "00.jpg",)  # a second one was not drawn, a third is of a fold
    assert "<p>label covid, decision covid</p>" in shown._repr_html_()


def test_the_table_has_a_row_for_each_metric_and_the_verdict(tmp_path):
    table = render_metrics(run_files.metrics("inconclusive"))
    assert table.count("<tr>") == table.count("</tr>") == 5
    assert "Shortcut verdict: inconclusive." in table
