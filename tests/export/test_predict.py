"""The command `python -m export.predict`, run in process."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.imaging.reader import read_image
from export import predict
from export.file_names import ONNX
from export.runtime import image_files, prediction_rows
from tests.fakes.dicom import radiograph
from tests.fakes.layouts import write_images

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(exported):
    return str(exported / ONNX)


@pytest.fixture
def images(tmp_path):
    """A folder with two radiographs, one of them further down, and things that are none."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(phantom.draw(0).image).resize((200, 180)).save(folder / "image.png")
    Image.fromarray(phantom.draw(1).image).resize((150, 210)).save(folder / "more" / "image.png")
    (folder / "notes.txt").write_text("not for the model")
    (folder / ".hidden.png").write_text("not for the model")
    (folder / "image.png.heatmap.png").write_text("an earlier heat map")
    return folder


def lines(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_prints_a_line_an_image(model, images, capsys):
    assert predict.main([model, str(images)]) == 0
    out, err = lines(capsys)
    assert out[0].split() == ["p_covid", "p_normal", "decision", "decision_argmax", "image"]
    p_covid, p_normal, decision, decision_argmax, name = out[1].split()
    assert decision == ("covid" if float(p_covid) >= 0.4 else "normal")
    assert decision_argmax == ("covid" if float(p_covid) >= float(p_normal) else "normal")
    assert [line.split()[4] for line in out[1:3]] == [str(images / "image.png"), str(images / "more" / "image.png")]
    assert name == str(images / "image.png")
    (line,) = err  # of what a folder holds besides
    assert "notes.txt" in line


def test_the_foot_shows_verdict_and_intended_use(model, images, capsys):
    assert predict.main([model, str(images)]) == 0
    out, _ = lines(capsys)
    assert len(out) == 4
    assert "shortcut" in out[-1]
    assert INTENDED_USE in out[-1]
    assert predict.main([model, str(images), "--json"]) == 0
    for line in lines(capsys)[0]:
        row = json.loads(line)
        assert row["shortcuts_verdict"] == "shortcut"
        assert row["intended_use"] == INTENDED_USE


def test_a_declined_image_is_an_answer(model, tmp_path, capsys):
    noise = str(Path(model).parent / "golden" / "noise.png")
    assert predict.main([model, noise, "--csv", str(tmp_path / "predictions.csv"), "--json"]) == 0
    (row,) = map(json.loads, lines(capsys)[0])
    assert (row["decision"], row["declined"]) == ("declined", True)
    assert row["decision_argmax"] in ("covid", "normal")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        (written,) = csv.DictReader(file)
    for name in ("typicality", "distance"):
        assert float(written[name]) == row[name]
        assert f"{row[name]:.3g}" in written["declined_because"]
    assert written["declined"] == "True"
    assert predict.main([model, noise]) == 0
    line = lines(capsys)[0][1]
    assert line.split()[2] == "declined"
    assert row["declined_because"] in line
    assert predict.main([model, noise, "--answer_anyway"]) == 0
    assert lines(capsys)[0][1].split()[2] in ("covid", "normal")


def test_json_and_csv_hold_the_same_predictions(model, images, tmp_path, capsys):
    table = tmp_path / "made" / "predictions.csv"
    (images / "broken.png").write_text("no image")
    assert predict.main([model, str(images), "--json", "--csv", str(table)]) == 1
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
            for name in ("p_covid", "p_normal"):
                assert float(line[name]) == row[name]
            assert row["p_covid"] + row["p_normal"] == pytest.approx(1)
            for name in ("decision", "decision_argmax"):
                assert line[name] == row[name]
    (error,) = [line for line in err if line.startswith("error: ")]
    assert error.startswith(f"error: {images / 'broken.png'}: expected JPEG")
    assert not list(table.parent.glob("*.incomplete"))


def test_heat_maps_are_written_one_an_image(model, images, tmp_path, capsys):
    folder = tmp_path / "overlays"
    assert predict.main([model, str(images), str(images / "image.png"), "--heatmap", str(folder), "--json"]) == 0
    rows = [json.loads(line) for line in lines(capsys)[0]]
    expected = ["image.png.heatmap.png", "more/image.png.heatmap.png", "image.png-2.heatmap.png"]
    assert [row["heatmap"] for row in rows] == [str(folder / name) for name in expected]
    for row in rows:
        overlay = np.asarray(Image.open(row["heatmap"]))
        assert overlay.shape[0] > 300
        assert overlay.std() > 10


def test_saved_pngs_are_the_pixels_that_the_model_takes(model, images, tmp_path, capsys):
    grey = read_image(images / "image.png").pixels
    sixteen = np.arange(200 * 150, dtype=np.uint16).reshape(200, 150)
    Image.fromarray(sixteen).save(tmp_path / "sixteen.png")
    Image.fromarray(np.dstack([grey[..., 0]] * 3 + [np.full(grey.shape[:2], 99, np.uint8)])).save(tmp_path / "rgba.png")
    folder = tmp_path / "pngs"
    given = [tmp_path / "sixteen.png", tmp_path / "rgba.png", images]
    assert predict.main([model, *map(str, given), "--save_png", str(folder)]) == 0
    names = ["sixteen.png.pixels.png", "rgba.png.pixels.png", "image.png.pixels.png", "more/image.png.pixels.png"]
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == set(names)
    for path, name in zip([*given[:2], images / "image.png", images / "more" / "image.png"], names, strict=True):
        with Image.open(folder / name) as saved:
            assert saved.mode == "L"
            assert np.array_equal(np.asarray(saved), read_image(path).pixels[..., 0])


def test_the_other_images_are_still_predicted(model, images, tmp_path, capsys):
    good = images / "image.png"
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
    assert len(out) == 3
    assert len(err) == len(bad)
    for path, line in zip(bad, err, strict=True):
        assert line.startswith(f"error: {path}: ")
    assert ".jpeg" in err[2]


def test_exit_code_2_when_nothing_could_be_read(model, tmp_path, capsys):
    assert predict.main([model, str(tmp_path / "missing.png")]) == 2
    assert len(lines(capsys)[1]) == 1


@pytest.mark.parametrize("content", [None, b"", b"no model"], ids=["missing", "empty", "garbage"])
def test_exit_code_2_for_a_wrong_model(tmp_path, images, content, capsys):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert predict.main([str(path), str(images)]) == 2
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith(f"error: {path} ")


def test_exit_code_2_when_results_can_not_be_written(model, images, tmp_path, capsys):
    (tmp_path / "file").touch()
    for flag in ("--csv", "--heatmap", "--save_png"):
        assert predict.main([model, str(images), flag, str(tmp_path / "file" / "x")]) == 2
        error = lines(capsys)[1][-1]
        assert error.startswith("error: ")
        assert f"{tmp_path / 'file' / 'x'}" in error
        assert "can't be written" in error


def test_a_stopped_command_keeps_its_rows(model, images, tmp_path, monkeypatch):
    def stop_at_the_second(path):
        if path.parent.name == "more":
            raise KeyboardInterrupt
        return original(path)

    original = prediction_rows.read_image
    monkeypatch.setattr(prediction_rows, "read_image", stop_at_the_second)
    table = tmp_path / "predictions.csv"
    assert predict.main([model, str(images), "--csv", str(table)]) == 130
    assert not table.exists()
    (kept,) = (path.read_text().splitlines() for path in tmp_path.glob("predictions.csv.*.incomplete"))
    assert len(kept) == 2
    assert kept[1].startswith(str(images / "image.png"))


def test_warnings_are_printed_with_the_prediction(model, tmp_path, capsys):
    Image.new("L", (40, 40), 255).save(tmp_path / "white.png")
    assert predict.main([model, str(tmp_path / "white.png")]) == 0
    assert lines(capsys)[0][1].endswith("tiny: 40 x 40 pixels; almost white)")


def test_dicom_files_without_a_suffix_are_found(model, tmp_path, capsys):
    import pydicom

    archive = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests"
    shutil.copytree(archive / "77654033", tmp_path / "archive")
    shutil.copy(archive / "DICOMDIR", tmp_path / "archive")
    assert predict.main([model, str(tmp_path / "archive"), "--json"]) == 0
    found = [json.loads(line)["image"] for line in lines(capsys)[0]]
    assert [name for name in found if "CR1" in name] == [str(tmp_path / "archive/CR1/6154")]
    assert not any("DICOMDIR" in name for name in found)


def test_help_names_the_intended_use(capsys):
    with pytest.raises(SystemExit) as stopped:
        predict.main(["--help"])
    assert stopped.value.code == 0
    assert INTENDED_USE in " ".join(capsys.readouterr().out.split())


def test_a_closed_pipe_is_no_error(model, images, tmp_path):
    """As in `... | head -1`: no traceback."""
    (images / "notes.txt").unlink()  # one line would name it
    command = [sys.executable, "-m", "export.predict", model, str(images), "--csv", str(tmp_path / "out.csv")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


def test_files_of_a_folder_are_found_by_content_and_others_are_counted(tmp_path):
    write_images(tmp_path, "a.jpg", "sub/b.tif")
    (tmp_path / "a.jpg").rename(tmp_path / "a.jfif")
    (tmp_path / "1.2.840.99999.850819").write_bytes(radiograph(np.full((16, 16), 9, np.uint16)))
    for name in ("notes.txt", "sub/list.csv", ".hidden", "a.jfif.heatmap.png"):
        (tmp_path / name).write_text("no image")
    found = image_files.find_images([tmp_path])
    assert [image.place.as_posix() for image in found] == ["1.2.840.99999.850819", "a.jfif", "sub/b.tif"]
    said = image_files.describe_passed_over([tmp_path, tmp_path / "a.jfif"])
    assert "2 file(s)" in said
    assert "notes.txt" in said


def test_a_folder_that_can_not_be_read_is_an_image_that_can_not_be_read(model, images, monkeypatch, capsys):
    closed = images / "closed"
    closed.mkdir()
    scandir = os.scandir

    def refuse(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert predict.main([str(model), str(images)]) == 1
    error = capsys.readouterr().err
    assert f"{closed}: " in error
    assert os.strerror(errno.EACCES) in error


def test_names_that_are_not_utf8_are_escaped_in_table_and_json(model, tmp_path, capsys):
    write_images(tmp_path, "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"f\xe9vrier\x1b.png"))
    assert predict.main([model, str(tmp_path), "--csv", str(tmp_path / "table.csv")]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "f\\xe9vrier\\x1b.png" in (tmp_path / "table.csv").read_text(encoding="utf-8")


def test_an_output_that_is_an_input_is_refused(model, images, tmp_path, capsys):
    film = images / "image.png"
    before, model_file = film.read_bytes(), Path(model)
    link = tmp_path / "link.csv"
    link.symlink_to(film)
    other = shutil.copy(film, tmp_path / "other.png")
    for table in (film, link, model_file, other):
        assert predict.main([model, str(film), "--csv", str(table)]) == 2
    overlay = shutil.copy(film, images / "x.png.heatmap.png")
    shutil.copy(film, tmp_path / "x.png")
    assert predict.main([model, str(tmp_path / "x.png"), str(overlay), "--heatmap", str(images)]) == 2
    assert len(lines(capsys)[1]) == 5
    assert film.read_bytes() == Path(overlay).read_bytes() == Path(other).read_bytes() == before
    assert predict.main([model, str(film), "--csv", str(tmp_path / "a.csv")]) == 0
    assert predict.main([model, str(film), "--csv", str(tmp_path / "a.csv")]) == 0  # its own table is written again


def test_a_name_that_is_not_utf_8_is_predicted_as_others(model, tmp_path, capsys):
    Image.fromarray(phantom.draw(0).image).resize((120, 120)).save(tmp_path / "first.png")
    (tmp_path / "first.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/f\xe9vrier.png"))
    Image.fromarray(phantom.draw(1).image).resize((120, 120)).save(tmp_path / "second.png")
    assert predict.main([model, str(tmp_path), "--csv", str(tmp_path / "out.csv")]) == 0
    assert "f\\xe9vrier.png" in capsys.readouterr().out
    with (tmp_path / "out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


HIDE = """
import sys
class Finder:
    def find_spec(name, *_):
        if name.split(".")[0] == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name}}", name=name)
sys.meta_path.insert(0, Finder)
from export import predict
sys.exit(predict.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("name", "code"), [("tqdm", 0), ("onnxruntime", 2)])
def test_progress_is_no_reason_to_stop_and_another_missing_package_is_named(model, images, name, code):
    (images / "notes.txt").unlink()  # one line would name it
    command = [sys.executable, "-c", HIDE.format(name=name), model, str(images)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == (code == 2)
    assert code == 0 or name in done.stderr
