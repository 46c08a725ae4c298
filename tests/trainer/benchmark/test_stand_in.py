import hashlib

import numpy as np
import pytest
from PIL import Image

from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.benchmark import stand_in


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark") / "stand_in"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stand_in, "DRAWN", 8)
        assert stand_in.main([str(folder), "--images", "32"]) == 0
    return folder


def test_it_is_read_as_the_radiography_database(folder):
    examples = load_examples(DatasetRequest(dataset=str(folder)))
    assert sorted(examples.class_names) == sorted(stand_in.SIZES)
    assert len(examples) == pytest.approx(32, abs=2)


def test_each_image_is_another_one_of_the_right_size_with_a_mask(folder):
    images = sorted(folder.glob("*/images/*.png"))
    assert len({hashlib.sha256(path.read_bytes()).hexdigest() for path in images}) == len(images)
    for path in images:
        with Image.open(path) as image, Image.open(path.parents[1] / "masks" / path.name) as mask:
            assert (image.size, mask.size) == ((299, 299), (256, 256))
            assert set(np.unique(np.asarray(mask))) == {0, 255}


def test_an_existing_folder_is_not_overwritten(folder, capsys):
    assert stand_in.main([str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err
