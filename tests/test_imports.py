"""The arrows between the packages, and who may import TensorFlow. Read from the source: nothing is imported here."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("covid_tfds", "trainer", "export")
HEAVY = {"tensorflow", "keras", "tensorflow_datasets", "tf2onnx"}
# What the predictor and its command are made of: these run where neither TensorFlow nor the trainer is installed.
LIGHT = ("predictor", "predict", "reading", "dicom", "plausibility", "overlay", "model_file")
LIGHT_NEEDS = {"numpy", "onnxruntime", "PIL", "pydicom", "tqdm"}
# The run folder, its config, what keeps the terminal quiet and what ends a command: none of them imports TensorFlow.
EXPORT_MAY_TAKE = {
    "trainer.artifacts",
    "trainer.beam_runner",
    "trainer.config",
    "trainer.markdown",
    "trainer.native_log",
    "trainer.network_file",
    "trainer.stopping",
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it; of `from a import b` both a.b and a."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def of_package(names: set[str], package: str) -> set[str]:
    return {name for name in names if name.split(".")[0] == package}


def cases(*packages: str):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for package in packages for path in modules(package)]


@pytest.mark.parametrize("path", cases("covid_tfds"))
def test_the_dataset_knows_nothing_of_training_and_export(path):
    assert not of_package(imported(path), "trainer") | of_package(imported(path), "export")


@pytest.mark.parametrize("path", cases("trainer"))
def test_the_trainer_knows_nothing_of_export(path):
    assert not of_package(imported(path), "export")


@pytest.mark.parametrize("path", cases("export"))
def test_export_reads_run_folders_only(path):
    taken = of_package(imported(path), "trainer") - {"trainer"}
    allowed = {name for name in taken for module in EXPORT_MAY_TAKE if f"{name}.".startswith(f"{module}.")}
    assert taken == allowed


@pytest.mark.parametrize("name", LIGHT)
def test_the_predictor_needs_no_tensorflow(name):
    path = ROOT / "export" / f"{name}.py"
    tops = {module.split(".")[0] for module in imported(path)}
    assert tops - sys.stdlib_module_names - {"export"} <= LIGHT_NEEDS
    others = {module.removeprefix("export.").split(".")[0] for module in of_package(imported(path), "export")}
    assert others - {"export"} <= set(LIGHT)


@pytest.mark.parametrize("package", PACKAGES)
def test_there_are_modules_to_look_at(package):
    assert len(modules(package)) > 5


@pytest.mark.parametrize(
    "module", ["trainer.config", "trainer.artifacts", "trainer.metrics", "export.predictor", "export.bulk.running"]
)
def test_importing_it_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
