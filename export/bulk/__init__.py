"""Bulk prediction: an exported model over many images, in parts, on one machine or on many. Never TensorFlow."""
