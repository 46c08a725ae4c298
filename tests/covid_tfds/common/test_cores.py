"""What this machine's processor has, and how many threads a command uses of it."""

import onnxruntime
import pytest

from covid_tfds.common import cores
from export.file_names import ONNX
from export.runtime.predictor import Predictor


def test_flags_are_those_of_the_first_processor(tmp_path, monkeypatch):
    cpu = tmp_path / "cpuinfo"
    cpu.write_text("processor : 0\nflags\t\t: fpu avx512_vnni\n\nprocessor : 1\nflags : other\n")
    monkeypatch.setattr(cores, "CPU_INFO", cpu)
    assert cores.read_cpu_flags() == {"fpu", "avx512_vnni"}
    monkeypatch.setattr(cores, "CPU_INFO", tmp_path / "none")
    assert cores.read_cpu_flags() == frozenset()


@pytest.mark.parametrize(("flag", "threads"), [(3, 3), (None, 2)])
def test_a_model_computes_with_the_threads_of_the_flag(exported, monkeypatch, flag, threads):
    monkeypatch.setattr(cores, "count_cores", lambda: 2)
    monkeypatch.setattr(cores, "_threads", None)
    real, options = onnxruntime.InferenceSession, []
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *args, **more: (options.append(args[1]), real(*args, **more))[1]
    )
    cores.limit_threads(flag)
    Predictor(exported / ONNX)
    assert [one.intra_op_num_threads for one in options] == [threads]
