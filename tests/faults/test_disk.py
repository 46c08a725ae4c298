"""Full, read-only and vanished folders, odd paths and links: one clear line, and what was there before stays."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from covid_tfds import phantom
from covid_tfds.common.files import CHECKSUMS
from trainer.run_folder import file_names
from trainer.run_folder.run import load

FULL, READ_ONLY = os.strerror(errno.ENOSPC), os.strerror(errno.EROFS)
ODD = f"run mit ünïcödé 肺 'quotes' & {'x' * 150}"


def one_line(capsys) -> str:
    """The error, which must be the only thing of its kind that was printed."""
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    lines = printed.strip().splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    return lines[-1]


def earlier(folder: Path) -> Path:
    (folder / "earlier").mkdir()
    (folder / "earlier" / "metrics.json").write_text("kept")
    return folder


def kept(folder: Path) -> bool:
    return (folder / "earlier" / "metrics.json").read_text() == "kept"


@pytest.mark.parametrize("size", [1 << 16, 1 << 18])
def test_training_on_a_full_disk_says_so_and_goes_on_with_room(train_tiny, small_disk, capsys, size):
    """Full at the beginning, and in the middle of what is written last."""
    disk = earlier(small_disk(size))
    assert train_tiny(disk / "run") == 2
    error = one_line(capsys)
    assert FULL in error
    assert str(disk / "run") in error
    assert kept(disk)
    assert not (disk / "run").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    assert train_tiny(disk / "run") == 0
    load(disk / "run")


def test_a_full_disk_under_the_feature_cache(train_tiny, small_disk, tmp_path, monkeypatch, capsys):
    disk = small_disk(1 << 14)
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk))
    assert train_tiny(tmp_path / "run") == 2
    error = one_line(capsys)
    assert FULL in error
    assert str(disk) in error
    assert not (tmp_path / "run").exists()


def test_building_on_a_full_disk(small_disk):
    """The command itself: what it prints goes through TFDS's own handling of errors."""
    from tests.faults import commands

    disk = earlier(small_disk(1 << 18))
    process = commands.start(commands.COMMANDS["build"].argv(disk, disk))
    printed = process.communicate(timeout=300)[0]
    assert process.returncode not in (0, None)
    assert "Traceback" not in printed
    (line,) = (line for line in printed.splitlines() if "SourceError" in line)
    assert "covid_tfds/phantom" in line
    assert FULL in line
    assert kept(disk)
    assert not list(disk.glob("covid_tfds/phantom/1.0.0"))
    assert not list(disk.glob("covid_tfds/phantom/incomplete*"))


@pytest.mark.parametrize("size", [1 << 12, 1 << 20])
def test_exporting_on_a_full_disk(trained_run, small_disk, capsys, size):
    from export import __main__

    disk = earlier(small_disk(size))
    assert __main__.main([str(trained_run), "--output", str(disk / "export")]) == 2
    error = one_line(capsys)
    assert FULL in error
    assert kept(disk)
    assert not (disk / "export").exists()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    image = phantom.encode_png(phantom.draw(0).image[:64, :64])
    for index in range(40):
        (folder / f"{index} {'long' * 40}.png").write_bytes(image)
    return folder


@pytest.mark.parametrize("flag", ["--csv", "--heatmap"])
def test_predicting_on_a_full_disk(exported, images, small_disk, capsys, flag):
    from export import predict

    disk = earlier(small_disk(1 << 14))
    before = disk / "predictions.csv"
    before.write_text("earlier")
    target = before if flag == "--csv" else disk / "heat maps"
    assert predict.main([str(exported / "model.onnx"), str(images), flag, str(target)]) == 2
    error = one_line(capsys)
    assert str(target) in error
    assert FULL in error
    assert before.read_text() == "earlier"
    assert kept(disk)


def test_a_folder_that_can_not_be_written(train_tiny, trained_run, exported, images, read_only, tmp_path, capsys):
    from export import __main__ as export
    from export import predict
    from trainer import evaluate

    folder = tmp_path / "read-only"
    folder.mkdir()
    run = shutil.copytree(trained_run, folder / "run", ignore=shutil.ignore_patterns("export*"))
    read_only(earlier(folder))
    said = {}
    assert train_tiny(folder / "new") == 2
    said["train"] = one_line(capsys)
    assert export.main([str(run)]) == 2
    said["export"] = one_line(capsys)
    assert (
        predict.main([str(exported / "model.onnx"), str(next(images.iterdir())), "--csv", str(folder / "p.csv")]) == 2
    )
    said["predict"] = one_line(capsys)
    assert evaluate.main([str(run), "--config", "phantom", "--data_dir", str(folder / "data")]) == 2
    said["evaluate"] = one_line(capsys)
    for command, error in said.items():
        assert READ_ONLY in error, (command, error)
        assert str(folder) in error
    assert kept(folder)


def test_building_where_nothing_can_be_written(read_only, tmp_path):
    import covid_tfds
    from covid_tfds.common.errors import SourceError

    folder = tmp_path / "data"
    folder.mkdir()
    builder = covid_tfds.Builder(config=covid_tfds.phantom_config(10), data_dir=folder)
    read_only(folder)
    with pytest.raises(SourceError, match=rf"covid_tfds/phantom_10.*{READ_ONLY}"):
        builder.download_and_prepare()


def test_a_prepared_dataset_needs_no_write(read_only, tmp_path):
    """As on a share that many read."""
    import covid_tfds

    folder = tmp_path / "data"
    for _ in range(2):
        builder = covid_tfds.Builder(config=covid_tfds.phantom_config(10), data_dir=folder)
        builder.download_and_prepare()
        if folder.exists():
            read_only(folder)
    assert builder.info.splits["train"].num_examples == 8


def test_permission_denied(tmp_path):
    """As a user that is not root: permissions bind."""
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    script = "import sys\nfrom trainer.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    tmp_path.chmod(0o755)
    from tests.faults import commands

    argv = ["setpriv", "--reuid", "65534", "--clear-groups", "--regid", "65534", commands.sys.executable, "-c", script]
    process = commands.start([*argv, "--demo", "--output", str(tmp_path / "run")])
    printed = process.communicate(timeout=120)[0]
    if "setpriv" in printed or "No module" in printed or "can't open" in printed:
        pytest.skip(f"another user can't run Python here: {printed[:100]}")
    assert process.returncode == 2
    (line,) = printed.splitlines()
    assert line.startswith(f"error: --output {tmp_path / 'run'} ")
    assert os.strerror(errno.EACCES) in line


def test_a_folder_that_vanishes(train_tiny, tmp_path, monkeypatch, capsys):
    from trainer.features import head_training

    real = head_training.fit_heads

    def fit(*arguments):
        shutil.rmtree(tmp_path / "run.incomplete", ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(head_training, "fit_heads", fit)
    assert train_tiny(tmp_path / "run") == 2
    error = one_line(capsys)
    assert str(tmp_path / "run.incomplete") in error
    assert os.strerror(errno.ENOENT) in error


def test_odd_paths(train_tiny, tmp_path):
    """Spaces, quotes, other alphabets, 200 characters; and a link to where it really lies."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    output = tmp_path / "link" / ODD
    assert len(ODD.encode()) > 180
    assert train_tiny(output) == 0
    assert (tmp_path / "real" / ODD / file_names.MODEL).is_file()
    subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=output, check=True)
    load(output)


def test_a_link_in_the_output_s_place_is_not_touched(train_tiny, tmp_path, capsys):
    for target in ("nowhere", "somewhere"):
        link = tmp_path / f"link to {target}"
        link.symlink_to(target)
    (tmp_path / "somewhere").mkdir()
    for link in tmp_path.glob("link to *"):
        assert train_tiny(link) == 2
        assert str(link) in one_line(capsys)
    assert list((tmp_path / "somewhere").iterdir()) == []


def test_a_link_to_a_table_stays_one(exported, images, tmp_path):
    from export import predict

    (tmp_path / "table.csv").write_text("earlier")
    (tmp_path / "link.csv").symlink_to("table.csv")
    image = next(images.iterdir())
    assert predict.main([str(exported / "model.onnx"), str(image), "--csv", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert str(image) in (tmp_path / "table.csv").read_text()
