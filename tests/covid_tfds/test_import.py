"""`import covid_tfds` is light, and the builder is registered whatever is imported first."""

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TFDS_COMMAND = Path(sys.executable).with_name("tfds")
WITHOUT_TFDS = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "tensorflow_datasets" else find_spec(name, *more)
sys.modules["tensorflow_datasets"] = sys.modules["wrapt"] = None
"""


def run(program):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "order",
    [
        "import covid_tfds",
        "import tensorflow_datasets; import covid_tfds",
        "import covid_tfds.imaging.reader",
        "from covid_tfds import Builder",
        "import covid_tfds.covid_tfds_dataset_builder",
    ],
)
def test_the_builder_is_registered_in_every_order_of_imports(order):
    look_up = "import covid_tfds; print(tensorflow_datasets.builder_cls('covid_tfds') is covid_tfds.Builder)"
    assert run(f"{order}; import tensorflow_datasets; {look_up}") == ["True"]


def test_the_import_alone_brings_no_tfds():
    loaded = run("import covid_tfds, sys; assert 'Builder' in dir(covid_tfds); print(*sys.modules)")
    assert not {"tensorflow", "tensorflow_datasets", "numpy"} & set(loaded)


def test_a_failing_builder_module_does_not_break_tfds_and_is_reported_on_use():
    program = """
import sys, covid_tfds
sys.modules["covid_tfds.building"] = None  # which the builder module imports
import tensorflow_datasets
for _ in range(2):
    try:
        covid_tfds.Builder
    except ImportError as error:
        print(error.name)
"""
    assert run(program) == ["covid_tfds.building"] * 2


def test_without_tfds_nothing_is_registered_and_the_rest_works():
    program = f"""{WITHOUT_TFDS}
import covid_tfds, covid_tfds.imaging.reader
try:
    covid_tfds.Builder
except ImportError as error:
    print(error.name)
"""
    assert run(program) == ["tensorflow_datasets"]


def test_an_unknown_name_is_an_attribute_error():
    import covid_tfds

    with pytest.raises(AttributeError, match="Bilder"):
        covid_tfds.Bilder  # noqa: B018


def test_the_builder_class_is_pickled_by_name():
    import covid_tfds

    assert pickle.loads(pickle.dumps(covid_tfds.Builder)) is covid_tfds.Builder


def test_a_spawned_process_gets_the_builder_class():
    import covid_tfds

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(getattr, covid_tfds.Builder, "name").result() == "covid_tfds"


def test_tfds_build_at_the_root_builds_a_config_by_name(tmp_path):
    command = [TFDS_COMMAND, "build", "covid_tfds", "--config", "phantom", "--data_dir", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "covid_tfds" / "phantom" / "1.0.0" / "dataset_info.json").exists()
