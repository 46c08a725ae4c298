import numpy as np
import pytest
from PIL import Image

from covid_tfds.datasets import load_examples
from covid_tfds.examples import DatasetRequest
from trainer.validation import file_facts


def test_file_facts_do_not_depend_on_what_the_image_shows(tmp_path):
    for name, noise in (("covid", 90), ("normal", 0)):
        (tmp_path / name).mkdir()
        for index in range(2):
            pixels = 100 + np.random.default_rng(index).normal(0, noise, (60, 80))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / name / f"{index}.jpg", quality=80)
    facts = file_facts.file_facts(load_examples(DatasetRequest(dataset=str(tmp_path))))
    np.testing.assert_array_equal(facts, np.broadcast_to(facts[0], facts.shape))
    channels, width, height, aspect, is_jpeg, quality = facts[0]
    assert (channels, width, height, is_jpeg) == (1, np.log2(80), np.log2(60), 1)
    assert aspect == pytest.approx(np.log2(80 / 60))
    assert quality == pytest.approx(80, abs=1)
