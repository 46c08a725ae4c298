"""`kermany_covid_full`: what is in it, whose it is, where its files may lie, and the Beam build itself."""

import re
import shutil
import subprocess
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow_datasets as tfds

import covid_tfds
from covid_tfds.kermany_full import listing, pipeline, places
from covid_tfds.sources import manifest
from tests.fakes.kermany_full import covid, expect, image, kermany, lay_out, metadata, metadata_row

CONFIG = "kermany_covid_full"


def manager(tmp_path):
    return tfds.download.DownloadManager(download_dir=tmp_path / "downloads")


def in_memory(files: dict[str, bytes], folder: Path) -> places.Files:
    """Files written below `folder`, as `places` gives them."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {name: places.Place("", str(folder / name), len(data)) for name, data in files.items()}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A user's folder with 12 COVID-19 images of 6 patients and 36 of the other publisher."""
    covid_files, kermany_files = covid(12), kermany(36)
    expect(monkeypatch, covid_files, kermany_files)
    return lay_out(tmp_path / "manual", covid_files, kermany_files)


def build(tree, tmp_path, num_shards=None, **options):
    builder = covid_tfds.Builder(config=CONFIG, data_dir=tmp_path / "data")
    flags = beam.options.pipeline_options.PipelineOptions(runner="FnApiRunner", **options)
    download = tfds.download.DownloadConfig(manual_dir=tree, beam_options=flags, num_shards=num_shards)
    builder.download_and_prepare(download_config=download)
    return builder


def examples(builder):
    skip = {"image": tfds.decode.SkipDecoding()}
    return {split: list(tfds.as_numpy(builder.as_dataset(split=split, decoders=skip))) for split in builder.info.splits}


def test_the_split_is_by_patient_and_pinned():
    assert [listing.split_by_hash(f"ieee8023-{n}") for n in (2, 4, 14)] == ["train", "validation", "train"]
    shares = Counter(listing.split_by_hash(f"kermany-person{n}") for n in range(5000))
    assert shares.keys() == {"train", "validation", "test"}
    assert abs(shares["train"] / 5000 - 0.8) < 0.02
    assert abs(shares["test"] / 5000 - 0.1) < 0.02


def test_only_frontal_covid_radiographs_are_listed(tmp_path):
    listed = listing.list_images(in_memory(covid(12), tmp_path), _all_kermany(tmp_path))
    features = [image.features for image in listed if image.features["label"] == "covid"]
    assert len(features) == 12
    assert {each["view"] for each in features} == {"PA", "AP", "AP Supine"}
    assert len({each["patient_id"] for each in features}) == 6


def _all_kermany(folder):
    """As many names as the publisher has, all on one tiny file: they are listed, not read."""
    file = folder / "x.jpeg"
    file.write_bytes(b"x")
    return {
        f"train/{label}/person{n}_virus_{n}.jpeg": places.Place("", str(file), n + 10_000_000)
        for label, count in listing.KERMANY_COUNTS.items()
        for n in range(count)
    }


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("IM-0115-0001", "IM-0115"),
        ("IM-0033-0001-0001", "IM-0033"),
        ("NORMAL2-IM-0315-0001", "NORMAL2-IM-0315"),
        ("person1_bacteria_2", "person1"),
        ("BACTERIA-1008087-0001", "1008087"),
    ],
)
def test_patients_are_named_as_in_the_manifests(name, patient, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "KERMANY_COUNTS", {"NORMAL": 1})
    files = in_memory({f"train/NORMAL/{name}.jpeg": b"x"}, tmp_path / "kermany")
    (listed,) = listing.list_images(in_memory({"metadata.csv": metadata([])}, tmp_path), files)
    assert listed.features["patient_id"] == f"kermany-{patient}"


def test_every_image_of_the_manifests_gets_their_patient_and_hash(manual_dir, tmp_path, monkeypatch):
    rows = [row for name in ("curated", "as_published", "source_matched") for row in manifest.read_manifest(name)]
    archive = {
        row.path.removeprefix("chest_xray/"): places.Place("", str(manual_dir / row.source / row.path), row.bytes)
        for row in rows
        if row.source == listing.KERMANY
    }
    monkeypatch.setattr(listing, "KERMANY_COUNTS", dict(Counter(path.split("/")[1] for path in archive)))
    folder = manual_dir / listing.COVID / places.COMMIT
    repository = {"metadata.csv": places.Place("", str(folder / "metadata.csv"), 0)}
    wanted = set(re.findall(r"[^,\n]+\.(?:jpe?g|png)", (folder / "metadata.csv").read_text(encoding="utf-8"), re.I))
    repository |= {f"images/{name}": places.Place("", "", index + 1) for index, name in enumerate(sorted(wanted))}
    listed = {image.features["image_id"]: image for image in listing.list_images(repository, archive)}
    assert Counter(each.features["label"] for each in listed.values())["covid"] == 434
    expected = [row for row in rows if row.revision in ("", places.COMMIT) and row.label != "other"]
    assert len(expected) > 60
    on_one_page = {"ieee8023-213": "ieee8023-212"}  # Eurorad's case 16745
    for row in expected:
        found = listed[row.path.removeprefix("chest_xray/")]
        assert found.features["patient_id"] == on_one_page.get(row.patient_id, row.patient_id)
        assert found.features["finding"] == row.finding
        assert found.published.sha256 == row.sha256


def test_a_person_under_two_numbers_is_one_patient(tmp_path, monkeypatch):
    page = "https://www.eurorad.org/case/16745"
    rows = [
        metadata_row(patientid="7", filename="a.jpg", url=page),
        metadata_row(patientid="8", filename="b.jpg", url=f"{page}?lang=us"),
        metadata_row(patientid="9", filename="c.jpg"),
        metadata_row(patientid="5", filename="d.jpg"),
        metadata_row(patientid="6", filename="e.jpg"),
    ]
    same = image(1)
    contents = {"a.jpg": image(2), "b.jpg": same, "c.jpg": same, "d.jpg": image(3), "e.jpg": image(4)}
    monkeypatch.setattr(listing, "KERMANY_COUNTS", {})
    files = in_memory({"metadata.csv": metadata(rows)} | {f"images/{k}": v for k, v in contents.items()}, tmp_path)
    patients = {listed.features["image_id"]: listed.features["patient_id"] for listed in listing.list_images(files, {})}
    # a and b by their page, b and c by their bytes.
    assert [patients[f"images/{name}.jpg"] for name in "abc"] == ["ieee8023-7"] * 3
    assert [patients[f"images/{name}.jpg"] for name in "de"] == ["ieee8023-5", "ieee8023-6"]


def test_two_workers_build_shards_with_the_bytes_untouched(tree, tmp_path):
    builder = build(tree, tmp_path, num_shards=2, direct_num_workers=2, direct_running_mode="multi_processing")
    assert len(builder.info.splits["train"].filenames) == 2
    assert builder.info.features["label"].names == ["covid", "normal", "pneumonia"]
    found = examples(builder)
    everything = [example for split in found.values() for example in split]
    labels = Counter(int(example["label"]) for example in everything)
    assert labels == {0: 12, 1: 12, 2: 24}
    originals = {**covid(12), **kermany(36)}
    for split, members in found.items():
        for example in members:
            assert example["image"] == originals[example["image_id"].decode()]
            assert sha256(example["image"]).hexdigest() == example["sha256"].decode()
            assert listing.split_by_hash(example["patient_id"].decode()) == split
    assert builder.info.metadata["covid"] == 12
    assert builder.info.metadata["bytes"] == sum(len(example["image"]) for example in everything)
    again = covid_tfds.Builder(config=CONFIG, data_dir=tmp_path / "data")
    assert again.info.metadata["pneumonia"] == 24, "what was counted stays with the dataset"


def test_bad_files_are_named_all_of_them_and_nothing_is_left(tree, tmp_path, monkeypatch):
    images = tree / "covid-chestxray-dataset" / places.COMMIT / "images"
    archive = tree / "chest-xray-pneumonia" / "chest_xray"
    (images / "image-0.jpg").write_bytes((images / "image-0.jpg").read_bytes()[:-40])
    (images / "image-1.png").write_bytes(b"<html>not found</html>")
    name = next(archive.glob("*/NORMAL/*"))
    row = manifest.read_manifest("curated")[-1]
    known = [row.__class__(**{**row.__dict__, "path": f"chest_xray/{name.relative_to(archive).as_posix()}"})]
    monkeypatch.setattr(manifest, "read_manifest", lambda config: known if config == "curated" else [])
    with pytest.raises(covid_tfds.SourceError, match=r"^3 images") as error:
        build(tree, tmp_path)
    message = str(error.value)
    assert re.search(r"image-0\.jpg: .*truncated", message)
    assert re.search(r"image-1\.png: .*JPEG or PNG", message)
    assert re.search(rf"{name.name}: truncated, \d+ of {row.bytes} bytes", message)
    assert not covid_tfds.Builder(config=CONFIG, data_dir=tmp_path / "data").is_prepared()
    assert not list((tmp_path / "data").glob("covid_tfds/*/*incomplete*"))


def test_missing_images_are_named_before_anything_is_built(tree, tmp_path):
    (tree / "covid-chestxray-dataset" / places.COMMIT / "images" / "image-3.jpg").unlink()
    with pytest.raises(covid_tfds.SourceError, match=r"\b1 of the 12\b.*metadata\.csv.*images/image-3\.jpg"):
        build(tree, tmp_path)


def test_an_incomplete_archive_is_refused_with_its_counts(tree, tmp_path):
    next((tree / "chest-xray-pneumonia" / "chest_xray").glob("train/NORMAL/*")).unlink()
    with pytest.raises(covid_tfds.SourceError, match=r"11 NORMAL .*24 PNEUMONIA.*12 NORMAL"):
        build(tree, tmp_path)


def test_the_publishers_counts_are_the_documented_ones():
    assert sum(listing.KERMANY_COUNTS.values()) == 5856


def zip_of(files: dict[str, bytes], path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(prefix + name, data)
    return path


def test_zips_are_read_without_unpacking(tmp_path, monkeypatch):
    covid_files, kermany_files = covid(4), kermany(6)
    expect(monkeypatch, covid_files, kermany_files)
    user = tmp_path / "manual"
    user.mkdir()
    zip_of(covid_files, user / "downloaded.zip", prefix=f"covid-chestxray-dataset-{places.COMMIT}/")
    # As Kaggle's: the tree twice, and macOS's shadows of the files.
    nested = {f"chest_xray/chest_xray/{name}": data for name, data in kermany_files.items()}
    shadows = {f"__MACOSX/chest_xray/{name.rpartition('/')[0]}/._x.jpeg": b"" for name in kermany_files}
    zip_of({f"chest_xray/{n}": d for n, d in kermany_files.items()} | nested | shadows, user / "archive.zip")
    repository, archive = (
        places.find_covid_files(manager(tmp_path), user),
        places.find_kermany_files(manager(tmp_path), user),
    )
    for name, data in kermany_files.items():
        assert places.read_file(archive[name]) == data
    assert archive.keys() == kermany_files.keys()
    assert all(places.read_file(repository[name]) == data for name, data in covid_files.items())


def test_a_clone_gives_the_pinned_commit_whatever_is_checked_out(tmp_path, monkeypatch):
    files = covid(3)
    expect(monkeypatch, files, {})
    clone = tmp_path / "manual" / "clone"
    in_memory(files, clone)

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", clone, *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "pinned")
    monkeypatch.setattr(places, "COMMIT", git("rev-parse", "HEAD"))
    shutil.rmtree(clone / "images")
    (clone / "metadata.csv").write_text("another\n", encoding="utf-8")
    git("commit", "-q", "-a", "-m", "later")
    found = places.find_covid_files(manager(tmp_path), tmp_path / "manual")
    assert {name: places.read_file(place) for name, place in found.items() if not name.endswith("/")} == files


def test_another_zip_under_mendeleys_name_is_refused(tmp_path):
    user = tmp_path / "manual"
    user.mkdir()
    zip_of(kermany(6), user / "ChestXRay2017.zip")
    with pytest.raises(covid_tfds.SourceError, match=r"ChestXRay2017\.zip.*sha256.*13efc0"):
        places.find_kermany_files(manager(tmp_path), user)


def test_without_copies_and_network_one_error_tells_the_address(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "COVID_ARCHIVE", "http://127.0.0.1:9/archive.zip")
    monkeypatch.setattr("covid_tfds.sources.network.ALLOWED_ADDRESSES", ("http://127.0.0.1:9",))
    with pytest.raises(covid_tfds.SourceError, match=r"127\.0\.0\.1:9/archive\.zip.*--manual_dir"):
        places.find_covid_files(manager(tmp_path), None)


def test_the_publishers_archive_is_downloaded_once_and_then_kept(tmp_path, monkeypatch, publisher):
    from tests.fakes.publisher import Reply

    files = covid(3)
    expect(monkeypatch, files, {})
    data = zip_of(files, tmp_path / "made.zip", prefix="repository-abc/").read_bytes()
    monkeypatch.setattr(places, "COVID_ARCHIVE", f"{publisher.address}/archive.zip")
    publisher.replies["/archive.zip"] = Reply(data)
    for _ in range(2):
        found = places.find_covid_files(manager(tmp_path), None)
        assert places.read_file(found["images/image-1.png"]) == files["images/image-1.png"]
        # The second time there is no network.
        monkeypatch.setattr(
            "covid_tfds.sources.network.find_unreachable", lambda addresses: dict.fromkeys(addresses, "gone")
        )
    assert publisher.requests == ["/archive.zip"]


def test_a_bare_tfds_build_does_not_build_it_and_a_named_one_does(tree, tmp_path):
    from tensorflow_datasets.scripts.cli import build as command
    from tensorflow_datasets.scripts.cli import main as cli

    root = str(Path(__file__).parents[3] / "covid_tfds")
    names = []
    for more in ([], ["--config", CONFIG]):
        arguments = ["tfds", "build", root, "--data_dir", str(tmp_path / "data"), "--manual_dir", str(tree), *more]
        parsed = cli._parse_flags(
            [*arguments, "--beam_pipeline_options=runner=FnApiRunner,direct_num_workers=1", "--num_shards=2"]
        )
        builders = command._make_builders(parsed.command, covid_tfds.Builder, {})
        names.append([builder.builder_config.name for builder in builders])
    assert CONFIG not in names[0]
    assert names[1] == [CONFIG]
    parsed.execute()
    read = tfds.builder(f"covid_tfds/{CONFIG}", data_dir=tmp_path / "data")
    assert read.info.splits.total_num_examples == 48


@pytest.mark.trial
def test_some_thousand_images_by_two_workers(tmp_path, monkeypatch):
    covid_files, kermany_files = covid(400), kermany(5600)
    expect(monkeypatch, covid_files, kermany_files)
    tree = lay_out(tmp_path / "manual", covid_files, kermany_files)
    builder = build(tree, tmp_path, num_shards=8, direct_num_workers=2, direct_running_mode="multi_processing")
    found = examples(builder)
    assert sum(map(len, found.values())) == 6000
    assert len({example["sha256"] for split in found.values() for example in split}) == 6000
    patients = [{example["patient_id"] for example in split} for split in found.values()]
    assert len(set.union(*patients)) == sum(map(len, patients))


@pytest.mark.slow
def test_the_real_subset(manual_dir, tmp_path, monkeypatch):
    """What is here of both publishers, taken for all there is."""
    tree = tmp_path / "manual"
    repository = manual_dir / listing.COVID / places.COMMIT
    here = {file.name for file in (repository / "images").iterdir()}
    kept = tree / listing.COVID / places.COMMIT
    kept.mkdir(parents=True)
    (kept / "images").symlink_to(repository / "images")
    header, *rows = (repository / "metadata.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept_rows = [row for row in rows if any(f",{name}," in row for name in here)]
    (kept / "metadata.csv").write_text(header + "".join(kept_rows), encoding="utf-8")
    monkeypatch.setattr(places, "METADATA_SHA256", sha256((kept / "metadata.csv").read_bytes()).hexdigest())
    (tree / listing.KERMANY).symlink_to(manual_dir / listing.KERMANY)
    files = list((manual_dir / listing.KERMANY).rglob("*.jpeg"))
    monkeypatch.setattr(listing, "KERMANY_COUNTS", dict(Counter(file.parent.name for file in files)))
    builder = build(tree, tmp_path)
    found = [example for split in examples(builder).values() for example in split]
    known = {
        row.sha256 for name in ("curated", "as_published", "source_matched") for row in manifest.read_manifest(name)
    }
    assert len(found) == 44 + len(files)
    assert {example["sha256"].decode() for example in found} <= known
    assert builder.info.metadata["sha256_known"] == len(found)


def test_refused_images_are_counted_beyond_those_shown(tmp_path):
    file = tmp_path / "refused_train.txt"
    file.write_text("".join(f"image {n:02}: damaged\n" for n in range(12)), encoding="utf-8")
    with pytest.raises(covid_tfds.SourceError, match=r"(?s)^12 images.*image 09: damaged\n- .*2 more"):
        pipeline.raise_if_refused([file])
