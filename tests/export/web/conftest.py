"""The folder web/ for the tests of the page."""

import shutil
from pathlib import Path

import pytest

from covid_tfds.common.errors import UsageError
from export import __main__, exporting
from export.file_names import GOLDEN, MODEL_JSON, ONNX, ONNX_INT8, WEB
from export.web.assemble import MODELS, WebRequest, write_web
from export.web.runtime_files import get_runtime
from tests.fakes.once import make_once


@pytest.fixture(scope="session")
def runtime(shared) -> dict[str, bytes]:
    """The files of ONNX Runtime Web, fetched once for all processes."""
    folder = shared / "onnxruntime-web" / "dist"

    def fetch() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in get_runtime(None).items():
            (folder / name).write_bytes(content)

    try:
        make_once(shared, "onnxruntime-web", fetch)
    except UsageError as error:
        pytest.skip(str(error))
    return get_runtime(folder.parent)


@pytest.fixture(scope="session")
def webs(shared, exported, runtime) -> dict[str, Path]:
    """The folder web/ for each of the two model files. Not to be changed."""

    def make() -> None:
        for name in MODELS:
            folder = shared / "web" / name
            folder.mkdir(parents=True)
            for file in (ONNX, ONNX_INT8, MODEL_JSON):
                (folder / file).symlink_to(exported / file)
            shutil.copytree(exported / GOLDEN, folder / GOLDEN)
            write_web(folder, WebRequest(runtime, name))

    make_once(shared, "web", make)
    return {file: shared / "web" / name / WEB for name, file in MODELS.items()}


@pytest.fixture(scope="session")
def three_class_web(shared, three_class_run, runtime) -> Path:
    """The folder web/ of a model of three classes, by the command itself. Not to be changed."""
    output = shared / "three_classes_exported"

    def make() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporting, "MAX_RUN_IMAGES", 4)
            patch.setattr(__main__, "get_runtime", lambda _: runtime)
            assert __main__.main([str(three_class_run), "--web", "--output", str(output)]) == 0

    make_once(shared, "three_classes_exported", make)
    return output / WEB
