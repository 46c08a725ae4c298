"""The order of the routes, the error when none helps, and what is left behind."""

import os
import re
import shutil
import subprocess

import pytest

from covid_tfds import SourceError
from covid_tfds.sources import downloads, network
from covid_tfds.sources import locate as locate_module
from tests.fakes.publisher import Reply, lay_out, zipped


def locate(rows, download_dir, user_dir=None):
    found = locate_module.locate_images("covid_tfds/made_up", rows, download_dir, user_dir)
    return {image_id: file.read_bytes() for image_id, file in found.items()}


def kept(download_dir):
    return sorted(file.name for file in download_dir.rglob("*") if file.is_file())


def test_own_copies_come_first_then_the_publishers(offered, wanted, tmp_path):
    rows, images = wanted
    lay_out(rows[:2], images, tmp_path / "own")
    (tmp_path / "own" / "any.zip").write_bytes(zipped(rows[3:5], images))
    assert locate(rows, tmp_path / "downloads", tmp_path / "own") == images
    assert [path for path in offered.requests if path.startswith("/github")] == [
        f"/github/{rows[2].revision}/{rows[2].path}"
    ]


def test_files_of_the_user_are_used_where_they_lie(wanted, tmp_path, publisher):
    rows, images = wanted
    lay_out(rows, images, tmp_path / "own")
    assert locate(rows, tmp_path / "downloads", tmp_path / "own") == images
    assert kept(tmp_path / "downloads") == []
    assert publisher.requests == []


def test_what_came_is_kept_and_not_fetched_again(offered, wanted, tmp_path):
    rows, images = wanted
    late = f"/github/{rows[1].revision}/{rows[1].path}"
    good = offered.replies.pop(late)
    with pytest.raises(SourceError, match="1 of its 6"):
        locate(rows, tmp_path)
    assert kept(tmp_path) == sorted(f"{row.sha256}{row.path[row.path.rindex('.') :]}" for row in rows if row != rows[1])

    offered.requests.clear()
    offered.replies[late] = good
    assert locate(rows, tmp_path) == images
    assert offered.requests == [late]


def test_what_is_kept_is_verified_again(offered, wanted, tmp_path):
    rows, images = wanted
    locate(rows, tmp_path)
    damaged = next(tmp_path.rglob(f"{rows[0].sha256}*"))
    damaged.write_bytes(b"bit rot")
    assert locate(rows, tmp_path) == images


def test_the_error_says_what_is_missing_from_where_and_what_to_run(offered, wanted, tmp_path):
    rows, _ = wanted
    del offered.replies["/mendeley.zip"]
    offered.replies[f"/github/{rows[1].revision}/{rows[1].path}"] = Reply(b"<html>log in first</html>")
    with pytest.raises(SourceError) as failed:
        locate(rows, tmp_path)
    first, github, kermany, advice = str(failed.value).splitlines()
    assert first == "covid_tfds/made_up: 4 of its 6 images cannot be fetched:"
    assert github.startswith(f"- {rows[1].path} of covid-chestxray-dataset: {downloads.GITHUB}/")
    assert "an HTML page" in github
    assert kermany.startswith(f"- all 3 images of chest-xray-pneumonia: {downloads.KAGGLE}")
    assert f"; {downloads.MENDELEY}: 404" in kermany
    assert "--manual_dir" in advice
    assert "--config phantom" in advice


def test_without_a_network_there_is_one_error(publisher, wanted, tmp_path, monkeypatch, caplog):
    rows, _ = wanted
    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr(network, "ALLOWED_ADDRESSES", (nobody,))
    for name in ("GITHUB", "KAGGLE", "MENDELEY"):
        monkeypatch.setattr(downloads, name, nobody)
    with pytest.raises(SourceError) as failed:
        locate(rows, tmp_path)
    assert len(str(failed.value).splitlines()) == 4
    for source in ("covid-chestxray-dataset", "chest-xray-pneumonia"):
        assert re.search(rf"all 3 .* {source}", str(failed.value))
    assert caplog.records == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_leaves_nothing_half_written(offered, wanted, small_disk):
    rows, _ = wanted
    (small_disk / "filler").write_bytes(bytes(14 * 4096))
    with pytest.raises(SourceError, match="No space left on device") as failed:
        locate(rows, small_disk)
    unwritten = next(row for row in rows if row.sha256 in str(failed.value))
    assert f"from {downloads.GITHUB}/{unwritten.revision}/{unwritten.path}" in str(failed.value)
    kept = [file.name for file in (small_disk / "covid_tfds").iterdir()]
    assert not [name for name in kept if name.startswith(".") or unwritten.sha256 in name]


def test_a_folder_that_cannot_be_written_is_named(offered, wanted, tmp_path):
    rows, _ = wanted
    (tmp_path / "covid_tfds").write_text("a file where the folder should be")
    with pytest.raises(SourceError, match=f"can't be kept: .*{tmp_path}/covid_tfds"):
        locate(rows, tmp_path)
