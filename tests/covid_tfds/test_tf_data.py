import numpy as np
import pytest

from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features import data, pipelines
from trainer.recipes import Augmentation


@pytest.mark.parametrize("kind", ["builder config", "folder"])
def test_no_iteration_waits_for_the_autotuner(kind, phantom_folder, tmp_path):
    config = Config(data=DatasetRequest(dataset=str(phantom_folder)), batch_size=2)
    if kind == "builder config":
        config = Config(data=DatasetRequest(config="phantom", num_examples=10, data_dir=str(tmp_path)), batch_size=2)
    examples = data.load(config)
    rows = examples.rows("train")
    for dataset in (
        examples.encoded(),
        pipelines.eval_pipeline(examples, np.arange(len(examples)), 2),
        pipelines.eval_pipeline(examples, rows, 2),
        pipelines.train_pipeline(examples, rows, Augmentation(rotation=5.0), 2, seed=1),
    ):
        assert dataset.options().autotune.enabled is False
