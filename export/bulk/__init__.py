"""Bulk prediction: an exported model over many images by Apache Beam, on one machine or on many. Never TensorFlow.

TensorFlow is only imported where the images come from a TFDS dataset, by TFDS itself.
"""
