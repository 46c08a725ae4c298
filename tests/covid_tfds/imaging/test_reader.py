"""That Pillow reads every kind of file as TensorFlow does in training, and refuses what it can't read, in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from covid_tfds.imaging import formats, reader
from covid_tfds.imaging.limits import ImageError
from covid_tfds.imaging.reader import read_image
from covid_tfds.imaging.tensorflow_decoder import decode_any_image, decode_image
from export.parity.drawn_images import draw_images
from tests.fakes.dicom import radiograph

SHAPE = (37, 53)
TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6  # turn a quarter clockwise to see it upright


def noise(*channels, high=256, dtype=np.uint8):
    return np.random.default_rng(7).integers(0, high, (*SHAPE, *channels)).astype(dtype)


def encode(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png(bits, colour_type, transparent=b"", samples=1):
    """A PNG of any kind, which Pillow can't write: noise with a palette and a transparent colour if given."""
    height, width = SHAPE
    random = np.random.default_rng(bits + colour_type)
    rows = [random.bytes((width * bits * samples + 7) // 8) for _ in range(height)]

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header)
    if colour_type == 3:
        body += chunk(b"PLTE", random.bytes(3 << bits))
    if transparent:
        body += chunk(b"tRNS", transparent)
    return (
        b"\x89PNG\r\n\x1a\n"
        + body
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
        + chunk(b"IEND", b"")
    )


KINDS = {
    "jpeg-grey": encode(Image.fromarray(noise()), "JPEG"),
    "jpeg-420": encode(Image.fromarray(noise(3)), "JPEG", subsampling="4:2:0"),
    "jpeg-422": encode(Image.fromarray(noise(3)), "JPEG", subsampling="4:2:2"),
    "jpeg-444": encode(Image.fromarray(noise(3)), "JPEG", subsampling="4:4:4"),
    "jpeg-progressive": encode(Image.fromarray(noise(3)), "JPEG", progressive=True),
    "jpeg-rgb": encode(Image.fromarray(noise(3)), "JPEG", keep_rgb=True),
    "jpeg-cmyk": encode(Image.fromarray(noise(4), "CMYK"), "JPEG"),
    "grey-1": png(1, 0),
    "grey-2": png(2, 0),
    "grey-4": png(4, 0),
    "grey-8": png(8, 0),
    "grey-16": png(16, 0),
    "grey-1-transparent": png(1, 0, struct.pack(">H", 1)),
    "grey-2-transparent": png(2, 0, struct.pack(">H", 2)),
    "grey-4-transparent": png(4, 0, struct.pack(">H", 9)),
    "grey-8-transparent": png(8, 0, struct.pack(">H", 30)),
    "rgb-8": png(8, 2, samples=3),
    "rgb-16": png(16, 2, samples=3),
    "palette-1": png(1, 3),
    "palette-4": png(4, 3),
    "palette-8": png(8, 3),
    "palette-4-transparent": png(4, 3, bytes(range(0, 256, 16))),
    "palette-8-transparent": png(8, 3, bytes(range(200))),
    "grey-alpha-8": png(8, 4, samples=2),
    "grey-alpha-16": png(16, 4, samples=2),
    "rgba-8": png(8, 6, samples=4),
    "rgba-16": png(16, 6, samples=4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_reads_as_tensorflow_does_bit_for_bit(kind):
    pixels = reader.decode_raster(KINDS[kind])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(pixels, decode_image(KINDS[kind]).numpy())


PLAIN = ("jpeg-grey", "jpeg-420", "jpeg-422", "jpeg-444", "jpeg-progressive", "jpeg-rgb", "grey-8", "rgb-8")


@pytest.mark.parametrize("kind", KINDS)
def test_plain_jpegs_and_pngs_of_8_bits_are_for_tensorflow(kind):
    assert formats.is_plain(KINDS[kind]) == (kind in PLAIN)


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", KINDS["rgb-8"][:20], KINDS["jpeg-420"][:20], b"\0" * 128 + b"DICM"]
)
def test_what_is_no_whole_head_of_a_jpeg_or_png_is_not_plain(content):
    assert not formats.is_plain(content)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("jpeg-cmyk", ("JPEG", 4, 53, 37, 75.0)),
        ("grey-16", ("PNG", 1, 53, 37, 100.0)),
        ("rgba-8", ("PNG", 4, 53, 37, 100.0)),
    ],
)
def test_the_head_of_a_file(kind, expected):
    *stored, quality = reader.read_header(KINDS[kind])
    assert (*stored, round(quality)) == expected


@pytest.mark.parametrize("quality", [25, 50, 75, 90, 97])
def test_the_quality_of_a_jpeg(quality):
    header = reader.read_header(encode(Image.new("L", (16, 16)), "JPEG", quality=quality))
    assert header.jpeg_quality == pytest.approx(quality, abs=1)


def test_a_transparent_level_of_16_bits_is_compared_in_16_bits():
    encoded = tf.io.encode_png(noise(1, high=65536, dtype=np.uint16)).numpy()
    level = int(noise(1, high=65536, dtype=np.uint16)[3, 5, 0])
    at = encoded.index(b"IDAT") - 4
    body = b"tRNS" + struct.pack(">H", level)
    with_level = encoded[:at] + struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body)) + encoded[at:]
    np.testing.assert_array_equal(reader.decode_raster(with_level), decode_image(with_level).numpy())
    assert (reader.decode_raster(with_level) != reader.decode_raster(encoded)).any()


def test_the_images_of_the_parity_check_differ_in_kind():
    """Else the check would not see a decoder that goes wrong."""
    opened = [Image.open(io.BytesIO(image.encoded)) for image in draw_images()]
    assert {image.mode for image in opened} >= {"L", "RGB", "RGBA", "P", "1", "I;16"}
    assert len({image.size for image in opened}) > 5
    assert min(min(image.size) for image in opened) < 100


ONLY_BY_READER = {
    "webp": encode(Image.fromarray(noise(3)), "WEBP", lossless=True),
    "bmp": encode(Image.fromarray(noise(3)), "BMP"),
    "bmp-that-ends-with-zeros": encode(Image.new("L", (53, 37)), "BMP"),
    "tiff": encode(Image.fromarray(noise(3)), "TIFF"),
    "tiff-16": encode(Image.fromarray(noise(high=65536, dtype=np.uint16)), "TIFF"),
    "png-12-in-16": encode(Image.fromarray(noise(high=4096, dtype=np.uint16)), "PNG"),
    "jpeg-turned": encode(Image.fromarray(noise(3)), "JPEG", exif=TURNED),
    "png-turned": encode(Image.fromarray(noise(3)), "PNG", exif=TURNED),
    "dicom": radiograph(noise(high=4096, dtype=np.uint16), PhotometricInterpretation="MONOCHROME1"),
}


@pytest.mark.parametrize("kind", [*KINDS, *ONLY_BY_READER])
def test_training_and_predictor_read_the_same_pixels(kind):
    encoded = (KINDS | ONLY_BY_READER)[kind]
    in_tf_data = tf.data.Dataset.from_tensors(encoded).map(decode_any_image)
    expected = reader.decode_image(encoded).pixels
    for pixels in (*in_tf_data, decode_any_image(encoded)):
        np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("kind", ["webp", "bmp", "tiff"])
def test_lossless_formats_keep_the_pixels(kind):
    np.testing.assert_array_equal(reader.decode_raster(ONLY_BY_READER[kind]), noise(3))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize(("highest", "shift"), [(4095, 4), (256, 4), (4096, 8), (65535, 8), (200, 8)])
def test_values_of_12_bits_in_16_are_shifted_by_4(file_format, highest, shift):
    values = noise(high=highest, dtype=np.uint16)
    values[0, 0] = highest
    encoded = encode(Image.fromarray(values), file_format)
    image = reader.decode_image(encoded)
    np.testing.assert_array_equal(image.pixels[..., 1], values >> shift)
    assert image.notes == reader.find_notes(encoded) == ([reader.TWELVE_BITS] if shift == 4 else [])


def test_a_tiff_in_which_white_is_zero():
    values = noise(high=65536, dtype=np.uint16)
    encoded = encode(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(reader.decode_raster(encoded)[..., 0], (65535 - values) >> 8)


def test_inks_without_adobes_mark_are_not_negative():
    adobe = KINDS["jpeg-cmyk"]
    at = adobe.index(b"\xff\xee")
    plain = adobe[:at] + adobe[at + 2 + int.from_bytes(adobe[at + 2 : at + 4], "big") :]
    assert b"Adobe" not in plain
    np.testing.assert_array_equal(reader.decode_raster(plain), decode_image(plain).numpy())
    assert (reader.decode_raster(plain) != reader.decode_raster(adobe)).any()


def test_files_with_several_pages_or_32_bits_are_refused():
    several = encode(Image.fromarray(noise()), "TIFF", save_all=True, append_images=[Image.fromarray(noise())])
    with pytest.raises(ImageError, match="got 2"):
        reader.decode_raster(several)
    with pytest.raises(ImageError, match="32 bits"):
        reader.decode_raster(encode(Image.fromarray(noise().astype(np.float32)), "TIFF"))


def test_webp_is_seen_over_black_where_it_is_transparent():
    rgba = np.dstack([np.full((4, 4, 3), 200, np.uint8), np.full((4, 4), 51, np.uint8)])
    np.testing.assert_array_equal(
        reader.decode_raster(encode(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)), 40
    )


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_the_exif_orientation_is_respected(file_format):
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # turn a quarter clockwise to see it upright
    pixels = reader.decode_raster(encode(Image.fromarray(image), file_format, exif=exif))
    assert pixels.shape == (32, 16, 3)
    assert pixels[:14].min() > 250
    assert pixels[18:].max() < 5
    assert formats.is_turned(encode(Image.fromarray(image), file_format, exif=exif))
    assert not formats.is_turned(encode(Image.fromarray(image), file_format))
    assert not formats.is_plain(encode(Image.fromarray(image), file_format, exif=exif))
    assert formats.is_plain(encode(Image.fromarray(image), file_format))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JPEG, PNG, WebP, BMP, TIFF or DICOM, got an empty file"),
        (b"not an image at all", "got bytes that start with b'not an i'"),
        (encode(Image.fromarray(noise(3)), "GIF"), "got bytes that start with b'GIF8"),
        (KINDS["jpeg-420"][: len(KINDS["jpeg-420"]) // 2], "damaged: "),
        (KINDS["rgb-8"][: len(KINDS["rgb-8"]) // 2], "damaged: "),
        (KINDS["rgb-8"][:20], "expected JPEG|damaged"),
        (encode(Image.new("1", (30000, 30000)), "PNG"), "at most 50 million pixels"),
        (encode(Image.new("1", (12000, 10000)), "PNG"), "at most 50 million pixels, got 12000 x 10000"),
        (png(16, 2, struct.pack(">HHH", 1, 2, 3), samples=3), "save it without transparency"),
    ],
    ids=["empty", "garbage", "gif", "half-jpeg", "half-png", "png-head", "bomb", "small-bomb", "rgb-16-transparent"],
)
def test_what_can_not_be_read_is_refused(tmp_path, content, message):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="got a folder"):
        read_image(tmp_path)
    monkeypatch.setattr(reader, "MAX_BYTES", 10)
    (tmp_path / "large.png").write_bytes(KINDS["rgb-8"])
    with pytest.raises(ImageError, match="0 MB"):
        read_image(tmp_path / "large.png")


def test_every_real_radiograph_is_read_as_in_training(manual_dir):
    files = [path for path in sorted(manual_dir.rglob("*.*")) if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    smallest_first = sorted(files, key=lambda path: path.stat().st_size)
    for path in smallest_first[:100:2]:
        encoded = path.read_bytes()
        np.testing.assert_array_equal(reader.decode_raster(encoded), decode_image(encoded).numpy(), err_msg=path.name)
