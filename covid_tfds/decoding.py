"""The one place where an encoded radiograph becomes what a person sees.

Publishers store grey, colour, palette and transparent PNGs of 1 to 16 bits besides JPEGs, some under the wrong file
extension. Decoders disagree on most of them; here the answer is fixed, and in integers, so that Pillow and NumPy give
bit for bit the same elsewhere (`tests/test_decoding.py` compares):

- JPEG: the slow integer DCT, which is libjpeg's reference and Pillow's default.
- PNG: 16 bits keep the high byte; what is transparent is seen over black, `(colour * alpha + 127) // 255`.

    dataset = tfds.load("covid_tfds/curated", split="train", decoders={"image": image_decoder()})
"""

import tensorflow as tf
import tensorflow_datasets as tfds

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_BIT_DEPTH_AT = 24


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG or PNG; works eagerly, in tf.data and inside a SavedModel.

    Args:
        encoded: string scalar, the bytes of the file. What they are is read from the bytes, never from a name.

    Returns:
        uint8 tensor [height, width, 3], RGB, 0 black to 255 white; grey images have three equal channels.

    Raises:
        tf.errors.InvalidArgumentError: neither JPEG nor PNG, or a truncated one.
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


def image_decoder() -> tfds.decode.Decoder:
    """`decode_image` as TFDS takes it: `tfds.load(..., decoders={"image": image_decoder()})`."""

    @tfds.decode.make_decoder(output_dtype=tf.uint8)
    def decode(encoded, feature):
        del feature
        return decode_image(encoded)

    return decode()


def _starts_with(encoded, start):
    return tf.equal(tf.strings.substr(encoded, 0, len(start)), start)


def _decode_jpeg(encoded):
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded):
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    colour, alpha = rgba[..., :3], rgba[..., 3:]
    # To images of 1, 2 or 4 bits without transparency TensorFlow adds an alpha of 1, 3 or 15, meant to be opaque.
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, PNG_BIT_DEPTH_AT, 1), tf.uint8)[0], tf.int32)
    added = tf.bitwise.left_shift(1, bits) - 1
    is_added = tf.logical_and(bits < 8, tf.reduce_all(tf.equal(alpha, added)))
    alpha = tf.where(is_added, 255, alpha)
    return tf.cast((colour * alpha + 127) // 255, tf.uint8)


def _refuse(encoded):
    is_image = tf.debugging.Assert(
        False, ["expected a JPEG or PNG image, got bytes that start with", tf.strings.substr(encoded, 0, 8)]
    )
    with tf.control_dependencies([is_image] if is_image is not None else []):
        return tf.zeros([0, 0, 3], tf.uint8)
