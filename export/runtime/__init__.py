"""Predict with an exported model, without TensorFlow."""
