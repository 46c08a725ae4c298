import pytest

from trainer.benchmark import after_features, stand_in


@pytest.mark.slow
def test_the_phases_of_a_whole_training_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in, "DRAWN", 8)
    stand_in.write_stand_in(tmp_path / "images", 20)
    seconds = after_features.measure_training(tmp_path / "images")
    assert list(seconds) == ["reading", "drawing features", "after the features"]
    assert min(seconds.values()) > 0
