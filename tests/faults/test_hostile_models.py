"""Run folders, models and names of unknown origin: nothing in them is run, and nothing is read or written elsewhere."""

import dataclasses
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import write_checksums
from tests.fakes import run_files
from trainer.run_folder import file_names, keras_file
from trainer.run_folder.details import load_details
from trainer.run_folder.run import load
from trainer.run_folder.typed_files import write_result

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("covid_tfds", "trainer", "export")
DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}, "registered_name": None}


def model_of(tmp_path, *layers) -> Path:
    """A model.keras whose config has these layers, and no weights: refused before anybody looks for them."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": list(layers)}}))
    return path


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ({"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}}, "Lambda"),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/etc"}}, "TFSMLayer"),
        ({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {}}, "TorchModuleWrapper"),
        ({"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/x"}}, "StringLookup"),
        ({"module": "os", "class_name": "system", "config": {}}, "system"),
        ({"module": "evil", "class_name": "Dense", "registered_name": "evil>Dense", "config": {}}, "evil>Dense"),
        ({**DENSE, "config": {"activation": {"class_name": "__lambda__", "config": {}}}}, "__lambda__"),
        ({**DENSE, "config": {"activation": {"class_name": "function", "config": "x"}}}, "function"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_with_foreign_parts_is_refused_in_one_line(tmp_path, layer, named):
    with pytest.raises(UsageError, match=rf"model\.keras .*{named}") as caught:
        keras_file.load_model(model_of(tmp_path, DENSE, layer))
    assert "\n" not in str(caught.value)


def test_a_lambda_layer_of_keras_itself_is_refused(tmp_path):
    import keras

    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2)]).save(path)
    with pytest.raises(UsageError, match=r"model\.keras .*Lambda"):
        keras_file.load_model(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no zip", b"PK\x05\x06" + bytes(18)],
    ids=["empty", "text", "empty-zip"],
)
def test_a_model_that_is_none_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"model\.keras") as caught:
        keras_file.load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, " " * (11 << 20)], ids=["cut", "nested", "large"])
def test_a_config_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", text)
    with pytest.raises(UsageError, match=r"model\.keras"):
        keras_file.load_model(path)


def test_the_commands_refuse_it_before_anything_is_made(trained_run, tmp_path, capsys):
    """`python -m export` and `python -m trainer.evaluate` on a run whose model was exchanged, checksums and all."""
    import shutil

    from export import __main__ as export
    from trainer import evaluate

    run = shutil.copytree(trained_run, tmp_path / "run", ignore=shutil.ignore_patterns("export*"))
    model_of(tmp_path, {"class_name": "Lambda", "config": {}}).replace(run / file_names.MODEL)
    write_checksums(run)
    dataset = load(run).config.data.dataset
    shutil.copytree(dataset, tmp_path / "others")
    for seed, path in enumerate(sorted((tmp_path / "others").rglob("*.png"))):  # else all are the run's own
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)).save(path)
    assert export.main([str(run), "--output", str(tmp_path / "exported")]) == 2
    assert evaluate.main([str(run), "--dataset", str(tmp_path / "others")]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert all(re.search(r"model\.keras .*Lambda", line) for line in errors)
    assert not (tmp_path / "exported").exists()
    assert not (run / file_names.EXTERNAL).exists()


@pytest.mark.parametrize("way", ["absolute", "upwards", "link"])
def test_a_report_shows_no_images_from_elsewhere(tmp_path, way):
    """A run folder from elsewhere names an image of the person who looks at it, to be sent on with the report."""
    import base64

    from PIL import Image

    from trainer.report.writing import write_report

    run, details = run_files.write(tmp_path / "run")
    private = tmp_path / "private.jpg"
    Image.new("L", (30, 20), 77).save(private)
    name = {"absolute": str(private), "upwards": "../private.jpg", "link": "saliency/link.jpg"}[way]
    (run.path / "saliency" / "link.jpg").symlink_to(private)
    first, *others = details.saliency.images
    images = (dataclasses.replace(first, overlay=name), *others)
    write_result(run.path / file_names.SALIENCY, dataclasses.replace(details.saliency, images=images))
    pairs = tuple(dataclasses.replace(image, pair=image.pair and name) for image in details.typicality.images)
    write_result(run.path / file_names.TYPICALITY, dataclasses.replace(details.typicality, images=pairs))
    write_report(run, load_details(run.path))
    html = (run.path / file_names.REPORT).read_text(encoding="utf-8")
    assert base64.b64encode(private.read_bytes()).decode() not in html
    assert html.count("data:image/jpeg") == 1  # the other one is the run's own


# What runs code out of a file. None of our packages may hold one of them.
UNSAFE = (
    r"allow_pickle\s*=\s*True|\bpickle\.loads?\b|\bimport pickle\b|\bjoblib\b|\byaml\.load\(|\beval\(|\bexec\(|"
    + (
        r"\bmarshal\b|safe_mode\s*=\s*False|enable_unsafe_deserialization|shell\s*=\s*True|\bextractall\(|verify\s*=\s*False"
    )
)


def test_nothing_of_ours_loads_pickles_or_runs_what_it_reads():
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 80
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(UNSAFE, line)
    ]
    assert found == []


@pytest.mark.parametrize("line", ["np.load(f, allow_pickle=True)", "x = eval(text)", "import pickle", "z.extractall()"])
def test_that_search_finds_what_it_looks_for(line):
    assert re.search(UNSAFE, line)
