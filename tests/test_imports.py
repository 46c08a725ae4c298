"""The arrows between packages and modules, and what may import TensorFlow. Read from the source text."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("covid_tfds", "trainer", "export")
HEAVY = {"tensorflow", "keras", "tensorflow_datasets", "tf2onnx"}
MOST_LINES = 300
MOST_FILES_IN_TRAINER = 10
# What the predictor and its command are made of: they run where neither TensorFlow nor the trainer is installed.
LIGHT = ("export.runtime", "export.predict", "covid_tfds.imaging.reader", "covid_tfds.imaging.dicom")
LIGHT_NEEDS = {"numpy", "onnxruntime", "PIL", "pydicom", "tqdm"}
# From the ground floor up: a module imports from its own line and the lines above it.
FLOORS = {
    "covid_tfds": [
        ["common"],
        ["imaging", "tf_data"],
        ["sources", "phantom", "manifests"],
        ["kermany_full", "building"],
        ["covid_tfds_dataset_builder"],
        ["examples"],
        ["classes", "conflicts"],
        ["layouts"],
        ["datasets"],
        ["audit"],
    ],
    "trainer": [
        ["config", "recipes"],
        ["run_folder"],
        ["metrics"],
        ["models"],
        ["features"],
        ["validation"],
        ["report"],
        ["tuning"],
        ["fine_tuning"],
        ["training", "evaluate", "extract", "benchmark"],
        ["__main__"],
    ],
    "export": [
        ["file_names", "runtime"],
        ["graph", "run_images", "predict", "bulk"],
        ["parity"],
        ["page"],
        ["exporting", "web", "serve"],
        ["__main__"],
    ],
}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


ALL = {name_of(path): path for package in PACKAGES for path in modules(package)}


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imported(path: Path) -> set[str]:
    """Full names that a file imports, anywhere in it but for types; of `from a import b` both a.b and a."""
    names, open_nodes = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while open_nodes:
        node = open_nodes.pop()
        if is_for_types_only(node):
            continue
        open_nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def of_project(path: Path) -> set[str]:
    """The modules of the project that a file imports, packages left out where a module of theirs is meant."""
    names = {name for name in imported(path) if name in ALL}
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)} - {name_of(path)}


def floor(name: str) -> tuple[int, str]:
    package, _, rest = name.partition(".")
    room = rest.split(".")[0]
    for number, rooms in enumerate(FLOORS[package]):
        if room in rooms:
            return number, room
    return 0, room  # the package's own __init__, which every module may import


def cases(*packages: str):
    return [pytest.param(path, id=name_of(path)) for package in packages for path in modules(package)]


@pytest.mark.parametrize("path", cases(*PACKAGES))
def test_imports_point_from_export_to_trainer_to_covid_tfds(path):
    mine = PACKAGES.index(name_of(path).split(".")[0])
    assert {name for name in of_project(path) if PACKAGES.index(name.split(".")[0]) > mine} == set()


@pytest.mark.parametrize("path", cases(*PACKAGES))
def test_a_module_imports_nothing_from_a_higher_floor(path):
    package = name_of(path).split(".")[0]
    mine, room = floor(name_of(path))
    inside = {name for name in of_project(path) if name.split(".")[0] == package}
    assert {name for name in inside if floor(name)[0] > mine and floor(name)[1] != room and room} == set()


def test_every_room_stands_on_a_floor():
    for package in PACKAGES:
        rooms = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in modules(package)}
        assert rooms - {room for line in FLOORS[package] for room in line} - {"__init__"} == set()


@pytest.mark.parametrize("path", cases("export"))
def test_export_takes_the_run_folder_alone_from_trainer(path):
    taken = {name for name in of_project(path) if name.startswith("trainer")}
    assert {name for name in taken if not name.startswith("trainer.run_folder")} == set()


def test_no_module_imports_itself_through_others():
    arrows = {name: of_project(path) for name, path in ALL.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(arrows[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in arrows:
        visit(name, ())
    assert done == set(ALL)


@pytest.mark.parametrize("path", [p for p in cases("export", "covid_tfds") if p.id.startswith(LIGHT)])
def test_the_predictor_needs_five_libraries_alone(path):
    tops = {module.split(".")[0] for module in imported(path)}
    assert tops - sys.stdlib_module_names - set(PACKAGES) <= LIGHT_NEEDS
    ours = {".".join(name.split(".")[:2]) for name in of_project(path)}
    assert ours <= {"export.runtime", "covid_tfds.imaging", "covid_tfds.common"}


@pytest.mark.parametrize("path", cases(*PACKAGES))
def test_a_module_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_top_of_trainer_holds_few_files():
    assert len([path for path in (ROOT / "trainer").iterdir() if path.is_file()]) <= MOST_FILES_IN_TRAINER


@pytest.mark.parametrize(
    "module",
    [
        "covid_tfds",
        "covid_tfds.common.cli",
        "covid_tfds.common.files",
        "covid_tfds.imaging.reader",
        "trainer.config",
        "trainer.run_folder.run",
        "trainer.metrics.one_vs_rest",
        "export.runtime.predictor",
        "export.predict",
        "export.__main__",
        "export.bulk.__main__",
    ],
)
def test_light_modules_import_no_tensorflow(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
