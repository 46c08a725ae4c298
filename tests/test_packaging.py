"""What people install: the wheel and the sdist hold our three packages and nothing else."""

import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("covid_tfds", "trainer", "export")
TEXTS = {".py", ".typed", ".csv", ".md", ".bib", ".txt", ".html", ".css", ".js", ".j2", ".toml", ".cfg", ""}
MOST_BYTES = 200_000
BUILD = "import setuptools.build_meta as b; b.build_sdist('out'); b.build_wheel('out')"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel, built of a copy: setuptools writes beside what it builds."""
    # The version of the metadata: importing setuptools fails where another test's library has imported distutils.
    version = importlib.metadata.version("setuptools")
    if int(version.split(".")[0]) < 77:
        pytest.skip(f"setuptools {version} is too old to build the project: pip install -U setuptools")
    folder = tmp_path_factory.mktemp("project")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    subprocess.run([sys.executable, "-c", BUILD], cwd=folder, check=True, capture_output=True)
    return folder / "out"


def wheel(built) -> dict[str, bytes]:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist(built) -> dict[str, bytes]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.split("/", 1)[1]: archive.extractfile(member).read() for member in files}


def test_the_wheel_holds_our_packages_and_metadata_and_nothing_else(built):
    tops = {name.split("/")[0] for name in wheel(built)}
    (metadata,) = {top for top in tops if top.endswith(".dist-info")}
    assert tops == {*PACKAGES, metadata}


def test_the_wheel_holds_every_file_of_the_packages(built):
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    there = [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    assert len(there) > 100
    # The lesson is read in a checkout: its outputs are pictures.
    assert not set(there) - wheel(built).keys() - {"trainer/lesson.ipynb"}


@pytest.mark.parametrize("kind", [wheel, sdist])
def test_neither_data_nor_pictures_nor_paths_of_a_machine(built, kind):
    files = kind(built)
    assert len(files) > 100
    for name, content in files.items():
        assert Path(name).suffix in TEXTS or Path(name).name in ("METADATA", "WHEEL", "RECORD", "PKG-INFO"), name
        assert len(content) < MOST_BYTES, name
        text = content.decode("utf-8")  # no image, no weights: these are no text
        assert not re.search(r"/(root|home|work)/\w", text) or name.startswith("tests/"), name


def test_the_sdist_builds_without_the_repository(built):
    files = sdist(built)
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= files.keys()
    assert {name for name in wheel(built) if name.startswith(PACKAGES) and "dist-info" not in name} <= files.keys()
    tops = {name.split("/")[0] for name in files} - {*PACKAGES, "tests", "covid_tfds.egg-info"}
    assert tops == {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "setup.cfg"}


IMPORT_ALL = """
import importlib, pkgutil, warnings
warnings.filterwarnings("error", module=r"(covid_tfds|trainer|export)\\b")
for package in ("covid_tfds", "trainer", "export"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
            print(module.name)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_types_and_the_version_of_the_metadata(built, package):
    assert f"{package}/py.typed" in wheel(built)
    assert importlib.import_module(package).__version__ == importlib.metadata.version("covid-tfds")


def test_importing_our_modules_warns_of_nothing():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    assert len(done.stdout.split()) > 90


@pytest.mark.trial
def test_the_wheel_works_in_a_clean_environment(built, tmp_path):
    """Downloads some 1.5 GB. Outside the repository, so that only what was installed can be imported."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    for kind in ("*.whl", "*.tar.gz"):
        (path,) = built.glob(kind)
        install = [python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", path]
        subprocess.run([*install[:5], path] if kind == "*.whl" else install, cwd=tmp_path, check=True)
        checked = subprocess.run([python, "-m", "pip", "check"], cwd=tmp_path, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
        where = subprocess.run(
            [python, "-c", "import covid_tfds, trainer, export; print(covid_tfds.__file__)"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        assert str(tmp_path / "venv") in where.stdout
        for module in ("trainer", "export", "export.predict", "covid_tfds.audit"):
            shown = subprocess.run([python, "-m", module, "--help"], cwd=tmp_path, check=True, capture_output=True)
            assert b"usage: python -m " in shown.stdout
    tfds = python.with_name("tfds")
    data = tmp_path / "data"
    command = [tfds, "build", "covid_tfds", "--config", "phantom", "--imports", "covid_tfds", "--data_dir", data]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (data / "covid_tfds" / "phantom").is_dir()
    demo = ["--demo", "--num_examples", "10", "--epochs", "2", "--batch_size", "4", "--output", tmp_path / "run"]
    subprocess.run([python, "-m", "trainer", *demo, "--data_dir", data], cwd=tmp_path, check=True)
    assert (tmp_path / "run" / "report.html").is_file()
