"""Features computed beforehand: the very ones that the trainer computes, whoever computes them and however often."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from tests.fakes.cluster import ROOT, cluster_of
from tests.fakes.dicom import radiograph
from trainer import __main__, extract
from trainer.config import Config
from trainer.features import backbone_features, extraction
from trainer.features.training_set import load_training_set
from trainer.models import vgg16
from trainer.recipes import DEFAULT
from trainer.validation import saliency


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


def run(folder, cache, *flags):
    return extract.main(["--dataset", str(folder), "--weights", "random", "--features", str(cache), *flags])


def arrays(cache):
    """All that a cache holds: (key's folder, image, name) -> array."""
    result = {}
    for path in cache.glob("*/[!.]*.npz"):
        with np.load(path) as stored:
            for name in set(stored.files) - {"key", "images"}:
                places = zip(stored["images"].tolist(), np.moveaxis(stored[name], 1, 0), strict=True)
                result |= {(path.parent.name, image, name): array.tobytes() for image, array in places}
    return result


def passes(cache):
    """How many images and variants a cache holds, the feature maps that Grad-CAM shows left out."""
    return len({(key, image) for key, image, name in arrays(cache) if "/" in name})


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
    assert passes(cache) == 10 * (3 + 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed = []
    real = backbone_features.Features._compute

    def compute(self, missing, maps=False):
        computed.append((maps, sum(map(len, missing.values()))))
        return real(self, missing, maps)

    monkeypatch.setattr(backbone_features.Features, "_compute", compute)
    assert __main__.main([*flags, "--output", str(tmp_path / "run"), "--epochs", "1"]) == 0
    assert sum(count for maps, count in computed if not maps) == 0
    # Which training images Grad-CAM shows, the largest mistakes, depends on the trained heads.
    assert sum(count for _, count in computed) <= saliency.SHOWN["mistake"]


@pytest.mark.slow
def test_a_search_computes_no_feature_any_more(images, tmp_path, monkeypatch):
    flags = ["--dataset", str(images), "--weights", "random", "--tune"]
    assert extract.main([*flags, "--features", str(tmp_path / "covid_tfds" / "features")]) == 0
    assert passes(tmp_path / "covid_tfds" / "features") == 10 * 2 * (1 + 5 * 2)


@pytest.mark.slow
def test_two_workers_compute_the_same_to_the_last_bit(images, extracted, tmp_path, capsys):
    cache = tmp_path / "cache"
    (tmp_path / "logs").mkdir()
    with cluster_of(tmp_path / "logs", workers=2) as cluster:
        assert run(images, cache, "--scheduler", cluster.address) == 0
    assert arrays(cache) == arrays(extracted)


@pytest.mark.slow
def test_a_killed_extraction_goes_on_with_what_is_missing(images, extracted, tmp_path):
    cache = tmp_path / "cache"
    flags = ["--dataset", str(images), "--weights", "random", "--features", str(cache)]
    process = subprocess.Popen([sys.executable, "-m", "trainer.extract", *flags], cwd=ROOT)
    while not list(cache.glob("*/[!.]*.npz")):
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in cache.glob("*/[!.]*.npz")}
    assert run(images, cache) == 0
    assert arrays(cache) == arrays(extracted)
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_only_what_is_missing_is_computed(images, extracted, tmp_path, capsys):
    cache = tmp_path / "cache"
    shutil.copytree(extracted, cache)
    kept = sorted(cache.glob("*/*.npz"), key=lambda path: "block5_pool.npy" in zipfile.ZipFile(path).namelist())
    lost = kept.pop(0)
    lost.unlink()
    before = {file: file.stat().st_mtime_ns for file in kept}
    assert run(images, cache) == 0
    assert "10 of them" in capsys.readouterr().out  # one variant of each image
    assert arrays(cache) == arrays(extracted)
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


def test_a_worker_reads_a_dataset_and_weights_again_that_have_changed(images, weights_file, tmp_path):
    """A worker process outlives the commands that it works for."""
    folder = shutil.copytree(images, tmp_path / "images")
    config = Config(data=DatasetRequest(dataset=str(folder)), weights=weights_file)
    for path in sorted((folder / "covid").iterdir())[:2]:
        wanted = load_training_set(config).fingerprint
        assert extraction._load_examples(config, wanted).fingerprint == wanted
        path.write_bytes(path.read_bytes() + b"other bytes, the same pixels")
    before = extraction._load_backbone(config, weights_file, extraction._get_time(weights_file))
    os.utime(weights_file, ns=(1, 1))
    assert extraction._load_backbone(config, weights_file, extraction._get_time(weights_file)) is not before


def test_a_prepared_dataset(tmp_path, capsys):
    flags = ["--config", "phantom", "--num_examples", "10", "--data_dir", str(tmp_path / "data")]
    cache = tmp_path / "cache"
    assert extract.main([*flags, "--weights", "random", "--recipe", "tutorial", "--features", str(cache)]) == 0
    assert f"{10 * 3} images and variants" in capsys.readouterr().out
    assert passes(cache) == 10 * 3


def test_a_worker_with_another_secret_of_dicom_patients_is_refused(tmp_path, monkeypatch):
    for number in range(20):
        path = tmp_path / "films" / ("covid", "normal")[number % 2] / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(radiograph(np.full((8, 8), number, np.uint16), PatientID=f"P{number}"))
    config = Config(data=DatasetRequest(dataset=str(tmp_path / "films")), weights="random")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mine"))
    fingerprint = load_training_set(config).fingerprint
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of_the_worker"))
    with pytest.raises(UsageError, match="patient_secret"):
        extraction.ExtractPart(config, DEFAULT, fingerprint, tmp_path, (0,))()


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
