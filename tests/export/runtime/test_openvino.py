"""`--provider openvino` as it is installed from the package registry, in an environment of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from export.file_names import ONNX, ONNX_INT8
from tests.fakes.openvino import make_environment

ROOT = Path(__file__).parents[3]
# What OpenVINO takes by itself on processors with AMX.
IN_BFLOAT16 = (
    "import sys; from export import predict; from export.runtime import model_file; "
    "settings = model_file.FULL_PRECISION['openvino']; "
    "settings['load_config'] = settings['load_config'].replace('f32', 'bf16'); sys.exit(predict.main(sys.argv[1:]))"
)

pytestmark = pytest.mark.trial


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return make_environment(tmp_path_factory.mktemp("openvino"))


@pytest.fixture
def run(python, exported, tmp_path):
    """Runs a command of that environment on the golden image `typical.png`."""

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
        image = str(exported / "golden" / "typical.png")
        return subprocess.run([python, *command, image], env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("name", [ONNX, ONNX_INT8])
def test_it_gives_the_golden_answers(run, exported, tmp_path, name):
    model = str(exported / name)
    done = run("-m", "export.predict", "--provider", "openvino", model)
    assert done.returncode == 0, done.stderr
    p_openvino, p_cpu = (
        float(output.stdout.splitlines()[1].split()[0])
        for output in (done, run("-m", "export.predict", "--provider", "cpu", model))
    )
    assert p_openvino == pytest.approx(p_cpu, abs=0.03 if name == ONNX_INT8 else 1e-4)
    assert len(list((tmp_path / "covid_tfds" / "providers").iterdir())) == 1
    default = run("-m", "export.predict", model)
    assert ("openvino" in default.stderr) == (name == ONNX_INT8)


def test_it_is_refused_where_it_computes_float32_in_bfloat16(run, exported):
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no bfloat16 on this processor")
    done = run("-c", IN_BFLOAT16, "--provider", "openvino", str(exported / ONNX))
    assert done.returncode == 2, done.stdout
    (line,) = done.stderr.splitlines()
    assert "openvino is refused" in line
