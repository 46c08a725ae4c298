import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from covid_tfds.common.files import read_json
from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.benchmark import typicality
from trainer.features.backbone_features import Backbone
from trainer.run_folder import file_names
from trainer.run_folder.typicality import load_reference

KINDS = ["inverted", "rotated by 90", "rotated by 180", "half black", "screenshot", "noise", "mirrored"]


@pytest.fixture(scope="module")
def drawn(data_dir):
    """Twenty drawn radiographs, sixteen of them to train on."""
    return load_examples(DatasetRequest(config="phantom", num_examples=20, data_dir=str(data_dir)))


def test_noise_and_photographs_are_farther_than_unseen_radiographs(tiny, drawn):
    results = typicality.compare_measures(
        tiny.network, {"phantom": drawn}, [("lateral", np.zeros((9, 9, 3), np.uint8))]
    )
    found = {(result.measure, result.kind): result for result in results}
    assert len(found) == len(results) == 7 * (1 + len(KINDS) + 2)
    name = "block5 quarters and thumbnail, 3 nearest"
    assert (found[name, "noise"].auroc, found[name, "photograph"].images) == (1.0, 2)
    assert all(result.auroc > 0.5 for result in results if result.kind == "noise")
    assert found[name, "own test split"].auroc is None
    assert found[name, "own test split"].images == found[name, "mirrored"].images == 4
    lines = typicality.tabulate(results).splitlines()
    assert len(lines) == 2 + 1 + len(KINDS) + 2
    assert lines[-1].startswith("| photograph (2)")


def test_images_of_known_patients_are_not_unseen(drawn):
    other = drawn.subset(np.arange(3))
    new = dataclasses.replace(
        other,
        patient_id=np.asarray(["new", "", "new"]),
        image_id=np.asarray(["a", "b", "c"]),
        sha256=np.asarray(["x", "y", "z"]),
        facts=other.facts | {"source": np.asarray([other.facts["source"][0], "elsewhere", "elsewhere"])},
    )
    place = {str(key): number for number, key in enumerate([*drawn.sha256, "x", "y", "z"])}
    train, unseen = typicality.find_unseen("phantom", {"phantom": drawn, "known": other, "new": new}, place)
    assert train.tolist() == drawn.rows("train").tolist()
    assert [rows.tolist() for rows in unseen.values()] == [drawn.rows("test").tolist(), [20], [21, 22]]


def test_other_views_are_read_from_their_list(tmp_path):
    Image.new("L", (8, 6), 7).save(tmp_path / "a.png")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "modality"), ("a.png", "CT"), ("a.png", "X-ray")])
    kinds, pixels = zip(*typicality.read_other_views(tmp_path), strict=True)
    assert kinds == ("CT", "lateral")
    assert pixels[0].shape == (6, 8, 3)


def test_lateral_views_and_slices_are_farther_than_the_test_split(train_imagenet, imagenet_weights, other_views):
    """With real weights and real images: of either kind, 0.95 of the pairs are in the right order."""
    run = train_imagenet("curated")
    reference = load_reference(run / file_names.REFERENCE)
    radiographs = [image["distance"] for image in read_json(run / file_names.TYPICALITY)["images"]]
    compute = typicality.compile_vectors(Backbone.load(str(imagenet_weights), seed=42).network)
    distances = {"lateral": [], "CT": []}
    for kind, pixels in typicality.read_other_views(other_views):
        distance, _ = reference.measure(compute(pixels)["block5_pool joined"][None])
        distances[kind].append(distance[0])
    for kind, found in distances.items():
        assert np.mean(np.asarray(found)[:, None] > radiographs) >= 0.95, kind


def test_an_existing_output_is_refused(tmp_path, capsys):
    (tmp_path / "typicality.json").write_text(json.dumps([]))
    argv = ["--weights", "random", "--other_views", str(tmp_path), "--output", str(tmp_path / "typicality.json")]
    assert typicality.main(argv) == 2
    assert "never overwritten" in capsys.readouterr().err
