"""Decode JPEG and PNG in TensorFlow: eagerly, in tf.data and inside a SavedModel.

Publishers store grey, colour, palette and transparent PNGs of 1 to 16 bits besides JPEGs, some under the wrong file
extension. Decoders disagree on most of them; here the answer is fixed, and in integers, so that Pillow and NumPy give
bit for bit the same (`reader`, compared in `tests/covid_tfds/imaging/test_reader.py`):

- JPEG: the slow integer DCT, which is libjpeg's reference and Pillow's default.
- PNG: 16 bits keep the high byte; transparent parts over black, `(colour * alpha + 127) // 255`.

    dataset = tfds.load("covid_tfds/curated", split="train", decoders={"image": image_decoder()})

The limits are those of `limits`, read from the file's head before it is decoded.
"""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from covid_tfds.imaging import formats, reader
from covid_tfds.imaging.formats import JPEG_START, PNG_BIT_DEPTH_AT, PNG_SIZE_AT, PNG_START
from covid_tfds.imaging.limits import JPEG_SCAN, MAX_PIXELS, MAX_SCANS


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG; the type is detected from the bytes, not from a name.

    Args:
        encoded: string scalar, the bytes of the file.

    Returns:
        uint8 tensor [height, width, 3], RGB, 0 black to 255 white; grey images have three equal channels.

    Raises:
        tf.errors.InvalidArgumentError: If it is neither JPEG nor PNG, truncated, or has more than MAX_PIXELS pixels or
            MAX_SCANS scans.

    Example:
        >>> decode_image(tf.io.encode_png(tf.fill([3, 4, 1], tf.constant(200, tf.uint8)))).shape
        TensorShape([3, 4, 3])
    """
    encoded = tf.convert_to_tensor(encoded, tf.string)
    image = tf.case(
        [
            (_starts_with(encoded, JPEG_START), lambda: _decode_jpeg(encoded)),
            (_starts_with(encoded, PNG_START), lambda: _decode_png(encoded)),
        ],
        default=lambda: _refuse(encoded),
    )
    image.set_shape([None, None, 3])
    return image


# Always inside a graph: outside, TensorFlow gives a NumPy function bytes without the zeros at their end.
@tf.function(input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
def decode_any_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a file of any kind that is read: what training takes.

    Plain JPEGs and PNGs are decoded by TensorFlow, all others by `reader`; see `formats.is_plain`. Runs in tf.data and
    eagerly; a SavedModel can't hold it.

    Args:
        encoded: string scalar, the bytes of the file.

    Returns:
        uint8 tensor [height, width, 3], the pixels that `reader.decode_image` gives.

    Raises:
        tf.errors.InvalidArgumentError, tf.errors.UnknownError: If it can't be decoded.
    """
    # Stateless, so that tf.data may run several at a time under deterministic ops, too.
    is_plain = tf.numpy_function(formats.is_plain, [encoded], tf.bool, stateful=False)
    image = tf.cond(
        tf.ensure_shape(is_plain, ()),
        lambda: decode_image(encoded),
        lambda: tf.numpy_function(_decode_by_reader, [encoded], tf.uint8, stateful=False),
    )
    return tf.ensure_shape(image, (None, None, 3))


def _decode_by_reader(encoded: bytes) -> np.ndarray:
    return reader.decode_image(encoded).pixels


def image_decoder() -> tfds.decode.Decoder:
    """Returns `decode_image` as TFDS takes it: `tfds.load(..., decoders={"image": image_decoder()})`."""

    @tfds.decode.make_decoder(output_dtype=tf.uint8)
    def decode(encoded, feature):
        del feature
        return decode_image(encoded)

    return decode()


def _starts_with(encoded, start):
    return tf.equal(tf.strings.substr(encoded, 0, len(start)), start)


def _decode_jpeg(encoded):
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded))
    scans = tf.size(tf.strings.split(encoded, JPEG_SCAN)) - 1
    too_many = tf.debugging.Assert(scans <= MAX_SCANS, ["expected a JPEG of at most", MAX_SCANS, "scans, got", scans])
    with tf.control_dependencies([_check_size(height, width), too_many]):
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded):
    width, height = tf.unstack(_numbers(encoded, PNG_SIZE_AT, 8, tf.int32), num=2)
    with tf.control_dependencies([_check_size(height, width)]):
        rgba = tf.io.decode_png(encoded, channels=4)
    alpha = rgba[..., 3:]
    # To images of 1, 2 or 4 bits without transparency TensorFlow adds an alpha of 1, 3 or 15, meant to be opaque.
    bits = tf.cast(_numbers(encoded, PNG_BIT_DEPTH_AT, 1, tf.uint8)[0], tf.int32)
    added = tf.cast(tf.bitwise.left_shift(1, tf.minimum(bits, 8)) - 1, tf.uint8)
    # Most are opaque, and large: only the others are worth the 16-bit arithmetic.
    return tf.cond(tf.reduce_all(tf.equal(alpha, added)), lambda: rgba[..., :3], lambda: _over_black(rgba))


def _over_black(rgba):
    wide = tf.cast(rgba, tf.uint16)
    return tf.cast((wide[..., :3] * wide[..., 3:] + 127) // 255, tf.uint8)


def _numbers(encoded, start, length, dtype):
    """Read big-endian numbers from some bytes; 0 where the file ends before them."""
    # TensorFlow's own error message would quote the file, and Python fail on decoding it.
    head = tf.strings.join([tf.strings.substr(encoded, 0, start + length), bytes(start + length)])
    return tf.io.decode_raw(tf.strings.substr(head, start, length), dtype, little_endian=False)


def _check_size(height, width):
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    is_sound = (height > 0) & (width > 0) & (pixels <= MAX_PIXELS)
    return tf.debugging.Assert(
        is_sound, ["expected an image of at most", MAX_PIXELS, "pixels, got", width, "x", height]
    )


def _refuse(encoded):
    # As text, whatever the bytes: TensorFlow raises UnicodeDecodeError in place of an error whose message is no text.
    start = tf.strings.unicode_transcode(
        tf.strings.substr(encoded, 0, 8), "ISO-8859-1", "UTF-8", replace_control_characters=True
    )
    is_image = tf.debugging.Assert(False, ["expected a JPEG or PNG image, got bytes that start with", start])
    with tf.control_dependencies([is_image] if is_image is not None else []):
        return tf.zeros([0, 0, 3], tf.uint8)
