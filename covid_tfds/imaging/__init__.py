"""Bytes to pixels: a TensorFlow decoder and a Pillow / pydicom reader that agree, limits, heat map overlays."""
