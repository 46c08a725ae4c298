"""Training, audit and predictor read the same pixels of any image file, or all refuse it."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import ExifTags, Image

from covid_tfds.audit.pixels import to_grey
from covid_tfds.imaging import formats, reader
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.tensorflow_decoder import decode_any_image, decode_image
from tests.fakes.image_kinds import make_grey_profile, write_png
from tests.fakes.properties import check_property, in_two_sizes

# Modes of Pillow that each format can hold.
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("L", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"),
}
# Colour type of a PNG and samples a pixel.
PNG_TYPES = {"grey": (0, 1), "colour": (2, 3), "grey and alpha": (4, 2), "colour and alpha": (6, 4)}


@st.composite
def files(draw) -> bytes:
    width, height = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    if draw(st.integers(0, 3)) == 0:
        kind, samples = PNG_TYPES[draw(st.sampled_from(sorted(PNG_TYPES)))]
        bits = draw(st.sampled_from([8, 16]))
        highest = draw(st.sampled_from([200, 4095, 65535])) if bits == 16 else 255
        pixels = random.integers(0, highest, (height, width, samples), endpoint=True)
        array = pixels.squeeze(-1) if samples == 1 else pixels
        encoded = write_png(array.astype(np.uint16 if bits == 16 else np.uint8), kind, bits, draw(st.booleans()))
    else:
        encoded = draw_with_pillow(draw, random, width, height)
    if draw(st.integers(0, 9)) == 0:
        encoded = encoded[: draw(st.integers(0, len(encoded)))]
    return encoded


def draw_with_pillow(draw, random, width, height) -> bytes:
    file_format = draw(st.sampled_from(sorted(MODES)))
    mode = draw(st.sampled_from(MODES[file_format]))
    if mode == "I;16":
        highest = draw(st.sampled_from([200, 256, 4095, 4096, 65535]))
        image = Image.fromarray(random.integers(0, highest, (height, width), endpoint=True).astype(np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (height, width, 4)).astype(np.uint8), "RGBA")
        image = image.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else image.convert(mode)
    options = {}
    if draw(st.booleans()) and file_format != "BMP":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = draw(st.integers(1, 8))
        options["exif"] = exif
    if mode == "L" and file_format in ("JPEG", "PNG", "TIFF") and draw(st.booleans()):
        options["icc_profile"] = make_grey_profile(1.8)
    if file_format == "JPEG":
        options |= {"quality": draw(st.sampled_from([20, 75, 95])), "progressive": draw(st.booleans())}
    if file_format == "PNG" and mode in ("L", "P") and draw(st.booleans()):
        options["transparency"] = draw(st.integers(0, 255))
    if file_format == "WEBP":
        options["lossless"] = draw(st.booleans())
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def check_file(encoded: bytes) -> None:
    try:
        expected = reader.decode_image(encoded).pixels
    except ImageError:
        with pytest.raises(tf.errors.OpError):
            decode_any_image(encoded)
        with pytest.raises(ImageError):
            to_grey(encoded)
        return
    np.testing.assert_array_equal(decode_any_image(encoded), expected)
    np.testing.assert_array_equal(to_grey(encoded), Image.fromarray(expected).convert("L"))
    if formats.is_plain(encoded):
        np.testing.assert_array_equal(decode_image(encoded), expected)


@in_two_sizes
def test_all_readers_give_the_same_pixels_or_all_refuse(examples):
    check_property(examples, files(), check_file)
