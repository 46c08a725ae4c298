"""Features computed beforehand: the very ones that the trainer computes, whoever computes them and however often."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.fakes.cluster import ROOT, cluster_of
from trainer import __main__, extract
from trainer.features import backbone_features, extraction
from trainer.models import vgg16


@pytest.fixture(scope="module")
def images(phantom_folder, tmp_path_factory):
    """The smallest folder that can be split: five images a class."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("covid", "normal"):
        (folder / name).mkdir()
        for image in sorted((phantom_folder / name).iterdir())[:5]:
            shutil.copy(image, folder / name)
    return folder


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """VGG16 weights that a run takes for trained ones."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path_factory.mktemp("weights") / "weights.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, vgg16.load_backbone("random", 7))
    return str(path)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(extraction, "IMAGES_A_PART", 2)
    extraction._load_examples.cache_clear()


def run(folder, cache, *flags):
    return extract.main(["--dataset", str(folder), "--weights", "random", "--features", str(cache), *flags])


def arrays(file):
    with np.load(file) as stored:
        return {name: stored[name] for name in stored}


def files(cache):
    return {file.relative_to(cache): file for file in cache.glob("*/[!.]*.npz")}


@pytest.fixture(scope="module")
def extracted(images, tmp_path_factory):
    """The cache that one process computed."""
    cache = tmp_path_factory.mktemp("extracted")
    assert run(images, cache) == 0
    return cache


def test_a_training_computes_no_feature_any_more(images, tmp_path, weights_file, monkeypatch):
    """With trained weights, too: the control with an untrained backbone reads features of its own."""
    cache = tmp_path / "covid_tfds" / "features"
    flags = ["--dataset", str(images), "--weights", weights_file]
    assert extract.main([*flags, "--features", str(cache)]) == 0
    assert len(files(cache)) == 10 * (3 + 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(backbone_features, "_forward", lambda *_: pytest.fail("computed again"))
    assert __main__.main([*flags, "--output", str(tmp_path / "run"), "--epochs", "1"]) == 0


@pytest.mark.slow
def test_two_workers_compute_the_same_to_the_last_bit(images, extracted, tmp_path, capsys):
    cache = tmp_path / "cache"
    (tmp_path / "logs").mkdir()
    with cluster_of(tmp_path / "logs", workers=2) as cluster:
        assert run(images, cache, "--scheduler", cluster.address) == 0
    assert files(cache).keys() == files(extracted).keys()
    for name, file in files(cache).items():
        one, other = arrays(file), arrays(extracted / name)
        assert one.keys() == other.keys()
        for array in one:
            np.testing.assert_array_equal(one[array], other[array])


@pytest.mark.slow
def test_a_killed_extraction_goes_on_with_what_is_missing(images, extracted, tmp_path):
    cache = tmp_path / "cache"
    flags = ["--dataset", str(images), "--weights", "random", "--features", str(cache)]
    process = subprocess.Popen([sys.executable, "-m", "trainer.extract", *flags], cwd=ROOT)
    while not files(cache):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in files(cache).values()}
    assert run(images, cache) == 0
    assert files(cache).keys() == files(extracted).keys()
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_only_what_is_missing_is_computed(images, extracted, tmp_path, capsys):
    cache = tmp_path / "cache"
    shutil.copytree(extracted, cache)
    kept = sorted(files(cache).values())
    lost = kept.pop()
    lost.unlink()
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert run(images, cache) == 0
    assert "1 of them" in capsys.readouterr().out
    assert lost.exists()
    assert {file: file.stat().st_mtime_ns for file in kept} == before


def test_what_cannot_be_decoded_is_named_and_the_rest_is_there(images, extracted, tmp_path, capsys):
    folder, cache = tmp_path / "images", tmp_path / "cache"
    shutil.copytree(images, folder)
    shutil.copytree(extracted, cache)
    (folder / "covid" / "torn.png").write_bytes(next((folder / "covid").iterdir()).read_bytes()[:200])
    (folder / "normal" / "page.png").write_bytes(b"<html>")
    assert run(folder, cache) == 2
    error = capsys.readouterr().err
    assert "covid/torn.png" in error
    assert "normal/page.png" in error
    assert "Traceback" not in error


def test_a_prepared_dataset(tmp_path, capsys):
    flags = ["--config", "phantom", "--num_examples", "10", "--data_dir", str(tmp_path / "data")]
    cache = tmp_path / "cache"
    assert extract.main([*flags, "--weights", "random", "--recipe", "tutorial", "--features", str(cache)]) == 0
    assert f"{10 * 3} images and variants" in capsys.readouterr().out
    assert len(files(cache)) == 10 * 3


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--weights", "missing.h5"], "--weights missing.h5"),
        (["--features", "/proc/nowhere"], "--features /proc/nowhere"),
    ],
)
def test_unusable_flags_are_one_line(images, tmp_path, flags, named, capsys):
    assert run(images, tmp_path, *flags) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert named in line


def test_help_needs_no_tensorflow():
    code = "import sys; from trainer import extract; extract.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "apache_beam", "keras", "distributed"} & set(done.stdout.split())
