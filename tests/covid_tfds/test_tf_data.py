import numpy as np

from covid_tfds import datasets
from covid_tfds.examples import DatasetRequest
from trainer.features import pipelines
from trainer.recipes import Augmentation


def test_no_pipeline_waits_for_the_autotuner(phantom_folder):
    examples, rows = datasets.load_examples(DatasetRequest(dataset=str(phantom_folder))), np.array([1, 4])
    for dataset in (
        pipelines.eval_pipeline(examples, rows, 2),
        pipelines.train_pipeline(examples, rows, Augmentation(rotation=5.0), 2, seed=1),
    ):
        assert dataset.options().autotune.enabled is False


def test_no_prepared_dataset_waits_for_the_autotuner(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    configs = []
    as_dataset = tfds.core.DatasetBuilder.as_dataset

    def watched(builder, **options):
        configs.append(options["read_config"])
        return as_dataset(builder, **options)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", watched)
    datasets.load_examples(DatasetRequest(config="phantom", num_examples=10, data_dir=str(tmp_path)))
    assert len(configs) == 2
    assert not any(config.options.autotune.enabled or config.try_autocache for config in configs)
