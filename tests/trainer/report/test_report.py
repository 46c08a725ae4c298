import base64
import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import to_json
from covid_tfds.examples import DatasetRequest
from tests.fakes import run_files
from tests.fakes.run_files import HOSTILE
from trainer.report import plots, svg_charts
from trainer.report.facts import describe_run
from trainer.report.writing import write_report
from trainer.run_folder import file_names
from trainer.run_folder.caveats import NOT_VALID
from trainer.run_folder.details import load_details
from trainer.run_folder.environment import IMAGENET, Weights
from trainer.run_folder.estimate import Estimate
from trainer.run_folder.shortcut_results import ModelResult

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
def made(tmp_path):
    """A run and its details in memory, and a folder to write the report into."""
    (tmp_path / "run").mkdir()
    return run_files.make(tmp_path / "run")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of a run in which everything was done, made once."""
    run, details = run_files.with_search(*run_files.make(tmp_path_factory.mktemp("whole")))
    return written(run, dataclasses.replace(details, external=(run_files.external(),)))


def written(run, details):
    write_report(run, details)
    page = Page((run.path / file_names.REPORT).read_text(encoding="utf-8"))
    page.folder = run.path
    return page


def with_shortcuts(run, **changes):
    shortcuts = dataclasses.replace(run.metrics.shortcuts, **changes)
    return dataclasses.replace(run, metrics=dataclasses.replace(run.metrics, shortcuts=shortcuts))


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


def test_the_first_screen_has_verdict_notes_and_metrics(whole):
    first = whole.text[: whole.text.index("Shortcut controls")]
    assert "“border only”" in first
    assert "0.97 (95 % CI 0.87 to 1.00)" in first
    assert "UNTRAINED" in first
    assert "3 × 5 folds, 50 images, 37 patients" in first
    assert "0.92 0.74 to 0.99, n = 25" in first
    assert whole.text.count(INTENDED_USE) == 1


@pytest.mark.parametrize(
    ("verdict", "shown"), [("shortcut", "shortcut"), ("not detected", "clear"), ("inconclusive", "open")]
)
def test_the_box_has_the_verdicts_colour(tmp_path, verdict, shown):
    assert written(*run_files.make(tmp_path, verdict)).all("section")[0]["class"].split() == ["verdict", shown]


def test_a_model_at_chance_gets_no_green_box(tmp_path):
    run, details = run_files.make(tmp_path, "inconclusive")
    page = written(with_shortcuts(run, model=ModelResult(Estimate(0.52, (0.4, 0.63), 50))), details)
    assert page.all("section")[0]["class"].split() == ["verdict", "open"]
    assert "0.52 (95 % CI 0.40 to 0.63)" in page.text


def with_notes(run, *notes):
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, notes=notes))


def test_what_makes_the_metrics_invalid_comes_first(made):
    run, details = made
    text = written(with_notes(run, "UNTRAINED", f"{NOT_VALID} 3 of 4 labels."), details).text
    places = [text.index(part) for part in (NOT_VALID, "Shortcut: the classes", "UNTRAINED", "Sensitivity")]
    assert places == sorted(places)
    assert text.count(NOT_VALID) == 1
    card = (run.path / file_names.MODEL_CARD).read_text()
    assert card.index(NOT_VALID) < card.index("Shortcut: the classes")


def test_both_rules_of_decision_stand_side_by_side(whole):
    first = whole.text[: whole.text.index("Shortcut controls")]
    assert "operating point argmax operating point argmax" in first
    assert "covid from a probability of 0.321" in first
    assert "its 95 % interval (bootstrap over patients) is 0.200 to 0.500" in whole.text
    titles = ("Test split, operating point", "Test split, argmax", "Cross-validation, operating point")
    assert [title for title in titles if title not in whole.text] == []


def test_the_tutorials_recipe_has_argmax_first_and_the_published_metrics(made):
    run, details = made
    data = dataclasses.replace(run.environment.dataset, name="covid_tfds/as_published")
    environment = dataclasses.replace(run.environment, dataset=data, weights=Weights(IMAGENET, "a", trained=True))
    config = dataclasses.replace(run.config, recipe="tutorial")
    text = written(dataclasses.replace(run, environment=environment, config=config), details).text
    assert "argmax operating point argmax operating point" in text
    assert "acc 0.90, sensitivity 1.00 and specificity 0.80" in text
    assert "ImageNet weights" in text


def test_a_long_name_of_a_weights_file_is_cut(made):
    run, _ = made
    weights = Weights("a_very_long_name_of_a_file_with_weights.h5", "a", trained=True)
    changed = dataclasses.replace(run, environment=dataclasses.replace(run.environment, weights=weights))
    assert len(describe_run(changed)) < len(HOSTILE) + 60


def test_a_caption_has_label_finding_both_decisions_and_the_peak(whole):
    assert "labelled covid (finding: Pneumonia, virus); called covid by both rules" in whole.text
    assert "wrongly called covid at the operating point, called normal by argmax" in whole.text
    assert "peak 0.5" in whole.text
    assert "0.8 logit per map cell" in whole.text


def test_external_validation_names_the_classes_of_both_datasets(made):
    run, details = made
    other = run_files.external()
    data = dataclasses.replace(other.metrics.dataset, class_names=("covid", "other"))
    other = dataclasses.replace(other, metrics=dataclasses.replace(other.metrics, dataset=data))
    text = written(run, dataclasses.replace(details, external=(other,))).text
    first = text[: text.index("Shortcut controls")]
    assert "source_matched, covid against other: AUROC 0.51 0.40 to 0.60" in first
    header = text.split("External validation")[-1]
    assert "covid against normal" in header
    assert "source_matched covid against other" in header


def test_subgroups_have_counts_and_intervals(whole):
    assert "F 20 (10) 15 0.80 0.60 to 0.90" in whole.text
    assert "5 (5) 4 none 0.70 0.40 to 0.90 none" in whole.text


def test_three_classes_have_their_matrix_metrics_and_verdicts(made):
    page = written(*run_files.of_three_classes(*made))
    assert "Of 5 covid images: 4 called covid, 1 called normal, 0 called pneumonia." in page.text
    assert "Macro AUROC" in page.text
    assert "normal: shortcut; pneumonia: shortcut." in page.text
    assert sum("for pneumonia against the rest" in image["alt"] for image in page.all("img")) == 1
    assert "pneumonia 5 0.92 0.74 to 0.99 0.84" in page.text
    card = (page.folder / file_names.MODEL_CARD).read_text()
    assert "| pneumonia | 0.92" in card
    assert "| pneumonia | shortcut |" in card


def test_names_in_any_script_are_drawn_without_a_warning(made, recwarn):
    run, details = run_files.of_three_classes(*made, third="肺炎")
    assert "肺炎" in written(run, details).text
    plots.draw_confusion_matrix(run.metrics.test.confusion_matrix, run.environment.dataset.class_names, "肺炎")
    assert [str(one.message) for one in recwarn if "Glyph" in str(one.message)] == []


def test_tables_can_be_read_aloud_and_scrolled_by_keyboard(whole):
    assert all(header.get("scope") for header in whole.all("th"))
    scrolled = [one for _, one in whole.tags if one.get("class") == "scroll"]
    assert len(scrolled) >= 3
    assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in scrolled)


def test_sections_hold_their_numbers(whole):
    text = whole.text
    headings = ("ROC curve", "Reliability diagram", "By prevalence", "Confusion matrices", "Loss and accuracy")
    assert [heading for heading in headings if heading not in text] == []
    assert "source_matched: 7 images" in text
    assert "Images 50 10 88" in text
    assert "0.51 0.40 to 0.60" in text
    assert "Of 5 covid images: 4 called covid, 1 called normal. Of 5 normal images: 2 called covid" in text
    assert "3.0 times" in text
    assert "25 % of a test image's heat" in text
    assert "For 2 of the images" in text
    assert "Not done" not in text


def test_a_search_has_its_numbers(whole):
    assert "tuned recipe" in whole.text
    assert "30 trials (bayesian), of which 1 failed, scored on 5 folds" in whole.text
    assert "of the tutorial's recipe 0.70" in whole.text
    assert "0.85 0.70 to 0.95" in whole.text
    assert "the best of 30 trials by 5 folds" in (whole.folder / file_names.MODEL_CARD).read_text()


def test_a_patient_in_both_splits_is_counted(made):
    run, details = made
    dataset = dataclasses.replace(details.dataset, patients_in_both_splits=4)
    assert "4 patient(s)" in written(run, dataclasses.replace(details, dataset=dataset)).text


def test_without_external_validation_the_section_names_the_command(made):
    assert "Not done. python -m trainer.evaluate" in written(*made).text


def test_undefined_metrics_of_another_dataset_have_their_reason(made):
    run, details = made
    other = run_files.external()
    test = dataclasses.replace(other.metrics.test, auroc=run_files.UNDEFINED)
    other = dataclasses.replace(other, metrics=dataclasses.replace(other.metrics, test=test), predictions=())
    text = written(run, dataclasses.replace(details, external=(other,))).text
    assert f"undefined (n = 3): {run_files.UNDEFINED.because}" in text


def test_a_run_without_mistakes_has_an_empty_gallery(made):
    run, details = made
    saliency = dataclasses.replace(details.saliency, images=details.saliency.images[:2])
    text = written(run, dataclasses.replace(details, saliency=saliency)).text
    mistakes = text.split("mistakes of the cross-validation")[1].split("How typical the test images are")[0]
    assert mistakes.endswith("None. ")


def test_report_json_holds_the_numbers_of_the_page(whole):
    facts = json.loads((whole.folder / file_names.REPORT_JSON).read_text())
    assert facts["metrics"] == to_json(run_files.metrics())
    assert facts["verdict"]["headline"] in whole.text
    assert facts["external"]["source_matched"]["test"]["auroc"]["value"] == 0.51
    assert facts["saliency"] == to_json(run_files.saliency())
    row = next(row for row in facts["predictive_values"] if row["prevalence"] == 0.1)
    assert row["ppv"] == pytest.approx(0.92 * 0.1 / (0.92 * 0.1 + 0.16 * 0.9))
    assert f"10 % {100 * row['ppv']:.1f} % {100 * row['npv']:.1f} %" in whole.text


def test_a_report_from_the_run_folder_is_the_same(tmp_path):
    run, details = run_files.write(tmp_path / "run")
    names = (file_names.REPORT, file_names.REPORT_JSON, file_names.MODEL_CARD)
    write_report(run, details)
    first = [(run.path / name).read_bytes() for name in names]
    write_report(run, load_details(run.path))
    assert [(run.path / name).read_bytes() for name in names] == first


def test_folders_of_the_users_disk_are_not_shown(made):
    run, details = made
    data = DatasetRequest(manual_dir="/home/someone/films")
    config = dataclasses.replace(run.config, data=data, output="/home/someone/runs/first")
    assert "films" in written(dataclasses.replace(run, config=config), details).text
    for name in (file_names.REPORT, file_names.REPORT_JSON, file_names.MODEL_CARD):
        assert "someone" not in (run.path / name).read_text()


def test_rates_count_as_a_threshold_does():
    truth = np.asarray([True, True, False, False])
    p_covid = np.asarray([0.9, 0.4, 0.4, 0.1])
    sensitivity, specificity = svg_charts.compute_rates(truth, p_covid, np.asarray([0.0, 0.4, 0.5, 1.0]))
    np.testing.assert_allclose(sensitivity, [1, 1, 0.5, 0])
    np.testing.assert_allclose(specificity, [0, 0.5, 1, 1])
