"""What the audit finds in drawn images with planted faults."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from covid_tfds import phantom
from covid_tfds.audit import report, text
from covid_tfds.audit.findings import INVALIDATING, NOTE, WARNING
from covid_tfds.examples import FACTS
from tests.fakes.examples import make_examples


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


def examples_of(rows):
    """Images by hand: dicts of `encoded` and of whatever columns the case is about."""
    blank = dict.fromkeys(("patient_id", "split", *FACTS), "") | {"label": "covid", "age": np.nan, "license": "MIT"}
    columns = {name: np.asarray([(blank | row)[name] for row in rows]) for name in blank}
    return make_examples(
        [phantom.LABELS.index(label) for label in columns.pop("label")],
        [row["encoded"] for row in rows],
        image_id=np.asarray([f"image-{n}" for n in range(len(rows))]),
        patient_id=columns.pop("patient_id"),
        split=columns.pop("split"),
        facts=columns,
    )


def sound(drawn_images):
    """Ten drawn images with nothing wrong."""
    return [
        {
            "encoded": png(image),
            "label": phantom.LABELS[index % 2],
            "split": phantom.split_of(index),
            "patient_id": f"patient-{index}",
            "source": "phantom",
            "finding": "drawn opacities" if index % 2 == 0 else "none",
            "view": "PA",
            "sex": "F" if index < 5 else "M",
            "age": 40.0 + index % 5,
        }
        for index, image in enumerate(drawn_images)
    ]


def found(rows):
    """The findings of an audit by what was checked."""
    return {finding.check: finding for finding in report.audit_examples(examples_of(rows)).findings}


def test_nothing_is_found_where_nothing_is_wrong(drawn_images):
    assert found(sound(drawn_images)) == {}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_copy_in_the_other_split_is_found(drawn_images, alteration):
    rows = sound(drawn_images)
    rows.append(
        rows[0] | {"encoded": ALTERATIONS[alteration](drawn_images[0]), "split": "test", "patient_id": "another"}
    )
    findings = found(rows)
    assert list(findings) == ["near-duplicates across splits"]
    near = findings["near-duplicates across splits"]
    assert near.severity == INVALIDATING
    assert [(item["images"], item["splits"]) for item in near.items] == [(["image-0", "image-10"], ["train", "test"])]


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
def test_how_bad_the_same_bytes_twice_are(drawn_images, change, check, severity):
    rows = sound(drawn_images)
    findings = found([*rows, rows[0] | change])
    assert findings[check].severity == severity
    assert not [name for name in findings if name.startswith("near")], "once found is enough"


def test_patients_on_both_sides_and_in_both_classes(drawn_images):
    rows = sound(drawn_images)
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
def test_label_against_finding(drawn_images, label, finding, wrong):
    rows = sound(drawn_images)
    rows[0 if label == "covid" else 1] |= {"finding": finding}
    findings = found(rows)
    assert ("label against finding" in findings) == wrong
    if wrong:
        assert findings["label against finding"].severity == INVALIDATING
        assert [item["finding"] for item in findings["label against finding"].items] == [finding]


def test_views_and_licences(drawn_images):
    rows = sound(drawn_images)
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


def test_facts_known_of_one_class_only(drawn_images):
    rows = [row | ({"age": float("nan"), "sex": ""} if row["label"] == "normal" else {}) for row in sound(drawn_images)]
    assert found(rows)["facts known of one class only"].items == [
        {"fact": "sex", "covid": "5 of 5", "normal": "0 of 5"},
        {"fact": "age", "covid": "5 of 5", "normal": "0 of 5"},
    ]


def test_shortcuts_are_warnings(drawn_images):
    rows = [
        row | ({"encoded": png(image.convert("RGB")), "source": "elsewhere"} if row["label"] == "covid" else {})
        for row, image in zip(sound(drawn_images), drawn_images, strict=True)
    ]
    shortcuts = found(rows)["shortcuts"]
    assert shortcuts.severity == WARNING
    assert shortcuts.items == [
        {"fact": "channels", "association": "Cramér's V 1.00", "right alone": "100%"},
        {"fact": "source", "association": "Cramér's V 1.00", "right alone": "100%"},
    ]
    assert "both classes" in shortcuts.message
    assert "lungs" in shortcuts.message


def test_an_unreadable_image_is_named_and_the_others_are_still_compared(drawn_images):
    rows = sound(drawn_images)
    rows[1] |= {"encoded": rows[1]["encoded"][:2000]}
    rows[2] |= {"encoded": b"<html>"}
    rows.append(rows[0] | {"encoded": jpeg(drawn_images[0], 40), "split": "test", "patient_id": "another"})
    findings = found(rows)
    unreadable = {item["image_id"]: item["problem"] for item in findings["unreadable images"].items}
    assert unreadable.keys() == {"image-1", "image-2"}
    assert "<html>" in unreadable["image-2"]
    assert findings["near-duplicates across splits"].items[0]["images"] == ["image-0", "image-10"]


def test_when_no_image_is_readable():
    broken = [{"encoded": bytes([number]), "label": label} for number, label in enumerate(phantom.LABELS)]
    audit = report.audit_examples(examples_of(broken))
    assert [finding.check for finding in audit.findings] == ["unreadable images"]
    assert "2 of 2 images" in text.to_markdown(audit)
