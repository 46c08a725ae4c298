"""Fine-tuning of a network that costs nothing, for a process of its own: devices are divided before TensorFlow starts.

python -m tests.fakes.fine_tuning FOLDER mirrored|multiworker      # prints JSON
"""

import json
import os
import sys

from covid_tfds.common import logs
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.features.training_set import load_training_set


def fitted(strategy, features, head) -> dict:
    """What fine-tuning gives: metrics by epoch, and the sums of the new weights."""
    from trainer.fine_tuning import fine_tune

    tuned = fine_tune.fine_tune(features, head, strategy)
    sums = [float(abs(array).sum()) for array in (*tuned.backbone.network.get_weights(), *tuned.head)]
    return {"replicas": strategy.num_replicas_in_sync, "history": tuned.history, "weights": sums}


def untrained(config: Config):
    """Features of a folder's images, and an untrained head."""
    import dataclasses

    from tests.fakes import small_network
    from trainer.features.backbone_features import Backbone, Features, default_folder
    from trainer.recipes import DEFAULT

    backbone = Backbone(small_network.backbone(), "small")
    recipe = dataclasses.replace(DEFAULT, batch_size=config.batch_size)
    features = Features(load_training_set(config), backbone, recipe, config.seed, default_folder())
    return features, features.build_head()


def main(folder: str, how: str) -> None:
    with logs.silenced():
        import tensorflow as tf

        from trainer.fine_tuning import fine_tune
        from trainer.models import strategies

    config = Config(data=DatasetRequest(dataset=folder), batch_size=4, fine_tune="block5", strategy=how)
    strategy = strategies.strategy(config)
    tf.config.experimental.enable_op_determinism()
    fine_tune.EPOCHS, fine_tune.LEARNING_RATE = int(os.environ.get("EPOCHS", 4)), 1e-2
    found = {how: fitted(strategy, *untrained(config))}
    if how == "mirrored":
        found["one"] = fitted(tf.distribute.get_strategy(), *untrained(config))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
