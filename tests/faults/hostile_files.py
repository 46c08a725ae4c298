"""Image files that somebody has damaged, by accident or on purpose: the same ones at every run."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file

from covid_tfds import phantom

SEED = 20260
DICOM = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm")


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def drawn_images() -> list[Image.Image]:
    """A grey and a colour image of 120 x 96 pixels."""
    grey, other = (Image.fromarray(phantom.draw(index).image).resize((120, 96)) for index in (0, 1))
    return [grey, Image.merge("RGB", [grey, other, grey.point(lambda value: 255 - value)])]


def originals() -> dict[str, bytes]:
    """Sound files of every kind that is read somewhere, the name saying which."""
    grey, colour = drawn_images()
    alpha = colour.convert("RGBA")
    alpha.putalpha(grey)
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256 + 77)
    encoded = {
        "grey.jpg": encode(grey, "JPEG"),
        "colour.jpg": encode(colour, "JPEG", subsampling="4:2:0"),
        "progressive.jpg": encode(colour, "JPEG", progressive=True),
        "restart.jpg": encode(colour, "JPEG", restart_marker_rows=1),
        "cmyk.jpg": encode(colour.convert("CMYK"), "JPEG"),
        "grey.png": encode(grey, "PNG"),
        "colour.png": encode(colour, "PNG"),
        "palette.png": encode(colour.quantize(64), "PNG"),
        "alpha.png": encode(alpha, "PNG"),
        "16-bit.png": encode(sixteen, "PNG"),
        "1-bit.png": encode(grey.convert("1"), "PNG"),
        "colour.webp": encode(colour, "WEBP"),
        "lossless.webp": encode(alpha, "WEBP", lossless=True),
        "colour.bmp": encode(colour, "BMP"),
    }
    return encoded | {name: Path(get_testdata_file(name, download=False)).read_bytes() for name in DICOM}


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of damaged files: one to three changes each, half of these in the first 300 bytes."""
    sound = originals()
    names = list(sound)
    for index in range(count):
        random = np.random.default_rng([SEED, index])
        name = names[index % len(names)]
        other = sound[names[random.integers(len(names))]]
        data = sound[name]
        for _ in range(random.integers(1, 4)):
            change = CHANGES[random.integers(len(CHANGES))]
            data = (
                _inside_png(data, change, random)
                if name.endswith(".png") and index % 3
                else change(data, other, random)
            )
        if index % 4:
            data = _with_right_sums(data)
        yield f"{index:05}-{name}", data


def _with_right_sums(png: bytes) -> bytes:
    """A PNG's chunks with right checksums: without, a decoder refuses nearly all damage before it looks at it."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return png
    mended, at = png[:8], 8
    while at + 12 <= len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        if at + 12 + size > len(png):
            break
        mended += chunk(png[at + 4 : at + 8], png[at + 8 : at + 8 + size])
        at += 12 + size
    return mended + png[at:]


def _inside_png(png: bytes, change, random: np.random.Generator) -> bytes:
    """The change made to the pixels before they are deflated, and sometimes to one byte of the header as well."""
    start = png.find(b"IDAT")
    (size,) = struct.unpack(">I", png[start - 4 : start])
    try:
        pixels = zlib.decompress(png[start + 4 : start + 4 + size])
    except zlib.error:
        return png
    header = bytearray(png[16:29])
    if not random.integers(4):
        header[random.integers(13)] = random.integers(20)
    changed = zlib.compress(change(pixels, pixels, random))
    return png[:8] + chunk(b"IHDR", bytes(header)) + png[33 : start - 4] + chunk(b"IDAT", changed) + chunk(b"IEND", b"")


def _place(data: bytes, random: np.random.Generator) -> int:
    return int(random.integers(max(1, min(len(data), 300) if random.integers(2) else len(data))))


def _flip_bits(data: bytes, _, random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.integers(1, 33)):
        if changed:
            changed[_place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _overwrite(data: bytes, _, random) -> bytes:
    at, size = _place(data, random), int(random.integers(1, 9))
    new = [b"\xff" * size, bytes(size), random.bytes(size)][random.integers(3)]
    return data[:at] + new + data[at + size :]


def _truncate(data: bytes, _, random) -> bytes:
    return data[: _place(data, random)]


def _cut_out(data: bytes, _, random) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + int(random.integers(1, 200)) :]


def _repeat(data: bytes, _, random) -> bytes:
    at = _place(data, random)
    piece = data[at : at + int(random.integers(1, 400))]
    return data[:at] + piece * int(random.integers(2, 30)) + data[at:]


def _splice(data: bytes, other: bytes, random) -> bytes:
    return data[: _place(data, random)] + other[_place(other, random) :]


def _renumber(data: bytes, _, random) -> bytes:
    """A large or odd number where a size, a length or an offset may stand."""
    at = _place(data, random)
    number = int(random.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]))
    form = ["<I", ">I"][random.integers(2)] if number > 0xFFFF else ["<H", ">H"][random.integers(2)]
    new = struct.pack(form, number)
    return data[:at] + new + data[at + len(new) :]


CHANGES = (_flip_bits, _overwrite, _truncate, _cut_out, _repeat, _splice, _renumber)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    return png[:33] + chunk(name, data) + png[33:]  # behind IHDR


def _with_png_size(png: bytes, width: int, height: int) -> bytes:
    return png[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + png[24:29]) + png[33:]


def _with_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _dicom(**changes) -> bytes:
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is changed here on purpose
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.save_as(buffer)
    return buffer.getvalue()


def _deflated_bomb() -> bytes:
    """256 MB of zeros as a private element, 256 kB deflated."""
    meta = pydicom.dcmread(get_testdata_file("image_dfl.dcm", download=False), stop_before_pixels=True).file_meta
    buffer = io.BytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    pydicom.filewriter.write_file_meta_info(buffer, meta)
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    element = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 256 << 20)
    buffer.write(b"".join([squeeze.compress(element), *(squeeze.compress(zeros) for _ in range(256)), squeeze.flush()]))
    return buffer.getvalue()


def _huge_length() -> bytes:
    """The length of the pixel data, or of an element before it, declared as almost 4 GB."""
    data = _dicom()
    at = data.index(b"\xe0\x7f\x10\x00OW") + 8
    return data[:at] + struct.pack("<I", 0xFFFFFFFE) + data[at + 4 :]


def nasty() -> dict[str, tuple[bytes, bool, bool]]:
    """Files made on purpose, by name: (bytes, whether training and serving_bytes read it, whether Pillow does)."""
    grey, colour = drawn_images()
    jpeg, png = encode(colour, "JPEG"), encode(colour, "PNG")
    progressive = encode(grey, "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = b"\0" * 2000
    gif = [frame.quantize(16) for frame in (colour, colour.rotate(90))]
    more = [colour.rotate(180)]
    zipped = b"PK\x05\x06" + bytes(18)
    zeros = zlib.compress(bytes(200 << 20), 9)
    return {
        "empty.png": (b"", False, False),
        "one-byte.jpg": (b"\xff", False, False),
        "1x1.png": (encode(Image.new("L", (1, 1), 9), "PNG"), True, True),
        "1x1.jpg": (encode(Image.new("L", (1, 1), 9), "JPEG"), True, True),
        "1x20000.png": (encode(Image.new("L", (1, 20000), 9), "PNG"), True, True),
        "20000x1.jpg": (encode(Image.new("L", (20000, 1), 9), "JPEG"), True, True),
        "jpeg-called.png": (jpeg, True, True),
        "png-called.jpg": (png, True, True),
        "text.png": (b"#!/bin/sh\necho no image\n", False, False),
        "jpeg-and-zip.jpg": (jpeg + zipped, True, True),
        "png-and-html.png": (png + b"<script>alert(1)</script>", True, True),
        "html-then-png.png": (b"<html>" + png, False, False),
        "animated.gif.png": (encode(gif[0], "GIF", save_all=True, append_images=gif[1:]), False, False),
        "animated.png": (encode(colour, "PNG", save_all=True, append_images=more), True, True),
        "animated.webp.png": (encode(colour, "WEBP", save_all=True, append_images=more), False, True),
        "icc.jpg": (encode(colour, "JPEG", icc_profile=profile), True, True),
        "icc.png": (encode(colour, "PNG", icc_profile=profile), True, True),
        "turned.jpg": (encode(colour, "JPEG", exif=exif), True, True),
        "bad-exif.jpg": (encode(colour, "JPEG", exif=b"Exif\0\0II*\0" + b"\xff" * 40), True, True),
        "bomb-900-million.png": (encode(Image.new("1", (30000, 30000)), "PNG"), False, False),
        "bomb-100-million.png": (encode(Image.new("L", (10000, 10000)), "PNG"), False, False),
        "bomb-4-billion.jpg": (_with_jpeg_size(jpeg, 65500, 65500), False, False),
        "bomb-64-million.jpg": (encode(Image.new("L", (8000, 8000)), "JPEG"), False, False),
        "bomb-of-scans.jpg": (progressive[:-2] + last_scan * 5000 + b"\xff\xd9", False, False),
        "bomb-of-text.png": (_with_chunk(png, b"zTXt", b"a\0\0" + zeros), True, False),
        "bomb-of-icc.png": (_with_chunk(png, b"iCCP", b"a\0\0" + zeros), True, False),
        "no-pixels.png": (_with_png_size(png, 0, 0), False, False),
        "negative.png": (_with_png_size(png, 0xFFFFFFFF, 0xFFFFFFFF), False, False),
        "claims-more.png": (_with_png_size(png, 6000, 6000), False, False),
        "absurd.bmp.png": (b"BM" + encode(colour, "BMP")[2:18] + struct.pack("<ii", 1 << 30, 1 << 30), False, False),
        "bomb.webp.png": (encode(Image.new("RGB", (16000, 16000)), "WEBP", lossless=True, quality=0), False, False),
        "absurd-rows.dcm": (_dicom(Rows=65535, Columns=65535), False, False),
        "too-many-rows.dcm": (_dicom(Rows=6000, Columns=6000), False, False),
        "no-rows.dcm": (_dicom(Rows=0, Columns=0), False, False),
        "frames.dcm": (_dicom(NumberOfFrames=1000), False, False),
        "huge-length.dcm": (_huge_length(), False, True),
        "nan.dcm": (_dicom(RescaleSlope="nan", RescaleIntercept="0"), False, False),
        "deflated-bomb.dcm": (_deflated_bomb(), False, False),
        "endless-sequence.dcm": (_dicom() + struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF), False, False),
        "nested.dcm": (_nested(3000), False, False),
    }


def largest() -> dict[str, bytes]:
    """As many pixels as are read at all, in the kinds that cost most memory."""
    side = 7071
    return {
        "largest-grey.png": encode(Image.new("L", (side, side), 90), "PNG"),
        "largest-transparent.png": encode(Image.new("RGBA", (side, side), (90, 80, 70, 60)), "PNG"),
        "largest.jpg": encode(Image.new("RGB", (side, side), (90, 80, 70)), "JPEG"),
        "largest-progressive.jpg": encode(Image.new("RGB", (side, side), (90, 80, 70)), "JPEG", progressive=True),
        "largest.webp": encode(Image.new("RGB", (side, side), (90, 80, 70)), "WEBP", lossless=True, quality=0),
    }


def _nested(depth: int) -> bytes:
    """Sequences in sequences, none of which ends."""
    start = _dicom()[: 132 + 12]
    begin = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return start + begin * depth
