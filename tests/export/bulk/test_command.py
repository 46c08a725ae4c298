"""The command `python -m export.bulk`: the answers of export.predict, in parts that are never done twice."""

import csv
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import onnx
import pandas
import pytest
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common import parts
from covid_tfds.common.errors import INTENDED_USE, UsageError
from covid_tfds.common.parts import run_parts
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import read_image
from export.bulk import __main__, inputs, part
from export.bulk.inputs import FilePart
from export.bulk.output import Output
from export.file_names import ONNX, ONNX_INT8
from export.graph import halves
from export.runtime.model_file import open_session
from export.runtime.predictor import ModelError, Predictor
from tests.fakes.cluster import cluster_of

ROOT = Path(__file__).parents[3]
SIZES = ((200, 180), (150, 210), (224, 224), (97, 301), (260, 140))


@pytest.fixture(scope="module")
def path(exported):
    return str(exported / ONNX)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Five films of different sizes, a file that is none, and one that is cut off."""
    folder = tmp_path_factory.mktemp("bulk") / "films"
    (folder / "more").mkdir(parents=True)
    for index, size in enumerate(SIZES):
        place = folder / "more" if index % 2 else folder
        Image.fromarray(phantom.draw(index).image).resize(size).save(place / f"film{index}.png")
    (folder / "broken.png").write_text("no image")
    (folder / "half.png").write_bytes((folder / "film0.png").read_bytes()[:900])
    return folder


def bulk(path, films, output, *flags):
    return __main__.main(["--model", path, "--input", str(films), "--output", str(output), *flags])


def rows(output):
    found = pandas.read_parquet(output / "predictions").set_index("image")
    because = found.declined_because.astype(object)
    return found.assign(declined_because=because.where(because.notna(), None))


def letters(output):
    found = []
    for file in sorted((output / "unreadable").glob("*.csv")):
        with file.open(newline="") as opened:
            found += csv.DictReader(opened)
    return {letter["image"]: letter["error"] for letter in found}


def assert_as_predictor(output, path, names):
    predictor, found = Predictor(path), rows(output)
    assert sorted(found.index) == sorted(names)
    for name in names:
        expected = predictor.predict_file(name)
        for label, p in expected.probabilities.items():
            assert found[f"p_{label}"][name] == pytest.approx(p, abs=1e-6)
        assert found.decision[name] == expected.decision
        assert found.decision_argmax[name] == expected.decision_argmax
        assert found.typicality[name] == pytest.approx(expected.typicality, abs=1e-6)
        assert found.distance[name] == pytest.approx(expected.distance, abs=1e-6)
        assert (found.declined[name], found.declined_because[name]) == (expected.declined, expected.declined_because)
        assert found.warnings[name] == "; ".join(expected.warnings)
    assert found.p_covid.std() > 1e-4


@pytest.fixture(scope="module")
def done(path, films, tmp_path_factory):
    output = tmp_path_factory.mktemp("done") / "output"
    assert bulk(path, films, output, "--images_per_part", "3", "--batch_size", "2", "--threads", "1") == 1
    return output


def test_answers_are_those_of_predict(done, path, films):
    assert_as_predictor(done, path, [str(file) for file in films.rglob("film*.png")])
    assert set(rows(done).model_sha256) == {hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    assert len(list((done / "predictions").iterdir())) == 3


def test_noise_is_declined_and_decided_on_with_a_flag(path, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    shutil.copy(Path(path).parent / "golden" / "noise.png", folder)
    assert bulk(path, folder, tmp_path / "declined") == 0
    assert "1 of them declined" in capsys.readouterr().out
    assert bulk(path, folder, tmp_path / "answered", "--answer_anyway") == 0
    declined, answered = rows(tmp_path / "declined").iloc[0], rows(tmp_path / "answered").iloc[0]
    assert declined.decision == "declined"
    assert answered.decision in ("covid", "normal")
    assert declined.drop("decision").equals(answered.drop("decision"))
    assert declined.declined
    assert bulk(path, folder, tmp_path / "declined", "--answer_anyway") == 2
    assert "answer_anyway" in capsys.readouterr().err


def test_what_can_not_be_read_is_named_with_the_reason_that_predict_gives(done, films):
    found = letters(done)
    assert set(found) == {str(films / "broken.png"), str(films / "half.png")}
    for name, error in found.items():
        with pytest.raises(ImageError) as raised:
            read_image(name)
        assert error == str(raised.value)


def test_what_is_done_is_not_done_again(done, path, films, capsys):
    before = {file: file.stat().st_mtime_ns for file in done.rglob("*.*") if file.name != ".lock"}
    assert bulk(path, films, done, "--images_per_part", "3") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"Complete: 5 of 7 images in {done / 'predictions'}, 2 could not be read ({done / 'unreadable'})"
    ]
    assert {file: file.stat().st_mtime_ns for file in done.rglob("*.*") if file.name != ".lock"} == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "started with images_per_part 3, not 1000"), (("--images_per_part", "3", "--input", "x/*"), "matches")],
    ids=["part", "pattern"],
)
def test_another_question_is_refused(done, path, films, capsys, flags, message):
    assert bulk(path, films, done, *flags) == 2
    assert message in capsys.readouterr().err


def test_another_model_or_input_is_refused(done, path, exported, films, tmp_path, capsys):
    assert bulk(str(exported / ONNX_INT8), films, done, "--images_per_part", "3") == 2
    assert "started with another model" in capsys.readouterr().err
    other = shutil.copytree(films, tmp_path / "other")
    assert bulk(path, other, done, "--images_per_part", "3") == 2
    assert "started with another input" in capsys.readouterr().err


def test_stopped_in_the_second_part_it_goes_on_with_that(path, films, tmp_path, monkeypatch):
    output, names = tmp_path / "output", []
    original = part.PredictPart._predict

    def stop_in_the_second(self, model):
        names.append(self.name)
        if len(names) == 2:
            raise KeyboardInterrupt
        return original(self, model)

    monkeypatch.setattr(part.PredictPart, "_predict", stop_in_the_second)
    assert bulk(path, films, output, "--images_per_part", "3") == 130
    assert bulk(path, films, output, "--images_per_part", "3") == 1
    assert names == ["00000-of-00003", "00001-of-00003", "00001-of-00003", "00002-of-00003"]
    assert_as_predictor(output, path, [str(file) for file in films.rglob("film*.png")])


def test_a_part_that_fails_twice_is_reported_and_the_others_are_done(path, films, tmp_path, monkeypatch, capsys):
    output = tmp_path / "output"
    original = part.PredictPart._predict

    def fail_in_the_second(self, model):
        if self.name == "00001-of-00003":
            raise RuntimeError("no memory")
        return original(self, model)

    with monkeypatch.context() as patch:
        patch.setattr(part.PredictPart, "_predict", fail_in_the_second)
        assert bulk(path, films, output, "--images_per_part", "3") == 1
    assert "part 2 of 3 failed: no memory" in capsys.readouterr().err
    assert sorted(file.name for file in (output / "done").iterdir()) == ["00000.json", "00002.json"]
    assert bulk(path, films, output, "--images_per_part", "3") == 1
    assert_as_predictor(output, path, [str(file) for file in films.rglob("film*.png")])


def command(path, films, output, *flags):
    words = ["--model", path, "--input", str(films), "--output", str(output), *flags]
    return [sys.executable, "-m", "export.bulk", *words]


def wait_for(kept, process):
    while not kept.exists():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_process_leaves_whole_parts_and_the_same_command_goes_on(path, films, tmp_path, number):
    output = tmp_path / "output"
    words = command(path, films, output, "--images_per_part", "2")
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    kept = output / "done" / "00000.json"
    wait_for(kept, process)
    process.send_signal(number)
    _, error = process.communicate()
    if process.returncode:  # else it was quicker than the signal
        assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert "Traceback" not in error
    before = kept.stat().st_mtime_ns
    assert bulk(path, films, output, "--images_per_part", "2") == 1
    assert kept.stat().st_mtime_ns == before
    assert_as_predictor(output, path, [str(file) for file in films.rglob("film*.png")])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("logs"), workers=2) as cluster:
        yield cluster


@pytest.mark.slow
def test_two_workers_give_the_answers_of_one_process_to_the_last_bit(path, films, done, cluster, tmp_path):
    output = tmp_path / "output"
    flags = ("--images_per_part", "3", "--batch_size", "2", "--scheduler", cluster.address)
    assert bulk(path, films, output, *flags) == 1
    pandas.testing.assert_frame_equal(rows(output).sort_index(), rows(done).sort_index(), check_exact=True)
    assert letters(output) == letters(done)
    workers = [json.loads(file.read_text())["worker"] for file in (output / "done").iterdir()]
    assert {int(worker.rpartition(":")[2]) for worker in workers} <= {worker.pid for worker in cluster.workers}


@pytest.mark.slow
def test_a_worker_that_finds_another_model_or_folder_is_named(path, films, cluster, tmp_path, capsys):
    request = {"model": "0" * 64, "images_per_part": 3, "images": 7, "input": "x"}
    output = Output(str(tmp_path / "output"))
    one = part.PredictPart("00000-of-00001", FilePart(("x.png",)), path, request, output, 8, 1, "cpu")
    with pytest.raises(UsageError, match=r"another model"):
        list(run_parts({0: one}, cluster.address))
    sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    for provider, message in (("cpu", "not the same folder"), ("openvino", "--provider openvino")):
        other = dataclasses.replace(one, request=request | {"model": sha256, "provider": provider})
        with pytest.raises(UsageError, match=message):
            list(run_parts({0: other}, cluster.address))


@pytest.mark.slow
def test_the_driver_is_killed_and_the_same_command_goes_on(path, films, cluster, tmp_path):
    output = tmp_path / "output"
    flags = ("--images_per_part", "1", "--scheduler", cluster.address)
    process = subprocess.Popen(command(path, films, output, *flags), cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for(output / "done" / "00000.json", process)
    process.kill()
    process.wait()
    assert bulk(path, films, output, *flags) == 1
    assert_as_predictor(output, path, [str(file) for file in films.rglob("film*.png")])


def test_examples_of_a_tfds_dataset(path, films, tmp_path, capsys):
    import tensorflow_datasets as tfds

    files = sorted(films.rglob("film*.png"))
    examples = [(index, {"image": str(file), "image_id": file.stem}) for index, file in enumerate(files)]
    tfds.dataset_builders.store_as_tfds_dataset(
        name="films",
        version="1.0.0",
        data_dir=tmp_path / "data",
        split_datasets={"train": examples[:3], "test": examples[3:]},
        features=tfds.features.FeaturesDict({"image": tfds.features.Image(), "image_id": tfds.features.Text()}),
        disable_shuffling=True,
    )
    flags = ("--data_dir", str(tmp_path / "data"), "--images_per_part", "2")
    assert bulk(path, "films", tmp_path / "output", *flags) == 0
    found, predictor = rows(tmp_path / "output"), Predictor(path)
    assert sorted(found.index) == [file.stem for file in sorted(files, key=lambda file: file.stem)]
    for file in files:
        assert found.p_covid[file.stem] == pytest.approx(predictor.predict_file(file).probabilities["covid"], abs=1e-6)
    assert bulk(path, "covid_tfds/phantom", tmp_path / "other", *flags) == 2
    assert "tfds build covid_tfds/phantom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--model": "nowhere.onnx"}, "nowhere.onnx can't be opened"),
        ({"--input": "nowhere"}, "no TFDS dataset of that name"),
        ({"--input": "nowhere/*.png"}, "no file matches"),
        ({"--model": "gs://bucket/model.onnx"}, "gcsfs"),
        ({"--output": "/proc/nowhere"}, "can't be written"),
    ],
    ids=["model", "name", "pattern", "cloud", "output"],
)
def test_one_line_for_what_can_be_mended(path, films, tmp_path, capsys, changes, message):
    flags = {"--model": path, "--input": str(films), "--output": str(tmp_path / "output")} | changes
    assert __main__.main([word for pair in flags.items() for word in pair]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert message in error[0]
    assert not (tmp_path / "output").exists()


def test_a_scheduler_that_is_not_there_is_one_line(path, films, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parts, "CONNECT_SECONDS", 0.5)
    assert bulk(path, films, tmp_path / "output", "--scheduler", "tcp://127.0.0.1:9") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "tcp://127.0.0.1:9" in line


def test_a_name_that_is_not_utf_8(path, films, tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    shutil.copy(films / "film0.png", os.fsdecode(os.fsencode(folder) + b"/f\xe9vrier.png"))
    (folder / os.fsdecode(b"b\xe9.png")).write_text("no image")
    assert bulk(path, folder, tmp_path / "output") == 1
    assert [name.rpartition("/")[2] for name in rows(tmp_path / "output").index] == ["f\\xe9vrier.png"]
    assert len(letters(tmp_path / "output")) == 1


def test_names_on_a_file_system_of_fsspec(path, films, done):
    memory = fsspec.filesystem("memory")
    memory.put(str(films), "/films", recursive=True)
    memory.put(path, "/model.onnx")
    flags = ("--images_per_part", "3", "--batch_size", "2", "--threads", "1")
    assert bulk("memory://model.onnx", "memory://films", "memory://output", *flags) == 1
    tables = [pandas.read_parquet(f"memory:/{name}") for name in memory.find("/output/predictions")]
    found, expected = pandas.concat(tables).set_index("image"), rows(done)
    assert len(tables) == 3
    assert {name.rpartition("/")[2] for name in found.index} == {name.rpartition("/")[2] for name in expected.index}
    for name, p in expected.p_covid.items():
        assert found.p_covid[f"memory:///films{name.partition('/films')[2]}"] == pytest.approx(p, abs=1e-6)
    assert sum(memory.cat(name).count(b"broken.png") for name in memory.find("/output/unreadable")) == 1
    assert bulk("memory://model.onnx", "memory://films/film*.png", "memory://output", *flags) == 2  # another input


def test_an_output_that_is_the_input_is_refused(path, films, capsys):
    before = sorted(films.rglob("*"))
    assert bulk(path, films, films) == 2
    assert "--output" in capsys.readouterr().err
    assert sorted(films.rglob("*")) == before


def test_exit_code_2_when_nothing_could_be_read(path, films, tmp_path):
    assert bulk(path, films / "broken.png", tmp_path / "output") == 2
    assert len(letters(tmp_path / "output")) == 1
    assert rows(tmp_path / "output").empty


def test_a_model_without_the_inner_tensor_is_refused():
    graph = onnx.helper.make_graph([], "g", [], [])
    with pytest.raises(ModelError, match="inner tensor 'resized'"):
        halves.take_part(onnx.helper.make_model(graph).SerializeToString(), halves.IMAGE, [halves.RESIZED])


def names(pattern):
    return [name for one in inputs.find_input(pattern, None, 3).parts for name in one.names]


def test_a_pattern_names_files_as_they_are(films):
    assert names(f"{films}/**/*.png") == sorted(str(file) for file in films.rglob("*.png"))
    assert names(f"{films}/*.png") == sorted(str(file) for file in films.glob("*.png"))


def test_the_halves_together_are_the_whole(path):
    data = Path(path).read_bytes()
    image = np.asarray(Image.fromarray(phantom.draw(3).image).convert("RGB"))
    first = open_session(halves.take_part(data, halves.IMAGE, [halves.RESIZED]), 1)
    second = open_session(halves.take_part(data, halves.RESIZED, [halves.PROBABILITIES]), 1)
    (resized,) = first.run(None, {halves.IMAGE: image[None]})
    (probabilities,) = second.run(None, {halves.RESIZED: resized})
    assert probabilities[0, 0] == pytest.approx(Predictor(path).predict(image).probabilities["covid"], abs=1e-6)
    assert resized.shape == (1, 224, 224, 3)


def test_help_takes_less_than_a_second_and_says_what_it_is_for():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "export.bulk", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
    assert " ".join(done.stdout.split()).count(INTENDED_USE) == 1
    assert min(seconds) < 1
