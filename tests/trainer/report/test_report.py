import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.common.files import write_json
from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.report import facts, page, svg_charts
from trainer.run_folder import file_names

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: tags with attributes, text, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open, self.unbalanced = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, text):
        if self.open and self.open[-1] != "style":
            self.words.append(text)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(tmp_path):
    return run_files.write(tmp_path / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of a run in which everything was done, made once."""
    folder = run_files.write(tmp_path_factory.mktemp("whole") / "run")
    run_files.add_tuning(folder)
    run_files.add_external(folder)
    page = written(folder)
    page.folder = folder
    return page


def written(folder):
    page.write(folder)
    return Page((folder / file_names.REPORT).read_text(encoding="utf-8"))


def test_the_page_loads_nothing(whole):
    page = whole
    assert len(page.all("img")) >= 10
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "svg", "base"}
    assert all(anchor["href"].startswith("#") for anchor in page.all("a"))
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    style = (page.folder / file_names.REPORT).read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_the_plots_themselves_load_nothing(whole):
    for image in whole.all("img"):
        kind, content = image["src"].split(";base64,")
        if kind.endswith("svg+xml"):
            svg = base64.b64decode(content).decode()
            assert not re.search(r"(href|src)=.(?!#|data:)", svg)
            assert "<script" not in svg


def test_it_is_well_formed_and_anchors_exist(whole):
    page = whole
    assert not page.unbalanced
    assert not page.open
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {anchor["href"][1:] for anchor in page.all("a")} <= ids


def test_every_picture_has_a_caption_and_a_text_for_those_who_cannot_see_it(whole):
    assert all(image["alt"].strip() for image in whole.all("img"))
    assert len(whole.all("figure")) == len(whole.all("img")) == len(whole.all("figcaption"))


def test_names_are_text_and_never_markup(whole):
    assert HOSTILE in whole.text
    assert not any("onerror" in attributes for _, attributes in whole.tags)


def test_the_first_screen_says_what_matters(whole):
    text = whole.text
    first = text[: text.index("What can be had without looking")]
    assert "Shortcut: these images can be told apart" in first
    assert "“border only”" in first
    assert "0.97 (95 % CI 0.87 to 1.00)" in first
    assert "UNTRAINED" in first
    assert "3 × 5 folds, 50 images, 37 patients" in first
    assert "0.92 0.74 to 0.99, n = 25" in first
    assert text.count(INTENDED_USE) == 1


@pytest.mark.parametrize(("verdict", "shown"), [("shortcut", "shortcut"), ("not detected", "clear")])
def test_the_box_has_the_verdicts_colour(run, verdict, shown):
    run_files.change(run, file_names.METRICS, shortcuts=run_files.metrics(verdict)["shortcuts"])
    assert written(run).all("section")[0]["class"].split() == ["verdict", shown]


def test_a_model_at_chance_gets_no_green_box(run):
    shortcuts = run_files.metrics("not detected")["shortcuts"]
    shortcuts["model"]["auroc"] = run_files.figure(0.52, 0.4, 0.63)
    run_files.change(run, file_names.METRICS, shortcuts=shortcuts)
    page = written(run)
    assert page.all("section")[0]["class"].split() == ["verdict"]
    assert "The model is no better than guessing" in page.text


def test_sections_are_there(whole):
    text = whole.text
    headings = ("ROC curve", "Reliability diagram", "Over the prevalence", "Confusion matrix", "Loss and accuracy")
    assert [heading for heading in headings if heading not in text] == []
    assert "source_matched: 7 images are left out" in text
    assert "Images 50 10 88" in text
    assert "0.51 0.40 to 0.60" in text
    assert "Of the test split's 5 covid images 1 was missed; of its 5 others 2 were called covid." in text
    assert "3.0 times their share" in text
    assert "25 % of a test image's heat lies outside the lung region (n = 2 with heat)" in text
    assert "For 2 of the radiographs shown here no licence is stated" in text
    assert "No patient is in both splits" in text
    assert "not done" not in text


def test_a_search_is_told_and_what_it_does_to_the_figures(whole):
    assert "tuned recipe" in whole.text
    assert "30 trials (bayesian), 1 of which failed, judged by 5 folds" in whole.text
    assert "of the tutorial's recipe 0.70" in whole.text
    assert "freed of the luck of the best: 0.85 0.70 to 0.95" in whole.text
    assert "flatter the choice a little" in whole.text
    assert "the best of 30 trials by 5 folds" in (whole.folder / file_names.MODEL_CARD).read_text()


def test_a_patient_in_both_splits_is_not_hidden(run):
    run_files.change(run, file_names.DATASET, patients_in_both_splits=4)
    assert "4 patient(s) are in both splits" in written(run).text


def test_an_old_run_without_the_new_parts_says_not_done(run):
    for name in (file_names.OUT_OF_FOLD, file_names.SALIENCY, file_names.DATASET, file_names.HISTORY):
        (run / name).unlink()
    old = {key: run_files.metrics()[key] for key in ("positive_class", "threshold", "test")}
    del old["test"]["brier"]
    write_json(run / file_names.METRICS, old)
    text = written(run).text
    for part in ("Shortcut controls", "Calibration", "Grad-CAM", "Dataset card", "Loss and accuracy by epoch"):
        assert f"{part}: not done" in text
    assert "External validation Not done." in text
    assert "ROC curve" in text
    assert "It was not chosen on data." in text


def test_undefined_figures_are_called_so(run):
    nothing = run_files.figure(None, n=3)
    test = run_files.metrics()["test"] | dict.fromkeys(("sensitivity", "auroc"), nothing)
    run_files.change(run, file_names.METRICS, test=test, cross_validation=None)
    for name in (file_names.OUT_OF_FOLD, file_names.PREDICTIONS):
        lines = (run / name).read_text().splitlines()
        (run / name).write_text("\n".join(line for line in lines if ",covid," not in line) + "\n")
    text = written(run).text
    assert text.count("undefined (n = 3)") >= 2
    assert "ROC curve: not done" in text
    assert "Over the prevalence: not done" in text


def test_a_run_without_mistakes_says_so(run):
    images = [image for image in run_files.saliency()["images"] if image["group"] == "test"]
    run_files.change(run, file_names.SALIENCY, images=images)
    assert "None: every image was called right" in written(run).text


def test_report_json_holds_the_numbers_of_the_page(whole):
    text = whole.text
    facts = json.loads((whole.folder / file_names.REPORT_JSON).read_text())
    assert facts["metrics"] == run_files.metrics()
    assert facts["verdict"]["headline"] in text
    assert facts["verdict"]["strongest"]["name"] == "border_only"
    assert facts["external"][0]["figures"]["auroc"]["value"] == 0.51
    assert facts["saliency"] == run_files.saliency()
    row = next(row for row in facts["predictive_values"] if row["prevalence"] == 0.1)
    assert row["ppv"] == pytest.approx(0.92 * 0.1 / (0.92 * 0.1 + 0.16 * 0.9))
    assert f"10 % {100 * row['ppv']:.1f} {100 * row['npv']:.1f}" in text


def test_it_can_be_written_again_and_is_the_same(run):
    page.write(run)
    names = (file_names.REPORT, file_names.REPORT_JSON, file_names.MODEL_CARD)
    first = [(run / name).read_bytes() for name in names]
    page.write(run)
    assert [(run / name).read_bytes() for name in names] == first


def test_no_folder_of_the_users_disk_is_told(run):
    run_files.change(
        run, file_names.CONFIG, data={"manual_dir": "/home/someone/films"}, output="/home/someone/runs/first"
    )
    text = written(run).text
    assert "films" in text
    for name in (file_names.REPORT, file_names.REPORT_JSON, file_names.MODEL_CARD):
        assert "someone" not in (run / name).read_text()


def test_a_damaged_file_is_named(run):
    (run / file_names.SALIENCY).write_text("{")
    with pytest.raises(UsageError, match=r"saliency\.json is damaged"):
        page.write(run)


def test_rates_count_as_a_threshold_does():
    truth = np.asarray([True, True, False, False])
    p_covid = np.asarray([0.9, 0.4, 0.4, 0.1])
    sensitivity, specificity = svg_charts.rates(truth, p_covid, np.asarray([0.0, 0.4, 0.5, 1.0]))
    np.testing.assert_allclose(sensitivity, [1, 1, 0.5, 0])
    np.testing.assert_allclose(specificity, [0, 0.5, 1, 1])


def test_undefined_controls_are_left_out_of_the_chart():
    bars = [("model", run_files.figure(0.9, 0.8, 1), "blue"), ("empty", run_files.figure(None), "red")]
    svg = svg_charts.controls(bars)
    assert ">model<" in svg
    assert ">empty<" not in svg


def test_predictions_of_one_split_are_read(run):
    truth, p_covid = facts.predictions(run / file_names.PREDICTIONS, "covid", "test")
    assert len(truth) == len(p_covid) == 10
    assert truth.sum() == 5
    everything, _ = facts.predictions(run / file_names.OUT_OF_FOLD, "covid")
    assert len(everything) == 150
