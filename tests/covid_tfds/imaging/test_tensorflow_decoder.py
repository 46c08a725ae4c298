"""The decoder against Pillow: bit for bit."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import covid_tfds
from covid_tfds.imaging.tensorflow_decoder import decode_image, image_decoder

RNG_SHAPE = (37, 53)


def as_pillow_sees_it(encoded: bytes) -> np.ndarray:
    """The same image by other means: Pillow for the format, NumPy for the transparency."""
    image = Image.open(io.BytesIO(encoded))
    if image.format == "JPEG":
        return np.asarray(image.convert("RGB"))
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
    return np.floor(rgba[..., :3] * rgba[..., 3:] / 255 + 0.5).astype(np.uint8)


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(*channels: int, high: int = 256, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(7).integers(0, high, (*RNG_SHAPE, *channels)).astype(dtype)


def png_16_bit_rgb() -> bytes:
    # Pillow can neither write nor fully read it, so the file comes from TensorFlow and the truth from the array.
    return tf.io.encode_png(noise(3, high=65536, dtype=np.uint16)).numpy()


MADE_UP = {
    "rgba-partial-alpha": encode(Image.fromarray(noise(4), "RGBA"), "PNG"),
    "palette-4-bit-trns": encode(Image.fromarray(noise(3)).quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
    "palette-8-bit-trns": encode(Image.fromarray(noise(3)).quantize(200), "PNG", transparency=bytes(range(200))),
    "palette-4-bit": encode(Image.fromarray(noise(3)).quantize(16), "PNG"),
    "palette-8-bit": encode(Image.fromarray(noise(3)).quantize(200), "PNG"),
    "grey-16": encode(Image.fromarray(noise(high=65536, dtype=np.uint16)), "PNG"),
    "grey-alpha": encode(Image.fromarray(noise(2), "LA"), "PNG"),
    "grey": encode(Image.fromarray(noise()), "PNG"),
    "grey-transparent-level": encode(Image.fromarray(noise()), "PNG", transparency=30),
    "one-bit-transparent-level": encode(Image.fromarray(noise() > 127), "PNG", transparency=255),
    "one-bit": encode(Image.fromarray(noise() > 127), "PNG"),
    "rgb": encode(Image.fromarray(noise(3)), "PNG"),
    "jpeg-grey": encode(Image.fromarray(noise()), "JPEG"),
    "jpeg-420": encode(Image.fromarray(noise(3)), "JPEG", subsampling="4:2:0"),
    "jpeg-444": encode(Image.fromarray(noise(3)), "JPEG", subsampling="4:4:4"),
    "jpeg-progressive": encode(Image.fromarray(noise(3)), "JPEG", progressive=True),
}


@pytest.mark.parametrize("kind", MADE_UP)
def test_decodes_like_pillow(kind):
    image = decode_image(MADE_UP[kind]).numpy()
    assert image.dtype == np.uint8
    assert image.shape == (*RNG_SHAPE, 3)
    np.testing.assert_array_equal(image, as_pillow_sees_it(MADE_UP[kind]))


def test_colour_of_16_bits_keeps_the_high_byte():
    expected = (noise(3, high=65536, dtype=np.uint16) >> 8).astype(np.uint8)
    np.testing.assert_array_equal(decode_image(png_16_bit_rgb()).numpy(), expected)


def test_transparent_pixels_are_black_whatever_colour_hides_there():
    hidden = np.dstack([np.full((2, 2, 3), 200, np.uint8), np.array([[0, 255], [0, 255]], np.uint8)])
    image = decode_image(encode(Image.fromarray(hidden, "RGBA"), "PNG")).numpy()
    np.testing.assert_array_equal(image[..., 0], [[0, 200], [0, 200]])


def test_same_inside_tf_data_and_a_saved_model(tmp_path):
    files = list(MADE_UP.values())
    module = tf.Module()
    module.decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(module, tmp_path)
    loaded = tf.saved_model.load(tmp_path)
    for file, streamed in zip(files, tf.data.Dataset.from_tensor_slices(files).map(decode_image), strict=True):
        np.testing.assert_array_equal(streamed, decode_image(file))
        np.testing.assert_array_equal(loaded.decode(tf.constant(file)), decode_image(file))


@pytest.mark.parametrize("graph", [False, True])
def test_other_formats_are_refused_by_name(graph):
    decode = tf.function(decode_image) if graph else decode_image
    gif = encode(Image.fromarray(noise()), "GIF")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)JPEG or PNG.*GIF8"):
        decode(tf.constant(gif))
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG or PNG"):
        decode(tf.constant(b""))


@pytest.mark.parametrize("kind", ["rgb", "jpeg-420"])
def test_truncated_files_are_refused(kind):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(MADE_UP[kind][: len(MADE_UP[kind]) // 2])


def test_every_png_and_every_kind_of_jpeg_of_the_real_ones(manual_dir):
    files = [f for f in sorted(manual_dir.rglob("*.*")) if f.suffix in (".png", ".jpg", ".jpeg")]
    encoded = {file.name: file.read_bytes() for file in files}
    one_of_each_mode = {Image.open(io.BytesIO(content)).mode: name for name, content in encoded.items()}
    pngs = [name for name, content in encoded.items() if content.startswith(b"\x89PNG")]
    assert len(pngs) >= 14
    for name in {*pngs, *one_of_each_mode.values()}:
        decoded = decode_image(encoded[name]).numpy()
        np.testing.assert_array_equal(decoded, as_pillow_sees_it(encoded[name]), err_msg=name)


def test_tfds_decoder_gives_the_same(data_dir):
    builder = covid_tfds.Builder(data_dir=data_dir, config="phantom")
    builder.download_and_prepare()
    stored = builder.as_dataset(split="test", decoders={"image": tfds.decode.SkipDecoding()})
    decoded = builder.as_dataset(split="test", decoders={"image": image_decoder()})
    for raw, example in zip(stored, decoded, strict=True):
        np.testing.assert_array_equal(example["image"], decode_image(raw["image"]))
