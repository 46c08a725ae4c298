"""Chest radiographs drawn by a program: a dataset that needs no download and belongs to nobody.

Example:
    >>> from covid_tfds import phantom
    >>> phantom.draw(0).label, phantom.draw(1).label
    ('covid', 'normal')
"""

from covid_tfds.phantom.drawing import LABELS, Radiograph, draw, encode_png, from_id, split

__all__ = ["LABELS", "Radiograph", "draw", "encode_png", "from_id", "split"]
