"""Chest radiographs drawn by a program: a dataset without download and without licence restrictions.

Example:
    >>> from covid_tfds import phantom
    >>> phantom.draw(0).label, phantom.draw(1).label
    ('covid', 'normal')
"""

from covid_tfds.phantom.drawing import LABELS, THREE_LABELS, Radiograph, draw, draw_by_id, encode_png, split_of

__all__ = ["LABELS", "THREE_LABELS", "Radiograph", "draw", "draw_by_id", "encode_png", "split_of"]
