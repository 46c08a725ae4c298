"""Execution providers: used only when their answers to golden images are the right ones."""

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from covid_tfds.common.files import read_json, write_checksums, write_json
from export import predict
from export.file_names import ONNX, ONNX_INT8
from export.runtime import model_file, providers
from export.runtime.predictor import ModelError, Predictor

OPENVINO = "OpenVINOExecutionProvider"


class FakeSession:
    """A session of another engine: the CPU's, with probabilities that are off by `error`."""

    def __init__(self, session, error, ran):
        self._session, self._error, self._ran = session, error, ran
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.get_modelmeta = session.get_modelmeta

    def run(self, outputs, inputs, options=None):
        self._ran.append(1)
        answers = self._session.run(outputs, inputs, options)
        off = np.array([[self._error, -self._error]], np.float32) * np.sign(0.5 - answers[0][:, :1])
        return [answers[0] + off, *answers[1:]]


@pytest.fixture
def model(exported, tmp_path):
    """A copy of the int8 model with its golden images."""
    for name in (ONNX_INT8, ONNX):
        shutil.copy(exported / name, tmp_path / name)
    shutil.copytree(exported / "golden", tmp_path / "golden")
    return tmp_path / ONNX_INT8


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Installs a provider "openvino" whose probabilities are off by `error`; gives a list of the sessions' runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def install(error=0.0, starts=True):
        ran = []
        real = model_file.open_session

        def open_session(model, threads=0, provider="cpu"):
            if provider == "cpu":
                return real(model, threads)
            if not starts:
                raise RuntimeError("OpenVINO does not start")
            return FakeSession(real(model, threads), error, ran)

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OPENVINO, "CPUExecutionProvider"])
        monkeypatch.setattr(providers, "open_session", open_session)
        return ran

    return install


def test_the_cpu_needs_no_proof(model, monkeypatch):
    monkeypatch.setattr(providers, "_find_fault", lambda *_: pytest.fail("proved"))
    predictor = Predictor(model)
    assert (predictor.provider, predictor.notices) == ("cpu", ())


def test_azure_is_no_provider(monkeypatch):
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"]
    )
    assert model_file.list_providers() == {"cpu": "CPUExecutionProvider"}


@pytest.mark.parametrize("name", ["best", "openvino", "OpenVINO", OPENVINO])
def test_a_provider_proves_itself_on_two_images_once(model, install, name):
    ran = install(error=0.002)
    assert Predictor(model, provider=name).provider == "openvino"
    assert len(ran) == 2
    assert Predictor(model, provider=name).provider == "openvino"
    assert len(ran) == 2


@pytest.mark.parametrize("changed", ["model", "engine", "processor", "golden"])
def test_a_proof_holds_for_one_model_engine_and_processor(model, install, monkeypatch, changed):
    ran = install()
    Predictor(model)
    if changed == "model":
        model = Path(shutil.copy(model.with_name(ONNX), model))
    elif changed == "engine":
        monkeypatch.setattr(onnxruntime, "__version__", "99.0")
    elif changed == "processor":
        monkeypatch.setattr(providers, "read_cpu_flags", lambda: frozenset({"amx_bf16"}))
    else:
        golden = model.parent / "golden" / "golden.json"
        golden.write_text(golden.read_text() + "\n")
    Predictor(model, provider="openvino")
    assert len(ran) == 4


def test_float_models_take_the_cpu_unless_asked(model, install):
    ran = install()
    assert Predictor(model.with_name(ONNX)).provider == "cpu"
    assert not ran
    assert Predictor(model.with_name(ONNX), provider="openvino").provider == "openvino"


@pytest.mark.parametrize("error", [0.04, float("nan")])
def test_other_answers_are_refused_by_name(model, install, error, capsys):
    ran = install(error=error)
    for _ in range(2):  # the second time by the remembered refusal
        with pytest.raises(ModelError, match=r"openvino is refused.*0\.03"):
            Predictor(model, provider="openvino")
    assert len(ran) == 1
    predictor = Predictor(model)
    assert predictor.provider == "cpu"
    (notice,) = predictor.notices
    assert "openvino" in notice
    image = str(model.parent / "golden" / "typical.png")
    assert predict.main([str(model), image]) == 0
    assert "openvino" in capsys.readouterr().err
    assert predict.main([str(model), image, "--provider", "openvino"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --provider openvino")


def test_a_heat_map_can_betray_a_saturated_probability(model, install, monkeypatch):
    install()
    golden = model.parent / "golden" / "golden.json"
    content = read_json(golden)
    for case in content["cases"]:
        heat = case["answers"][ONNX_INT8]["heatmap"]
        heat[0][0] += 2 * max(map(max, heat)) + 1
    write_json(golden, content)
    with pytest.raises(ModelError, match="heatmap"):
        Predictor(model, provider="openvino")


def test_a_provider_that_does_not_start_is_refused(model, install):
    install(starts=False)
    with pytest.raises(ModelError, match="does not start"):
        Predictor(model, provider="openvino")
    assert Predictor(model).provider == "cpu"


def test_a_provider_that_is_not_installed_is_named_with_those_that_are(model, capsys):
    assert predict.main([str(model), "image.png", "--provider", "openvin"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "openvin " in line
    assert "best, cpu" in line


def spoil(model, how):
    golden = model.parent / "golden"
    content = read_json(golden / "golden.json")
    if how == "missing":
        shutil.rmtree(golden)
    elif how == "changed":
        write_checksums(model.parent)
        (golden / "golden.json").write_text((golden / "golden.json").read_text() + " ")
    elif how == "image":
        for path in golden.glob("*.png"):
            shutil.copy(golden / "noise.png", path) if path.name != "noise.png" else None
    elif how == "no json":
        (golden / "golden.json").write_bytes(b"\xff{")
    elif how == "other model":
        for case in content["cases"]:
            del case["answers"][ONNX_INT8]
        write_json(golden / "golden.json", content)
    elif how == "list":
        (golden / "golden.json").write_text(json.dumps([1, "x"]))
    elif how == "tolerance":
        content["tolerances"][ONNX_INT8]["probabilities"] = 2.0
        write_json(golden / "golden.json", content)
    else:
        for case in content["cases"]:
            case["self_test"] = False
        write_json(golden / "golden.json", content)


@pytest.mark.parametrize(
    "how", ["missing", "changed", "image", "no json", "other model", "list", "tolerance", "none marked"]
)
@pytest.mark.parametrize("name", ["best", "openvino"])
def test_without_golden_answers_the_cpu_predicts_and_says_so(model, install, how, name):
    ran = install()
    spoil(model, how)
    predictor = Predictor(model, provider=name)
    assert (predictor.provider, ran) == ("cpu", [])
    (notice,) = predictor.notices
    assert "golden.json" in notice


@pytest.mark.parametrize("content", ["", "{", "[]", '{"refused": 7}', '"refused"'])
def test_a_damaged_proof_is_made_again(model, install, tmp_path, content):
    ran = install()
    Predictor(model)
    (kept,) = (tmp_path / "cache" / "covid_tfds" / "providers").iterdir()
    assert read_json(kept) == {"provider": "openvino", "refused": None}
    kept.write_text(content)
    assert Predictor(model).provider == "openvino"
    assert len(ran) == 4
    assert read_json(kept) == {"provider": "openvino", "refused": None}


def test_a_proof_that_can_not_be_kept_is_repeated(model, install, tmp_path, capsys):
    ran = install()
    (tmp_path / "cache").write_text("a file where the folder should be")
    for count in (2, 4):
        assert Predictor(model).provider == "openvino"
        assert len(ran) == count
        assert len(capsys.readouterr().err.splitlines()) == 1


def keep(folder, number):
    providers._keep_proof(Path(folder, "proof.json"), {"provider": "openvino", "refused": str(number) * 1000})


def test_two_processes_keep_a_whole_proof(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(keep, [(str(tmp_path), number % 10) for number in range(40)])
    assert len(set(read_json(tmp_path / "proof.json")["refused"])) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["proof.json"]


def test_bulk_predicts_with_the_provider_of_predict(model, install, tmp_path, capsys):
    from export.bulk import __main__
    from export.bulk import model as bulk_model

    bulk_model.load_model.cache_clear()
    install(error=0.04)
    flags = ["--model", str(model), "--input", str(model.parent / "golden" / "typical.png"), "--output"]
    assert __main__.main([*flags, str(tmp_path / "output")]) == 0
    assert "openvino" in capsys.readouterr().err
    assert read_json(tmp_path / "output" / "bulk.json")["provider"] == "cpu"
    assert bulk_model.load_model.cache_info().misses == 1  # the part predicts with the model that the command loaded
    assert __main__.main([*flags, str(tmp_path / "output"), "--provider", "cpu"]) == 0
    assert __main__.main([*flags, str(tmp_path / "other"), "--provider", "openvino"]) == 2
    assert "0.03" in capsys.readouterr().err
    bulk_model.load_model.cache_clear()
