"""Plots of classes whose names Matplotlib's own font can't write; a warning would fail the test."""

from trainer.report import plots


def test_a_class_with_a_name_in_another_script():
    assert plots.draw_confusion_matrix([[3, 1], [0, 4]], ("covid", "影像"), "test split").ndim == 3
