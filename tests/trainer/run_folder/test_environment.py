"""What environment.json says of a run."""

from trainer.run_folder.environment import Weights


def test_trained_weights_name_their_authors_and_random_ones_nobody():
    attribution = Weights("imagenet", "0" * 64, trained=True).attribution
    for needed in ("Simonyan", "Zisserman", "Visual Geometry Group", "Oxford", "CC BY 4.0"):
        assert needed in attribution
    assert Weights("random", "0" * 64, trained=False).attribution is None
