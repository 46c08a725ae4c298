"""The SavedModel: both signatures, their agreement, their size, and the command line tool of TensorFlow on them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export.file_names import SAVED_MODEL
from export.graph import saved_model
from export.parity.drawn_images import ONLY_BY_READER, draw_images

PNG = next(image for image in draw_images() if image.name == "colour-tall.png")


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported / SAVED_MODEL)).signatures


def test_files_and_pixels_give_the_same(signatures):
    """Files of different kinds and sizes in one call."""
    from covid_tfds.imaging.tensorflow_decoder import decode_image

    images = [image for image in draw_images() if image.name not in ONLY_BY_READER]
    encoded = tf.constant([image.encoded for image in images])
    together = signatures[saved_model.BYTES](image_bytes=encoded)["probabilities"].numpy()
    assert together.shape == (len(images), 2)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    for row, image in enumerate(images):
        pixels = decode_image(image.encoded)[None]
        alone = signatures[saved_model.PIXELS](image=pixels)["probabilities"].numpy()
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_a_file_that_is_no_image_gets_nan_and_the_others_their_answer(signatures):
    serve = signatures[saved_model.BYTES]
    bomb = PNG.encoded[:16] + b"\0\0\xff\xff\0\0\xff\xff" + PNG.encoded[24:]
    bad = [b"no image", b"", PNG.encoded[:200], bomb]
    alone = serve(image_bytes=tf.constant([PNG.encoded]))["probabilities"].numpy()
    together = serve(image_bytes=tf.constant([*bad, PNG.encoded]))["probabilities"].numpy()
    assert np.isnan(together[: len(bad)]).all()
    np.testing.assert_allclose(together[len(bad) :], alone, atol=1e-6)
    assert np.isnan(serve(image_bytes=tf.constant(bad[:1]))["probabilities"].numpy()).all()


def test_weights_are_stored_once(exported):
    """14.7 million parameters of four bytes; track() and model.export() would store 118 MB."""
    size = sum(file.stat().st_size for file in (exported / SAVED_MODEL).rglob("*") if file.is_file())
    assert 58e6 < size < 62e6


# What `saved_model_cli` does for its command lines, in one process: most of the time goes into TensorFlow's import.
SAVED_MODEL_CLI = """
import json, sys
from absl import flags
from tensorflow.python.tools import saved_model_cli
for argv in json.load(sys.stdin):
    flags.FLAGS(["saved_model_cli", *argv])
    getattr(saved_model_cli, argv[0])()
"""


@pytest.mark.slow
def test_tensorflows_command_line_shows_and_runs_both(exported, tmp_path):
    np.save(tmp_path / "files.npy", np.asarray([PNG.encoded]))
    np.save(tmp_path / "pixels.npy", np.full((1, 30, 20, 3), 80, np.uint8))
    model = ("--dir", str(exported / SAVED_MODEL))
    commands = [
        ("run", *model, "--tag_set=serve", "--signature_def", signature, "--inputs", given, "--outdir", signature)
        for signature, given in ((saved_model.BYTES, "image_bytes=files.npy"), (saved_model.PIXELS, "image=pixels.npy"))
    ]
    shown = subprocess.run(
        [sys.executable, "-c", SAVED_MODEL_CLI],
        input=json.dumps([("show", *model, "--all"), *commands]),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    for text in ("serving_default", "serving_bytes", "image_bytes", "DT_UINT8", "(-1, -1, -1, 3)", "DT_STRING"):
        assert text in shown
    for signature in (saved_model.BYTES, saved_model.PIXELS):
        assert np.load(tmp_path / signature / "probabilities.npy").shape == (1, 2)
