"""The layouts of --manual_dir, all made up."""

import shutil
import subprocess
import zipfile
from dataclasses import replace

import pytest

from covid_tfds import SourceError
from covid_tfds.sources import manifest, manual_dir
from tests.fakes.publisher import disguise, lay_out, zipped


@pytest.fixture
def wanted():
    rows = manifest.read_manifest("curated")
    return disguise(rows[:3] + rows[-3:])


def files(rows, folder):
    """What is found as plain files, as bytes."""
    return {row.image_id: file.read_bytes() for row, file in manual_dir.find_files(rows, folder)}


def from_archives(rows, folder):
    kept = {}
    manual_dir.read_archives(rows, folder, lambda row, data, origin: kept.update({row.image_id: data}))
    return kept


def put(rows, images, folder, path_of):
    for row in rows:
        file = folder / path_of(row)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images[row.image_id])


def of(rows, images):
    return {row.image_id: images[row.image_id] for row in rows}


def test_layout_of_the_manifests(wanted, tmp_path):
    rows, images = wanted
    lay_out(rows, images, tmp_path)
    assert files(rows, tmp_path) == images
    assert files(rows, tmp_path / "covid-chestxray-dataset") == of(rows[:3], images)


KAGGLE_LAYOUTS = {
    "unpacked here": lambda path: path,
    "nested twice": lambda path: f"chest_xray/{path}",
    "unpacked into a folder": lambda path: f"archive/{path}",
    "nested twice in a folder": lambda path: f"archive/chest_xray/{path}",
    "the chest_xray folder itself": lambda path: path.removeprefix("chest_xray/"),
}


@pytest.mark.parametrize("layout", KAGGLE_LAYOUTS)
def test_layouts_of_the_kaggle_folder(layout, wanted, tmp_path):
    rows, images = wanted
    put(rows[3:], images, tmp_path, lambda row: KAGGLE_LAYOUTS[layout](row.path))
    assert files(rows, tmp_path) == of(rows[3:], images)


@pytest.mark.parametrize("where", [".", "covid-chestxray-dataset"])
def test_worktree_of_a_clone_at_another_commit(where, wanted, tmp_path):
    rows, images = wanted
    put(rows[:3], images, tmp_path / where, lambda row: row.path)
    (tmp_path / where / rows[1].path).write_bytes(b"a later version of this file")
    assert files(rows, tmp_path) == of([rows[0], rows[2]], images)


def test_a_file_in_the_exact_place_with_other_bytes_is_an_error(wanted, tmp_path):
    rows, images = wanted
    lay_out(rows, images, tmp_path)
    bad = tmp_path / "chest-xray-pneumonia" / rows[4].path
    bad.write_bytes(images[rows[4].image_id][::-1])
    with pytest.raises(SourceError, match=f"{bad.name}.*sha256.*{rows[4].sha256}"):
        files(rows, tmp_path)
    bad.write_bytes(b"0" * 100_000)
    with pytest.raises(SourceError, match=f"{bad.name}.*100000.*{rows[4].bytes}"):
        files(rows, tmp_path)


def test_pinned_commit_is_read_through_git(wanted, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    rows, images = wanted
    clone = tmp_path / "some name"
    put(rows[:3], images, clone, lambda row: row.path)

    def git(*command):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *command], cwd=clone, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "pinned")
    pinned = git("rev-parse", "HEAD").strip()
    git("rm", "-q", rows[0].path)
    (clone / rows[1].path).write_bytes(b"changed later")
    git("commit", "-qam", "later")

    pinned_rows = [replace(row, revision=pinned) for row in rows[:3]]
    assert files(pinned_rows, tmp_path) == of(rows[2:3], images)
    assert from_archives(pinned_rows[:2], tmp_path) == of(rows[:2], images)
    assert from_archives(rows[:2], tmp_path) == {}, "a clone without the commit gives nothing"


@pytest.mark.parametrize("where", [".", "downloads"])
def test_zip_under_any_name_is_read_by_content(where, wanted, tmp_path):
    rows, images = wanted
    (tmp_path / where).mkdir(exist_ok=True)
    (tmp_path / where / "Labelled chest X-rays (1).zip").write_bytes(zipped(rows[3:], images))
    before = sorted(tmp_path.rglob("*"))
    assert files(rows, tmp_path) == {}
    assert from_archives(rows, tmp_path) == of(rows[3:], images)
    assert sorted(tmp_path.rglob("*")) == before


def test_member_names_cannot_lead_out_of_the_folder(wanted, tmp_path):
    rows, images = wanted
    inside = tmp_path / "manual"
    inside.mkdir()
    with zipfile.ZipFile(inside / "evil.zip", "w") as archive:
        archive.writestr("../../escaped.jpeg", images[rows[3].image_id])
        archive.writestr(str(tmp_path / "absolute.jpeg"), images[rows[4].image_id])
    assert from_archives(rows, inside) == of(rows[3:5], images)
    assert [file.name for file in tmp_path.rglob("*")] == ["manual", "evil.zip"]


def test_member_with_size_and_crc_but_other_bytes_is_refused(wanted, tmp_path, caplog):
    rows, images = wanted
    # Same size and CRC-32, other SHA-256: what the row asks for is then something else.
    other = replace(rows[3], sha256="0" * 64)
    (tmp_path / "a.zip").write_bytes(zipped(rows[3:], images))
    assert from_archives([other], tmp_path) == {}
    assert "is not" in caplog.text
    assert other.path in caplog.text


def test_a_half_downloaded_zip_is_named_and_does_not_end_the_build(wanted, tmp_path, caplog):
    rows, images = wanted
    whole = zipped(rows[3:], images)
    (tmp_path / "ChestXRay2017.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "whole.zip").write_bytes(whole)
    assert from_archives(rows, tmp_path) == of(rows[3:], images)
    assert "ChestXRay2017.zip" in caplog.text


def test_an_unrelated_folder_gives_nothing(wanted, tmp_path):
    rows, _ = wanted
    (tmp_path / "notes.txt").write_text("nothing here")
    assert files(rows, tmp_path) == {}
    assert from_archives(rows, tmp_path) == {}
