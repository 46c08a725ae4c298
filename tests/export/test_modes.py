"""Every mode of computing, on all images of the real configs: which decisions differ from those of float32.

    python -m pytest -m trial -s tests/export/test_modes.py        # half an hour on 2 cores

Prints the table of the manual.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from covid_tfds.common.cores import has_bfloat16
from covid_tfds.common.markdown import format_table
from export.file_names import ONNX, ONNX_INT8
from tests.fakes.openvino import make_environment
from trainer.features.training_set import load_training_set
from trainer.run_folder.run import load

pytestmark = pytest.mark.trial
ROOT = Path(__file__).parents[2]
DECISIONS = ("decision", "decision_argmax")
MODES = [(ONNX, "cpu"), (ONNX, "openvino"), (ONNX_INT8, "cpu"), (ONNX_INT8, "openvino")]


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("openvino"))


def run_command(*command, codes=(0,)):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, done.stderr
    return done


def write_images(run, folder: Path) -> None:
    """Writes the encoded images of a run's dataset, each under its row's number."""
    folder.mkdir()
    examples = load_training_set(run.config)
    for row, encoded in enumerate(examples.read(np.arange(len(examples)))):
        (folder / f"{row:04d}.png").write_bytes(encoded)


def list_flips(wanted: pandas.DataFrame, found: pandas.DataFrame) -> list[str]:
    """Returns image and rule of each decision that differs; "declined" is compared with what is decided anyway."""
    return [
        f"{image} ({rule})"
        for rule in DECISIONS
        for image, one, other in zip(wanted.image_id, wanted[rule], found[rule], strict=True)
        if one != other
    ]


def compare(wanted: pandas.DataFrame, found: pandas.DataFrame, mode: str) -> tuple[str, ...]:
    """Returns a row of the table."""
    names = [name for name in wanted.columns if name.startswith("p_")]
    largest = np.abs(wanted[names].to_numpy() - found[names].to_numpy()).max()
    return mode, str(len(wanted)), f"{largest:.2g}", "; ".join(list_flips(wanted, found)) or "none"


def predict_in_bulk(python: Path, model: Path, provider: str, images: Path, output: Path) -> pandas.DataFrame:
    flags = ("--provider", provider, "--answer_anyway", "--input", images, "--output", output)
    run_command(python, "-m", "export.bulk", "--model", model, *flags)
    assert json.loads((output / "bulk.json").read_text())["provider"] == provider
    return pandas.read_parquet(output / "predictions").sort_values("image").reset_index(drop=True)


@pytest.mark.parametrize("config", ["curated", "as_published", "source_matched"])
def test_decisions_in_every_mode(config, python, tmp_path):
    for variable in ("COVID_TFDS_MANUAL_DIR", "COVID_TFDS_WEIGHTS"):
        if variable not in os.environ:
            pytest.skip(f"{variable} is not set")
    weights, manual_dir = os.environ["COVID_TFDS_WEIGHTS"], os.environ["COVID_TFDS_MANUAL_DIR"]
    flags = ("--config", config, "--manual_dir", manual_dir, "--weights", weights)
    run_command(sys.executable, "-m", "trainer", *flags, "--output", tmp_path / "float32")
    wanted = pandas.read_csv(tmp_path / "float32" / "predictions.csv")
    rows = []
    if has_bfloat16():
        fast = ("--precision", "bfloat16", "--output", tmp_path / "bfloat16")
        run_command(sys.executable, "-m", "trainer", *flags, *fast)
        found = pandas.read_csv(tmp_path / "bfloat16" / "predictions.csv")
        rows.append(compare(wanted, found, "trained with --precision bfloat16"))
    # 1: this run's int8 model misses its parity and is left out.
    run_command(sys.executable, "-m", "export", tmp_path / "float32", "--int8", codes=(0, 1))
    write_images(load(tmp_path / "float32"), tmp_path / "images")
    for model, provider in MODES:
        path, output = tmp_path / "float32" / "export" / model, tmp_path / f"{model}-{provider}"
        if not path.exists():
            continue
        found = predict_in_bulk(python, path, provider, tmp_path / "images", output)
        rows.append(compare(wanted, found, f"{model}, {provider}"))
    print(f"\n{config}\n{format_table(('mode', 'images', 'largest change of p', 'decisions that differ'), rows)}")
    assert [row for row in rows if row[0].startswith(f"{ONNX},") and row[3] != "none"] == []
