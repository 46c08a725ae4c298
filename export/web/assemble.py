"""Write web/: a page that runs an exported model in the browser, with everything that it needs."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.files import read_json, write_json
from export.file_names import GOLDEN, GOLDEN_ANSWERS, MODEL_JSON, ONNX, ONNX_INT8, WEB

PAGE_FILES = Path(__file__).parent
SUFFIXES = (".html", ".css", ".js", ".txt")
MODELS = {"float": ONNX, "int8": ONNX_INT8}


@dataclass(frozen=True)
class WebRequest:
    """What to write web/ with.

    Attributes:
        runtime: The files of ONNX Runtime Web by name.
        model: A key of MODELS; None for the int8 model where there is one, else the float model.
    """

    runtime: dict[str, bytes]
    model: str | None = None


def write_runtime_file(path: Path, content: bytes) -> None:
    """Write a file of ONNX Runtime Web: .mjs as .js, and .wasm compressed, to a quarter of its size, as .wasm.gz.

    With these names the page also works on servers that send .mjs or .wasm with a type that browsers refuse.
    """
    if path.suffix == ".wasm":
        path.with_suffix(".wasm.gz").write_bytes(gzip.compress(content, mtime=0))
    else:
        path.with_suffix(".js").write_bytes(content)


def write_web(folder: Path, request: WebRequest) -> str:
    """Write `web/` into an export and return the name of the model file in it."""
    there = [name for name in (ONNX_INT8, ONNX) if (folder / name).is_file()]
    wanted = MODELS[request.model] if request.model else there[0]
    model = wanted if wanted in there else there[0]
    web = folder / WEB
    (web / "runtime").mkdir(parents=True)
    for file in PAGE_FILES.iterdir():
        if file.suffix in SUFFIXES:
            shutil.copyfile(file, web / file.name)
    for name, content in request.runtime.items():
        write_runtime_file(web / "runtime" / name, content)
    shutil.copyfile(folder / model, web / model)
    shutil.copytree(folder / GOLDEN, web / GOLDEN)
    # The page takes the one model file that is listed, and needs that one's answers alone.
    info = read_json(folder / MODEL_JSON)
    write_json(web / MODEL_JSON, info | {"files": {model: info["files"][model]}})
    golden = read_json(folder / GOLDEN / GOLDEN_ANSWERS)
    cases = [
        {key: case[key] for key in ("file", "rgb_sha256", "self_test")} | {"answers": {model: case["answers"][model]}}
        for case in golden["cases"]
    ]
    tolerances = {model: golden["tolerances"][model]}
    write_json(web / GOLDEN / GOLDEN_ANSWERS, {"labels": golden["labels"], "tolerances": tolerances, "cases": cases})
    return model
