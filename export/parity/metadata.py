"""Compare the metadata of the model files and model.json with what the run says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from covid_tfds.common.files import read_json, sha256
from export.file_names import MODEL_JSON, ONNX_INT8
from export.parity.stages import Stages
from export.runtime.model_info import ModelInfo


def check_metadata(stages: Stages, folder: Path, found_in: Mapping[str, ModelInfo], info: ModelInfo) -> None:
    """Add every entry to the stage "metadata".

    Args:
        stages: Those of the parity check.
        folder: The export.
        found_in: The metadata of each model file, by its name.
        info: What the run says of the float model.
    """
    about = read_json(folder / MODEL_JSON)
    expected = {MODEL_JSON: info.to_json()}
    found = {MODEL_JSON: {key: value for key, value in about.items() if key != "files"}}
    for name, metadata in found_in.items():
        precision = "int8" if name == ONNX_INT8 else "float32"
        expected[name] = dataclasses.replace(info, precision=precision).to_json()
        found[name] = metadata.to_json()
        expected[f"{MODEL_JSON}: {name}"] = {
            "sha256": sha256(folder / name),
            "bytes": (folder / name).stat().st_size,
        }
        found[f"{MODEL_JSON}: {name}"] = {key: about["files"][name][key] for key in ("sha256", "bytes")}
    for name, wanted in expected.items():
        for key in wanted | found[name]:
            stages.add("metadata", wanted.get(key) != found[name].get(key), f"{name}: {key}")
