"""The manifests against their rules, against upstream's metadata and against the real bytes."""

import csv
import zlib
from collections import Counter, defaultdict
from hashlib import sha256

import pandas as pd
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from covid_tfds.sources import manifest

TEST_IMAGES_PER_CLASS = {"curated": 5, "source_matched": 9}
COUNTS = {
    "curated": {("covid", "train"): 20, ("normal", "train"): 20, ("covid", "test"): 5, ("normal", "test"): 5},
    "source_matched": {("covid", "train"): 35, ("other", "train"): 35, ("covid", "test"): 9, ("other", "test"): 9},
    "as_published": {("covid", "train"): 20, ("normal", "train"): 20, ("covid", "test"): 5, ("normal", "test"): 5},
}
NAMES = list(COUNTS)


@pytest.mark.parametrize("name", NAMES)
def test_counts(name):
    assert Counter((row.label, row.split) for row in manifest.read_manifest(name)) == COUNTS[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["image_id", "path", "file_name", "sha256"])
def test_every_image_once(name, field):
    values = [getattr(row, field) for row in manifest.read_manifest(name)]
    assert len(set(values)) == len(values)


def split_by_patient(rows, test_images_per_class, seed=42):
    """The rule of the `split` column: no patient on both sides, and an exact number of test images in each class.

    Within each class the patients are ordered by the SHA-256 of "<seed>:<patient_id>", which is random with regard to
    the images and the same on every machine. In that order whole patients go to the test split as long as they fit.
    """
    images_of = defaultdict(lambda: defaultdict(list))
    for row in rows:
        images_of[row.label][row.patient_id].append(row.image_id)
    split = {row.image_id: "train" for row in rows}
    for of_patient in images_of.values():
        places = test_images_per_class
        for patient in sorted(of_patient, key=lambda name: sha256(f"{seed}:{name}".encode()).hexdigest()):
            if len(of_patient[patient]) <= places:
                places -= len(of_patient[patient])
                split |= dict.fromkeys(of_patient[patient], "test")
        assert places == 0, "whole patients do not add up to that number"
    return split


@pytest.mark.parametrize("name", TEST_IMAGES_PER_CLASS)
def test_split_follows_its_rule(name):
    rows = manifest.read_manifest(name)
    pinned = {row.image_id: row.split for row in rows}
    assert split_by_patient(rows, TEST_IMAGES_PER_CLASS[name]) == pinned
    assert split_by_patient(rows, TEST_IMAGES_PER_CLASS[name], seed=43) != pinned
    assert split_by_patient(rows[::-1], TEST_IMAGES_PER_CLASS[name]) == pinned, "the order of the rows counts"


def test_split_of_as_published_is_the_tutorials():
    rows = manifest.read_manifest("as_published")
    labels = [row.label for row in rows]
    train, test = train_test_split([row.image_id for row in rows], test_size=0.2, stratify=labels, random_state=42)
    pinned = {row.image_id: row.split for row in rows}
    assert dict.fromkeys(train, "train") | dict.fromkeys(test, "test") == pinned


def patients(rows, split):
    return {row.patient_id for row in rows if row.split == split}


@pytest.mark.parametrize("name", TEST_IMAGES_PER_CLASS)
def test_no_patient_on_both_sides(name):
    rows = manifest.read_manifest(name)
    assert not patients(rows, "train") & patients(rows, "test")


def test_what_the_readme_says_of_as_published_is_true():
    rows = manifest.read_manifest("as_published")
    normal = [row for row in rows if row.label == "normal"]
    assert sum(row.finding.startswith("Pneumonia") for row in normal) == 18
    assert len(normal) == 25
    assert patients(rows, "train") & patients(rows, "test")


def test_one_image_a_patient_and_one_repository_in_source_matched():
    rows = manifest.read_manifest("source_matched")
    assert len({row.patient_id for row in rows}) == len(rows) == 88
    assert {row.source for row in rows} == {"covid-chestxray-dataset"}


def upstream(manual_dir, revision):
    folder = manual_dir / "covid-chestxray-dataset" / revision
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    # The spelling of the column names changed between the two commits.
    return folder, [{key.strip().lower(): value.strip() for key, value in line.items() if key} for line in lines]


def test_covid_half_of_curated_follows_the_tutorials_rule(manual_dir):
    covid = [row for row in manifest.read_manifest("curated") if row.label == "covid"]
    (revision,) = {row.revision for row in covid}
    assert revision == "1edfb79665bfd75fcf88ce02815b9860e500e064"
    folder, metadata = upstream(manual_dir, revision)
    by_rule = [
        path
        for entry in metadata
        if (entry["finding"], entry["view"]) == ("COVID-19", "PA")
        and (folder / (path := f"images/{entry['filename']}")).is_file()
    ]
    assert [row.path for row in covid] == by_rule
    assert len(metadata) > len(by_rule) == 25


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_never_contradicts_upstream(name, manual_dir):
    rows = [row for row in manifest.read_manifest(name) if row.revision]
    assert len(rows) >= 25
    _, metadata = upstream(manual_dir, rows[0].revision)
    for row in rows:
        entries = [entry for entry in metadata if entry["filename"] == row.file_name]
        # Upstream lists some files twice, under two patient numbers; the manifests have each once.
        assert row.patient_id in {f"ieee8023-{entry['patientid']}" for entry in entries}
        for entry in entries:
            assert (row.finding, row.view) == (entry["finding"], entry["view"])
            # Where this commit says nothing, the manifest may hold what upstream added later.
            assert entry["sex"] in ("", row.sex)
            assert entry["doi"] in ("", row.doi)
            assert entry["age"] == "" or float(entry["age"]) == row.age
            assert entry["offset"] == "" or float(entry["offset"]) == row.offset_days


@pytest.mark.parametrize("name", NAMES)
def test_real_bytes_are_those_of_the_manifest(name, manual_dir):
    for row in manifest.read_manifest(name):
        file = manual_dir / row.source / row.revision / row.path
        data = file.read_bytes()
        assert (len(data), f"{zlib.crc32(data):08x}", sha256(data).hexdigest()) == (row.bytes, row.crc32, row.sha256)
        with Image.open(file) as image:
            assert (*image.size, image.mode) == (row.width, row.height, row.mode)


def test_corrections_are_what_the_publisher_says_now(manual_dir):
    source = manual_dir / "covid-chestxray-dataset"
    with (manifest.FOLDER / "corrections.csv").open(encoding="utf-8") as file:
        corrections = pd.read_csv(file)
    (revision,) = corrections.revision.unique()
    later = pd.read_csv(source / revision / "metadata.csv").drop_duplicates("filename").set_index("filename")
    expected = {
        (row.sha256, row.view, later.view[row.file_name])
        for row in manifest.read_manifest("curated") + manifest.read_manifest("as_published")
        if row.file_name in later.index and later.view[row.file_name] != row.view
    }
    assert expected == set(zip(corrections.sha256, corrections.published, corrections.corrected, strict=True))
    assert len(expected) == len(corrections) == 4
    assert set(corrections.field) == {"view"}
