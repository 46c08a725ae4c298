"""The audit: what it finds in the real configs and in drawn films with planted faults, and how it answers its user."""

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from covid_tfds import manifest, phantom
from covid_tfds.audit import pictures, report
from covid_tfds.audit.__main__ import main
from covid_tfds.audit.collection import TEXTS, Collection
from covid_tfds.audit.findings import INVALIDATING, NOTE, WARNING

ROOT = Path(__file__).parents[1]


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def turned_darkened_small_jpeg(image):
    turned = image.rotate(-2, Image.Resampling.BILINEAR)
    return jpeg(ImageEnhance.Brightness(turned).enhance(0.8).resize((300, 300)), 50)


ALTERATIONS = {
    "re-encoded": lambda image: jpeg(image, 30),
    "resized": lambda image: png(image.resize((224, 224))),
    "turned": lambda image: png(image.rotate(2, Image.Resampling.BILINEAR)),
    "brighter": lambda image: png(ImageEnhance.Brightness(image).enhance(1.2)),
    "trimmed": lambda image: png(image.crop((0, 0, round(0.87 * image.width), image.height))),
    "padded": lambda image: png(
        image.crop((-image.width // 20, -image.height // 20, image.width * 21 // 20, image.height * 21 // 20))
    ),
    "several": turned_darkened_small_jpeg,
}


@pytest.fixture(scope="module")
def films():
    return [Image.fromarray(phantom.draw(index).image) for index in range(10)]


def collection(rows):
    """Images by hand: dicts of `encoded` and of whatever columns the case is about."""
    blank = dict.fromkeys((*TEXTS, "split"), "") | {"label": "covid", "age": float("nan"), "license": "MIT"}
    table = pd.DataFrame([blank | {"image_id": f"film-{n}"} | row for n, row in enumerate(rows)])
    return Collection(
        name="made up",
        version="1",
        description="",
        class_names=("covid", "normal"),
        table=table.drop(columns="encoded"),
        encoded=lambda: iter(table.encoded),
    )


def sound(films):
    """Ten drawn films with nothing wrong."""
    return [
        {
            "encoded": png(film),
            "label": phantom.LABELS[index % 2],
            "split": phantom.split(index),
            "patient_id": f"patient-{index}",
            "source": "phantom",
            "finding": "drawn opacities" if index % 2 == 0 else "none",
            "view": "PA",
            "sex": "F" if index < 5 else "M",
            "age": 40.0 + index % 5,
        }
        for index, film in enumerate(films)
    ]


def found(rows):
    """The findings of an audit by what was checked."""
    return {finding.check: finding for finding in report.audit(collection(rows)).findings}


def test_nothing_is_found_where_nothing_is_wrong(films):
    assert found(sound(films)) == {}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_in_the_other_split_is_found(films, alteration):
    rows = sound(films)
    rows.append(rows[0] | {"encoded": ALTERATIONS[alteration](films[0]), "split": "test", "patient_id": "another"})
    findings = found(rows)
    assert list(findings) == ["near-duplicates across splits"]
    near = findings["near-duplicates across splits"]
    assert near.severity == INVALIDATING
    assert [(item["images"], item["splits"]) for item in near.items] == [(["film-0", "film-10"], ["train", "test"])]


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        ({"split": "test", "patient_id": "another"}, "exact duplicates across splits", INVALIDATING),
        ({"label": "normal", "finding": "none"}, "exact duplicates under two labels", INVALIDATING),
        ({"patient_id": "another"}, "exact duplicates of two patients", WARNING),
        ({}, "exact duplicates of one patient", NOTE),
        ({"patient_id": "another", "split": ""}, "exact duplicates across splits", INVALIDATING),
    ],
)
def test_how_bad_the_same_bytes_twice_are(films, change, check, severity):
    rows = sound(films)
    findings = found([*rows, rows[0] | change])
    assert findings[check].severity == severity
    assert not [name for name in findings if name.startswith("near")], "once found is enough"


def test_patients_on_both_sides_and_in_both_classes(films):
    rows = sound(films)
    rows[8] |= {"patient_id": "patient-0"}
    rows[3] |= {"patient_id": "patient-2"}
    findings = found(rows)
    both_sides = findings["patients on both sides"]
    assert both_sides.severity == INVALIDATING
    assert both_sides.items == [{"patient_id": "patient-0", "train": 1, "test": 1}]
    assert "1 of the 2 test images" in both_sides.message
    assert findings["patients in both classes"].severity == WARNING
    assert findings["patients in both classes"].items == [{"patient_id": "patient-2", "covid": 1, "normal": 1}]
    assert findings["several images of a patient"].severity == NOTE


@pytest.mark.parametrize(
    ("label", "finding", "wrong"),
    [
        ("normal", "Pneumonia, bacteria", True),
        ("normal", "COVID-19", True),
        ("covid", "SARS", True),
        ("covid", "No Finding", True),
        ("normal", "Normal", False),
        ("normal", "No Finding", False),
        ("covid", "COVID-19, ARDS", False),
        ("covid", "", False),
        ("normal", "", False),
    ],
)
def test_label_against_finding(films, label, finding, wrong):
    rows = sound(films)
    rows[0 if label == "covid" else 1] |= {"finding": finding}
    findings = found(rows)
    assert ("label against finding" in findings) == wrong
    if wrong:
        assert findings["label against finding"].severity == INVALIDATING
        assert [item["finding"] for item in findings["label against finding"].items] == [finding]


def test_views_and_licences(films):
    rows = sound(films)
    rows[0] |= {"view": "AP", "patient_id": "twice"}
    rows[2] |= {"patient_id": "twice", "license": ""}
    findings = found(rows)
    assert findings["view changes within a patient"].items == [{"patient_id": "twice", "views": "AP, PA"}]
    assert findings["mixed views"].items == [
        {"label": "covid", "AP": 1, "PA": 4},
        {"label": "normal", "AP": 0, "PA": 5},
    ]
    assert findings["missing licences"].items == [{"class": "covid", "without a licence": 1}]
    assert all(finding.severity != INVALIDATING for finding in findings.values())


def test_facts_known_of_one_class_only(films):
    rows = [row | ({"age": float("nan"), "sex": ""} if row["label"] == "normal" else {}) for row in sound(films)]
    assert found(rows)["facts known of one class only"].items == [
        {"fact": "sex", "covid": "5 of 5", "normal": "0 of 5"},
        {"fact": "age", "covid": "5 of 5", "normal": "0 of 5"},
    ]


def test_shortcuts_are_warnings(films):
    rows = [
        row | ({"encoded": png(film.convert("RGB")), "source": "elsewhere"} if row["label"] == "covid" else {})
        for row, film in zip(sound(films), films, strict=True)
    ]
    shortcuts = found(rows)["shortcuts"]
    assert shortcuts.severity == WARNING
    assert shortcuts.items == [
        {"fact": "channels", "association": "Cramér's V 1.00", "right alone": "100%"},
        {"fact": "source", "association": "Cramér's V 1.00", "right alone": "100%"},
    ]
    assert "no source holds both classes" in shortcuts.message
    assert "lungs" in shortcuts.message


def test_an_unreadable_image_is_named_and_the_others_are_still_compared(films):
    rows = sound(films)
    rows[1] |= {"encoded": rows[1]["encoded"][:2000]}
    rows[2] |= {"encoded": b"<html>"}
    rows.append(rows[0] | {"encoded": jpeg(films[0], 40), "split": "test", "patient_id": "another"})
    findings = found(rows)
    unreadable = {item["image_id"]: item["problem"] for item in findings["unreadable images"].items}
    assert unreadable.keys() == {"film-1", "film-2"}
    assert unreadable["film-2"] == "no kind of image that is known here"
    assert findings["near-duplicates across splits"].items[0]["images"] == ["film-0", "film-10"]


def test_when_no_image_is_readable():
    broken = [{"encoded": bytes([number]), "label": label} for number, label in enumerate(phantom.LABELS)]
    audit = report.audit(collection(broken))
    assert [finding.check for finding in audit.findings] == ["unreadable images"]
    assert "2 of 2 images cannot be decoded" in report.to_markdown(audit)


def invalidating(folder):
    content = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    findings = {finding["check"]: finding for finding in content["findings"]}
    return content, {check for check, finding in findings.items() if finding["severity"] == INVALIDATING}, findings


def test_as_published(manual_dir, tmp_path, capsys):
    arguments = ["--config", "as_published", "--manual_dir", str(manual_dir), "--data_dir", str(tmp_path / "data")]
    assert main([*arguments, "--output", str(tmp_path / "audit")]) == 1
    content, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == {"label against finding", "patients on both sides"}

    rows = manifest.load("as_published")
    mislabelled = {row.image_id for row in rows if row.path.rpartition("/")[2].startswith("person")}
    assert len(mislabelled) == 18
    assert {item["image_id"] for item in findings["label against finding"]["items"]} == mislabelled
    sides = [{row.patient_id for row in rows if row.split == split} for split in ("train", "test")]
    leaking = {item["patient_id"] for item in findings["patients on both sides"]["items"]}
    assert leaking == sides[0] & sides[1] == {"ieee8023-4", "ieee8023-6", "ieee8023-13"}

    channels = next(fact for fact in content["by_class"] if fact["fact"] == "channels")
    assert channels["values"] == {"covid": {"3": 24, "1": 1}, "normal": {"1": 23, "3": 2}}
    assert channels["right_alone"] == 0.94
    assert "NOT VALID: 2 findings" in capsys.readouterr().out


@pytest.mark.parametrize("config", ["phantom", "curated", "source_matched"])
def test_nothing_invalidating_in_the_other_configs(config, request, tmp_path, capsys):
    arguments = ["--config", config, "--data_dir", str(tmp_path / "data"), "--output", str(tmp_path / "audit")]
    if config != "phantom":
        arguments += ["--manual_dir", str(request.getfixturevalue("manual_dir"))]
    assert main(arguments) == 0
    _, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == set()
    assert not [check for check in findings if "duplicates" in check]
    assert ("shortcuts" in findings) == (config == "curated")
    assert ("views corrected by the publisher" in findings) == (config == "curated")
    assert ("missing licences" in findings) == (config != "phantom")
    assert "Nothing found that invalidates" in capsys.readouterr().out


def test_corrections_are_what_the_publisher_says_now(manual_dir):
    source = manual_dir / "covid-chestxray-dataset"
    with (manifest.FOLDER / "corrections.csv").open(encoding="utf-8") as file:
        corrections = pd.read_csv(file)
    (revision,) = corrections.revision.unique()
    later = pd.read_csv(source / revision / "metadata.csv").drop_duplicates("filename").set_index("filename")
    expected = {
        (row.sha256, row.view, later.view[row.file_name])
        for row in manifest.load("curated") + manifest.load("as_published")
        if row.file_name in later.index and later.view[row.file_name] != row.view
    }
    assert expected == set(zip(corrections.sha256, corrections.published, corrections.corrected, strict=True))
    assert len(expected) == len(corrections) == 4
    assert set(corrections.field) == {"view"}


@pytest.fixture
def folder(films, tmp_path):
    """The films in the layout of --dataset."""
    for index, film in enumerate(films):
        file = tmp_path / "hospital" / phantom.LABELS[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        film.save(file)
    return tmp_path / "hospital"


def test_a_folder(folder, tmp_path, capsys):
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 0
    content, _, findings = invalidating(tmp_path / "audit")
    assert findings == {}
    assert content["images"] == 10
    assert content["groups"] == [{"class": "covid", "images": 5}, {"class": "normal", "images": 5}]
    assert any("splits" in words for words in content["not_checked"])
    assert "patients.csv" in capsys.readouterr().out


def test_a_folder_with_a_film_twice_shows_the_pair(folder, films, tmp_path):
    (folder / "normal" / "copy.jpg").write_bytes(jpeg(films[0], 60))
    (folder / "covid" / "copy.jpg").write_bytes(jpeg(films[2], 60))
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 1
    _, wrong, findings = invalidating(tmp_path / "audit")
    assert wrong == {"near-duplicates under two labels"}
    assert findings["near-duplicates under two labels"]["items"][0]["images"] == ["covid/0.png", "normal/copy.jpg"]
    assert findings["near-duplicates within a class"]["severity"] == WARNING
    text = (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")
    pictures = sorted(file.name for file in (tmp_path / "audit").glob("*.png"))
    assert len(pictures) == 2
    assert all(f"({name})" in text for name in pictures)


def test_patients_csv_says_whose_films_they_are(folder, tmp_path):
    files = sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*.png"))
    table = pd.DataFrame({"path": files, "patient_id": ["both", *"12345678", "both"]})
    table.to_csv(folder / "patients.csv", index=False)
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audit")]) == 0
    content, _, findings = invalidating(tmp_path / "audit")
    assert content["patients"] == 9
    assert findings["patients in both classes"]["items"] == [{"patient_id": "both", "covid": 1, "normal": 1}]


def test_bad_usage_is_one_line_and_leaves_nothing(folder, tmp_path, capsys):
    def refused(*arguments):
        before = sorted(tmp_path.rglob("*"))
        assert main([*arguments]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.count("\n") == 1
        return output.err

    new = ("--output", str(tmp_path / "audit"))
    assert "no such folder" in refused("--dataset", str(tmp_path / "typo"), *new)
    assert "no such folder" in refused("--manual_dir", str(tmp_path / "typo"), *new)
    assert "got the class folders [hospital]" in refused("--dataset", str(tmp_path), *new)
    assert "exists" in refused("--dataset", str(folder), "--output", str(folder))
    in_a_file = folder / "covid" / "0.png" / "audit"
    assert "0.png" in refused("--dataset", str(folder), "--output", str(in_a_file))
    (folder / "patients.csv").write_text("file,who\n")
    assert "path,patient_id" in refused("--dataset", str(folder), *new)
    (folder / "patients.csv").write_text("path,patient_id\ncovid/0.png,1\n")
    assert "9 of the images" in refused("--dataset", str(folder), *new)
    (folder / "patients.csv").write_bytes(b"path,patient_id\n\xff\xfe,1\n")
    assert "UTF-8" in refused("--dataset", str(folder), *new)


def test_a_full_disk_leaves_no_half_an_audit(folder, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pictures, "save", full)
    assert main(["--dataset", str(folder), "--output", str(tmp_path / "audits" / "one")]) == 2
    assert capsys.readouterr().err.endswith("one: No space left on device\n")
    assert list((tmp_path / "audits").iterdir()) == []


def test_a_folder_needs_no_tensorflow_and_help_no_pandas(folder, tmp_path):
    program = f"""
import sys
from covid_tfds.audit.__main__ import main, parser
assert "--manual_dir" in parser().format_help()
assert not {{"tensorflow", "pandas"}} & set(sys.modules)
assert main(["--dataset", {str(folder)!r}, "--output", {str(tmp_path / "audit")!r}]) == 0
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
