"""The command `python -m export.predict`, run in process."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.errors import INTENDED_USE
from export import predict
from export.file_names import ONNX
from export.runtime import prediction_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(exported):
    return str(exported / ONNX)


@pytest.fixture
def films(tmp_path):
    """A folder with two radiographs, one of them further down, and things that are none."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(phantom.draw(0).image).resize((200, 180)).save(folder / "film.png")
    Image.fromarray(phantom.draw(1).image).resize((150, 210)).save(folder / "more" / "film.png")
    (folder / "notes.txt").write_text("not for the model")
    (folder / ".hidden.png").write_text("not for the model")
    (folder / "film.png.heatmap.png").write_text("an earlier picture")
    return folder


def lines(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_prints_a_line_an_image(model, films, capsys):
    assert predict.main([model, str(films)]) == 0
    out, err = lines(capsys)
    assert out[0].split() == ["p_covid", "decision", "image"]
    p_covid, decision, name = out[1].split()
    assert decision == ("covid" if float(p_covid) >= 0.4 else "normal")
    assert [line.split()[2] for line in out[1:]] == [str(films / "film.png"), str(films / "more" / "film.png")]
    assert name == str(films / "film.png")
    assert err == []


def test_json_and_csv_say_the_same(model, films, tmp_path, capsys):
    table = tmp_path / "made" / "predictions.csv"
    (films / "broken.png").write_text("no image")
    assert predict.main([model, str(films), "--json", "--csv", str(table)]) == 1
    out, err = lines(capsys)
    rows = [json.loads(line) for line in out]
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["image"] for row in written] == [row["image"] for row in rows]
    assert len(rows) == 3
    for row, line in zip(rows, written, strict=True):
        if "error" in row:
            assert line["error"] == row["error"]
            assert line["p_covid"] == ""
        else:
            assert float(line["p_covid"]) == row["p_covid"]
            assert line["decision"] == row["decision"]
    assert len(err) == 1
    assert err[0].startswith(f"error: {films / 'broken.png'}: expected JPEG")
    assert not list(table.parent.glob("*.incomplete"))


def test_heat_maps_are_written_one_an_image(model, films, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    assert predict.main([model, str(films), str(films / "film.png"), "--heatmap", str(pictures), "--json"]) == 0
    rows = [json.loads(line) for line in lines(capsys)[0]]
    expected = ["film.png.heatmap.png", "more/film.png.heatmap.png", "film.png-2.heatmap.png"]
    assert [row["heatmap"] for row in rows] == [str(pictures / name) for name in expected]
    for row in rows:
        picture = np.asarray(Image.open(row["heatmap"]))
        assert picture.shape[0] > 300
        assert picture.std() > 10


def test_the_other_images_are_still_predicted(model, films, tmp_path, capsys):
    good = films / "film.png"
    half = tmp_path / "half.png"
    half.write_bytes(good.read_bytes()[:900])
    bomb = tmp_path / "bomb.png"
    Image.new("1", (30000, 30000)).save(bomb)
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "zero.jpg").touch()
    bad = [half, bomb, empty, tmp_path / "zero.jpg", tmp_path / "missing.png"]
    assert predict.main([model, *map(str, bad[:3]), str(good), *map(str, bad[3:])]) == 1
    out, err = lines(capsys)
    assert len(out) == 2
    assert len(err) == len(bad)
    for path, line in zip(bad, err, strict=True):
        assert line.startswith(f"error: {path}: ")
    assert "no images in this folder" in err[2]


def test_exit_code_2_when_nothing_could_be_read(model, tmp_path, capsys):
    assert predict.main([model, str(tmp_path / "missing.png")]) == 2
    assert len(lines(capsys)[1]) == 1


@pytest.mark.parametrize("content", [None, b"", b"no model"], ids=["missing", "empty", "garbage"])
def test_exit_code_2_for_a_wrong_model(tmp_path, films, content, capsys):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert predict.main([str(path), str(films)]) == 2
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith(f"error: {path} ")


def test_exit_code_2_when_results_can_not_be_written(model, films, tmp_path, capsys):
    (tmp_path / "file").touch()
    for flag in ("--csv", "--heatmap"):
        assert predict.main([model, str(films), flag, str(tmp_path / "file" / "x")]) == 2
        error = lines(capsys)[1][-1]
        assert error.startswith("error: ")
        assert f"{tmp_path / 'file' / 'x'}" in error
        assert "can't be written" in error


def test_what_was_predicted_stays_when_the_rest_is_stopped(model, films, tmp_path, monkeypatch):
    def stop_at_the_second(path):
        if path.parent.name == "more":
            raise KeyboardInterrupt
        return original(path)

    original = prediction_rows.read_image
    monkeypatch.setattr(prediction_rows, "read_image", stop_at_the_second)
    table = tmp_path / "predictions.csv"
    assert predict.main([model, str(films), "--csv", str(table)]) == 130
    assert not table.exists()
    (kept,) = (path.read_text().splitlines() for path in tmp_path.glob("predictions.csv.*.incomplete"))
    assert len(kept) == 2
    assert kept[1].startswith(str(films / "film.png"))


def test_warnings_stand_beside_the_number(model, tmp_path, capsys):
    Image.new("L", (40, 40), 255).save(tmp_path / "white.png")
    assert predict.main([model, str(tmp_path / "white.png")]) == 0
    assert lines(capsys)[0][1].endswith("white.png  (tiny: 40 x 40 pixels; almost white)")


def test_dicom_files_without_a_suffix_are_found(model, tmp_path, capsys):
    import pydicom

    archive = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests"
    shutil.copytree(archive / "77654033", tmp_path / "archive")
    shutil.copy(archive / "DICOMDIR", tmp_path / "archive")
    assert predict.main([model, str(tmp_path / "archive"), "--json"]) == 0
    found = [json.loads(line)["image"] for line in lines(capsys)[0]]
    assert [name for name in found if "CR1" in name] == [str(tmp_path / "archive/CR1/6154")]
    assert not any("DICOMDIR" in name for name in found)


def test_help_takes_less_than_a_second_and_says_what_it_is_for():
    command = [sys.executable, "-m", "export.predict", "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert INTENDED_USE in " ".join(done.stdout.split())
    assert min(seconds) < 1


def test_a_reader_that_has_seen_enough_is_no_error(model, films, tmp_path):
    """As in `... | head -1`: no traceback."""
    command = [sys.executable, "-m", "export.predict", model, str(films), "--csv", str(tmp_path / "out.csv")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""
