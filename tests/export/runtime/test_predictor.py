"""The predictor: same answers as the model's own, and one clear line for every model file that is not one."""

import dataclasses
import doctest
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from covid_tfds.common.errors import INTENDED_USE
from covid_tfds.common.files import CHECKSUMS, read_json
from export.file_names import ONNX, ONNX_INT8
from export.runtime.model_file import names_other_files
from export.runtime.model_info import ModelInfo
from export.runtime.predictor import ImageError, ModelError, Predictor
from trainer.run_folder.run import load

ROOT = Path(__file__).parents[3]
BOOL = TensorProto.BOOL


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor(exported / ONNX)


def golden(exported) -> list[dict]:
    return read_json(exported / "golden" / "golden.json")["cases"]


def test_gives_the_golden_answers(exported, predictor):
    for case in golden(exported):
        prediction = predictor.predict_file(exported / "golden" / case["file"])
        assert list(prediction.probabilities.values()) == pytest.approx(case["probabilities"], abs=1e-5)
        answer = case["answers"][ONNX]
        assert list(prediction.probabilities.values()) == pytest.approx(answer["probabilities"], abs=1e-6)
        assert (prediction.decision, prediction.decision_argmax) == (answer["decision"], answer["decision_argmax"])
        expected = np.asarray(case["heatmap"])
        assert prediction.heatmap.shape == expected.shape
        np.testing.assert_allclose(prediction.heatmap, expected, atol=1e-3 * max(expected.max(), 1e-3))


def test_noise_is_declined_and_a_training_image_is_not(exported, trained_run, predictor):
    declined = predictor.predict_file(exported / "golden" / "noise.png")
    assert (declined.decision, declined.declined) == ("declined", True)
    assert declined.typicality == pytest.approx(predictor.info.declined_at, rel=1e-4)
    assert f"{declined.distance:.3g}" in declined.declined_because
    assert f"{declined.typicality:.3g}" in declined.declined_because
    assert sum(declined.probabilities.values()) == pytest.approx(1)
    run = load(trained_run)
    row = next(row for row in run.predictions if row.split == "train")
    known = predictor.predict_file(Path(run.config.data.dataset) / row.image_id)
    assert (known.declined, known.declined_because) == (False, None)
    assert known.decision in predictor.info.labels
    assert known.typicality > 0.5


def test_a_declined_image_can_be_decided_on_anyway(exported, predictor):
    path = exported / "golden" / "noise.png"
    answered, declined = Predictor(exported / ONNX, answer_anyway=True).predict_file(path), predictor.predict_file(path)
    assert answered.decision == predictor.info.decide(list(declined.probabilities.values()))
    assert answered.declined
    assert dataclasses.replace(answered, decision="declined", heatmap=None) == dataclasses.replace(
        declined, heatmap=None
    )


@pytest.mark.parametrize(("typicality", "declined"), [(0.0250024, True), (0.02501, False), (0.9, False), (None, False)])
def test_the_level_allows_for_rounding(typicality, declined):
    info = ModelInfo(["covid", "normal"], "covid", 0.5, [0, 0, 1, 1], "A test.", declined_at=0.025)
    assert (info.explain_declined(typicality, 0.5) is not None) == declined


def test_predictions_are_those_of_predictions_csv(trained_run, predictor):
    run = load(trained_run)
    for row in run.predictions[::6]:
        prediction = predictor.predict_file(Path(run.config.data.dataset) / row.image_id)
        assert prediction.probabilities == pytest.approx(row.probabilities, abs=1e-5)
        assert (prediction.decision, prediction.decision_argmax) == (row.decision, row.decision_argmax)


def test_info_holds_the_facts_of_the_run(trained_run, predictor):
    run = load(trained_run)
    info = predictor.info
    assert info.labels == ["covid", "normal"]
    assert info.positive_class == "covid"
    assert info.threshold == 0.4
    assert info.intended_use == INTENDED_USE
    assert info.run_id == run.environment.run_id
    assert info.dataset["fingerprint"] == run.environment.dataset.fingerprint
    assert info.temperature == 2.0
    assert info.shortcuts_verdict == "shortcut"
    assert info.heatmap_region == [0, 0, 1, 1]
    assert set(info.versions) >= {"tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime"}


def test_reads_the_int8_model(exported, predictor):
    small = Predictor(exported / ONNX_INT8)
    assert small.info == dataclasses.replace(predictor.info, precision="int8")
    image = exported / "golden" / "grey-wide.png"
    p_covid, expected = (one.predict_file(image).probabilities["covid"] for one in (small, predictor))
    assert p_covid == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
    ids=["grey", "float", "empty", "rgba"],
)
def test_other_arrays_than_images_are_refused(predictor, image):
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\]"):
        predictor.predict(image)


def test_a_file_that_is_no_image_is_refused(predictor, tmp_path):
    (tmp_path / "image.png").write_text("no image")
    with pytest.raises(ImageError, match="expected JPEG"):
        predictor.predict_file(tmp_path / "image.png")


def test_warnings_come_with_the_prediction(predictor, tmp_path):
    Image.new("L", (300, 300)).save(tmp_path / "black.png")
    assert predictor.predict_file(tmp_path / "black.png").warnings == ["almost black"]


def test_a_damaged_model_is_refused_by_its_checksum(exported, tmp_path):
    for name in (ONNX, CHECKSUMS):
        shutil.copy(exported / name, tmp_path)
    path = tmp_path / ONNX
    Predictor(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"{ONNX}.*{CHECKSUMS}"):
        Predictor(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage " * 50, b"PK\x03\x04 a zip", b"\x08\x08:\xff\xff\xff\x0f"],
    ids=["empty", "text", "zip", "cut"],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.onnx") as caught:
        Predictor(path)
    assert "\n" not in str(caught.value)


def test_half_a_model_is_refused(exported, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes((exported / ONNX).read_bytes()[:-1000])
    with pytest.raises(ModelError):
        Predictor(path)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        Predictor(tmp_path / "model.onnx")


def test_checksums_that_can_not_be_read_check_nothing_and_are_named(exported, tmp_path):
    """A folder in its place: root, who may run the tests, can read every file."""
    shutil.copy(exported / ONNX, tmp_path)
    (tmp_path / CHECKSUMS).mkdir()
    with pytest.raises(ModelError, match=CHECKSUMS):
        Predictor(tmp_path / ONNX)


def test_a_pipe_or_a_device_is_no_model(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    for path in (tmp_path / "pipe.onnx", "/dev/zero", tmp_path):
        with pytest.raises(ModelError, match="device"):
            Predictor(path)


def other_model(path, probabilities=(0.25, 0.75), heatmap=((0.0, 1.0),), **metadata):
    """A valid ONNX model that is not ours and gives the same answer to every image."""
    answers = {"probabilities": [probabilities], "heatmap": [heatmap]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in answers]
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.asarray(value, np.float32)))
        for name, value in answers.items()
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
    graph = helper.make_graph(nodes, "g", [image], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return model


METADATA = {
    "labels": '["covid", "normal"]',
    "positive_class": '"covid"',
    "threshold": "0.5",
    "heatmap_region": "[0, 0, 1, 1]",
    "intended_use": '"A test."',
}


def test_a_model_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    other_model(path)
    with pytest.raises(ModelError, match="without labels, positive_class, threshold"):
        Predictor(path)
    other_model(path, labels="[")
    with pytest.raises(ModelError, match="without positive_class"):
        Predictor(path)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"labels": "["}, "not JSON"),
        ({"labels": "3"}, "labels 3"),
        ({"labels": '["covid"]'}, "labels"),
        ({"positive_class": '"flu"'}, "'flu'"),
        ({"positive_class": '"normal"'}, "'normal'"),
        ({"threshold": '"x"'}, "threshold 'x'"),
        ({"threshold": "NaN"}, "threshold nan"),
        ({"threshold": "1e999"}, "threshold inf"),
        ({"threshold": "null"}, "threshold None"),
        ({"threshold": "[0.5]"}, "threshold"),
        ({"threshold": "true"}, "threshold True"),
        ({"threshold": "1" * 5000}, "threshold"),
        ({"labels": '["covid", "covid"]'}, "labels"),
        ({"labels": '["covid", 3]'}, "labels"),
        ({"labels": '["covid", ["normal"]]'}, "labels"),
        ({"labels": '["covid", "' + "n" * 300 + '"]'}, "labels"),
        ({"heatmap_region": '["0", "0", "1", "1"]'}, "heatmap_region"),
        ({"heatmap_region": "[0, 0, 1e9, 1]"}, "heatmap_region"),
        ({"heatmap_region": "[0, 0, 1]"}, "heatmap_region"),
        ({"heatmap_region": "[0.5, 0, 0.5, 1]"}, "heatmap_region"),
        ({"intended_use": "{}"}, "intended_use"),
        ({"notes": '"text"'}, "notes"),
        ({"dataset": "[" * 100_000}, "dataset"),
        ({"dataset": '{"a":' * 20 + "0" + "}" * 20}, "dataset"),
        ({"recipe": '"' + "x" * (1 << 21) + '"'}, "recipe"),
        ({"shortcuts_verdict": '"none"'}, "shortcuts_verdict"),
        ({"temperature": "-1"}, "temperature"),
        ({"declined_at": '"0.01"'}, "declined_at"),
    ],
)
def test_a_model_with_wrong_metadata_is_refused(tmp_path, changed, named):
    path = tmp_path / "other.onnx"
    other_model(path, **METADATA | changed)
    with pytest.raises(ModelError, match=named) as caught:
        Predictor(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "p", "decisions"),
    [
        (["a", "b", "c", "d"], [0.2, 0.1, 0.4, 0.3], ("c", "c")),
        (["a", "b", "c", "d"], [0.3, 0.1, 0.2, 0.4], ("a", "d")),
        (["a", "b", "c", "d"], [0.1, 0.3, 0.3, 0.3], ("b", "b")),
    ],
)
def test_four_classes_and_both_rules(tmp_path, labels, p, decisions):
    path = tmp_path / "four.onnx"
    other_model(path, p, **METADATA | {"labels": json.dumps(labels), "positive_class": '"a"', "threshold": "0.3"})
    prediction = Predictor(path).predict(np.zeros((4, 4, 3), np.uint8))
    # 0.3 in 32 bits is a little more than 0.3.
    assert (prediction.decision, prediction.decision_argmax) == decisions
    assert prediction.probabilities == pytest.approx(dict(zip(labels, p, strict=True)))


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ({"probabilities": (np.nan, 0.5)}, "no probabilities"),
        ({"probabilities": (-0.5, 1.5)}, "no probabilities"),
        ({"probabilities": (0.5, 0.9)}, "no probabilities"),
        ({"probabilities": (0.2, 0.3, 0.5)}, r"\[1, 3\], expected \[1, 2\]"),
        ({"probabilities": ((0.2, 0.8),)}, r"\[1, 1, 2\]"),
        ({"heatmap": (1.0, 2.0)}, r"heat map \[1, 2\]"),
        ({"heatmap": ((np.inf, 2.0),)}, "heat map"),
        ({"heatmap": ((-1.0, 2.0),)}, "heat map"),
        ({"heatmap": np.zeros((2000, 2000))}, "heat map"),
    ],
)
def test_an_answer_that_is_none_is_an_error(tmp_path, answer, named):
    path = tmp_path / "other.onnx"
    other_model(path, **answer, **METADATA)
    with pytest.raises(ModelError, match=named):
        Predictor(path).predict(np.zeros((4, 4, 3), np.uint8))


def endless_model(path):
    """Its metadata are right, and its answer never comes."""
    true, empty = helper.make_node("Constant", [], ["go_on"], value=as_tensor(True)), []
    body = helper.make_graph(
        [helper.make_node("Identity", ["condition"], ["again"])],
        "body",
        [helper.make_tensor_value_info(n, kind, empty) for n, kind in (("i", TensorProto.INT64), ("condition", BOOL))],
        [helper.make_tensor_value_info("again", BOOL, empty)],
    )
    other_model(path, **METADATA)
    model = onnx.load(path)
    loop = helper.make_node("Loop", ["", "go_on", "start"], ["end"], body=body)
    body.input.append(helper.make_tensor_value_info("carried", TensorProto.FLOAT, None))
    body.output.append(helper.make_tensor_value_info("next", TensorProto.FLOAT, None))
    body.node.append(helper.make_node("Identity", ["carried"], ["next"]))
    loop.attribute[0].g.CopyFrom(body)
    model.graph.node[1].output[0] = "start"
    model.graph.node.extend([true, loop, helper.make_node("Identity", ["end"], ["heatmap"])])
    onnx.save(model, path)


def as_tensor(value):
    return onnx.numpy_helper.from_array(np.asarray(value))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_model_that_never_ends_ends_by_a_signal(tmp_path, number, code):
    endless_model(tmp_path / "endless.onnx")
    Image.new("L", (300, 300), 90).save(tmp_path / "image.png")
    words = [sys.executable, "-m", "export.predict", str(tmp_path / "endless.onnx"), str(tmp_path / "image.png")]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "p_covid" in process.stdout.readline()  # the table's head
        process.send_signal(number)
        _, error = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in error


def test_an_answer_larger_than_the_memory_is_one_line(tmp_path):
    other_model(tmp_path / "large.onnx", **METADATA)
    model = onnx.load(tmp_path / "large.onnx")
    model.graph.node[1].output[0] = "small"
    shape = helper.make_node("Constant", [], ["shape"], value=as_tensor([1, 1 << 20, 1 << 20]))
    model.graph.node.extend([shape, helper.make_node("Expand", ["small_cell", "shape"], ["heatmap"])])
    model.graph.node.insert(2, helper.make_node("ReduceSum", ["small"], ["small_cell"], keepdims=1))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(ModelError) as caught:
        Predictor(tmp_path / "large.onnx").predict(np.zeros((4, 4, 3), np.uint8))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inside", ["initializer", "attribute", "subgraph"])
def test_weights_in_other_files_are_refused(tmp_path, inside):
    """They could be any file of the machine."""
    secret = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    secret.data_location = TensorProto.EXTERNAL
    secret.external_data.add(key="location", value="../../secret")
    secret.ClearField("float_data")
    constant = helper.make_node("Constant", [], ["c"], value=secret)
    graph = helper.make_graph([constant] if inside == "attribute" else [], "g", [], [])
    if inside == "initializer":
        graph.initializer.append(secret)
    if inside == "subgraph":
        branch = helper.make_graph([constant], "branch", [], [])
        graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch))
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(ModelError, match="other files"):
        Predictor(path)


def test_an_exported_model_holds_its_weights_itself(exported):
    for name in (ONNX, ONNX_INT8):
        assert not names_other_files((exported / name).read_bytes())


# Runs the command where only what the predictor needs is installed.
WITHOUT_TENSORFLOW = """
import sys
from importlib.machinery import PathFinder

HIDDEN = {"tensorflow", "keras", "tensorflow_datasets", "wrapt", "trainer", "onnx", "tf2onnx", "jinja2", "scipy"}

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if finder is PathFinder else finder for finder in sys.meta_path]
from export import predict
code = predict.main(sys.argv[1:])
assert not HIDDEN & set(sys.modules)
sys.exit(code)
"""


def test_works_where_tensorflow_can_not_be_imported(exported):
    case = golden(exported)[0]
    image = exported / "golden" / case["file"]
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(exported / ONNX), str(image), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["p_covid"] == pytest.approx(case["probabilities"][0], abs=1e-5)


def test_other_programs_find_the_facts_in_the_metadata(exported):
    """As JSON texts."""
    props = {prop.key: json.loads(prop.value) for prop in onnx.load(exported / ONNX).metadata_props}
    assert props["input"]["name"] == "image"
    assert props["labels"].index(props["positive_class"]) == 0
    assert props["intended_use"] == INTENDED_USE


def test_the_example_in_the_docstring_runs(exported, monkeypatch):
    monkeypatch.chdir(exported)
    (test,) = (test for test in doctest.DocTestFinder().find(Predictor) if test.name == "Predictor")
    for example in test.examples:
        example.options.clear()  # which skip it where there is no model
    assert doctest.DocTestRunner().run(test) == (0, 5)
