"""Drawn radiographs as files of every kind that browsers and Pillow read, to compare their pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from covid_tfds import phantom

SIDES = 211, 263  # width, height
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def draw_kinds() -> dict[str, bytes]:
    """Returns a file of each kind, by its name."""
    grey = Image.fromarray(phantom.draw(0).image).resize(SIDES)
    other = Image.fromarray(phantom.draw(1).image).resize(SIDES)
    colour = Image.merge("RGB", [grey, other, grey.point(lambda value: 255 - value // 2)])
    ramp = Image.linear_gradient("L").resize(SIDES)
    alpha = colour.copy()
    alpha.putalpha(ramp)
    grey_alpha = Image.merge("LA", [grey, ramp])
    sixteen = np.asarray(grey, np.uint16) * 256 + np.asarray(other)
    colours16 = np.asarray(colour, np.uint16) * 256 + 200
    see_through = np.dstack([sixteen, np.asarray(ramp, np.uint16) * 256 + 99])
    twelve = sixteen >> 4
    seen = (b"tRNS", struct.pack(">H", twelve[90, 90]))
    profile = make_grey_profile(1.8)
    return {
        "grey.jpg": encode(grey, "JPEG", quality=90),
        "grey-profile.jpg": encode(grey, "JPEG", quality=90, icc_profile=profile),
        "colour-420.jpg": encode(colour, "JPEG", subsampling="4:2:0"),
        "colour-422.jpg": encode(colour, "JPEG", subsampling="4:2:2"),
        "colour-444.jpg": encode(colour, "JPEG", subsampling="4:4:4"),
        "progressive.jpg": encode(colour, "JPEG", progressive=True),
        "cmyk.jpg": encode(colour.convert("CMYK"), "JPEG"),
        **{f"turned-{number}.jpg": encode(grey, "JPEG", exif=make_exif(number)) for number in range(2, 9)},
        "turned-6.png": encode(grey, "PNG", exif=make_exif(6)),
        "turned-8.webp": encode(grey.convert("RGB"), "WEBP", lossless=True, exif=make_exif(8)),
        "grey.png": encode(grey, "PNG"),
        "grey-profile.png": encode(grey, "PNG", icc_profile=profile),
        "colour.png": encode(colour, "PNG"),
        "gamma.png": write_png(np.asarray(grey), 0, 8, chunks=[(b"gAMA", struct.pack(">I", 100000))]),
        "gamma-16-bit.png": write_png(sixteen, 0, 16, chunks=[(b"gAMA", struct.pack(">I", 45455))]),
        "long.png": encode(grey.resize((40_000, 20)), "PNG"),
        "interlaced.png": write_png(np.asarray(colour), 2, 8, interlaced=True),
        "16-bit.png": encode(Image.fromarray(sixteen), "PNG"),
        "16-bit-interlaced.png": write_png(sixteen, 0, 16, interlaced=True),
        "16-bit-colour.png": write_png(colours16, 2, 16),
        "16-bit-alpha.png": write_png(see_through, 4, 16),
        "12-in-16-bit.png": encode(Image.fromarray(twelve), "PNG"),
        "12-in-16-bit-transparent.png": write_png(twelve, 0, 16, chunks=[seen]),
        "8-in-16-bit.png": encode(Image.fromarray(sixteen >> 8), "PNG"),
        "alpha.png": encode(alpha, "PNG"),
        "grey-alpha.png": encode(grey_alpha, "PNG"),
        "grey-transparent.png": encode(grey, "PNG", transparency=int(np.median(np.asarray(grey)))),
        "palette.png": encode(colour.quantize(64), "PNG"),
        "palette-transparent.png": encode(colour.quantize(16), "PNG", transparency=3),
        "palette-alpha.png": encode(colour.quantize(16), "PNG", transparency=bytes(range(0, 256, 16))),
        "1-bit.png": encode(grey.convert("1"), "PNG"),
        "4-bit.png": encode(colour.quantize(16), "PNG", bits=4),
        "lossy.webp": encode(colour, "WEBP", quality=80),
        "lossless.webp": encode(colour, "WEBP", lossless=True),
        "alpha.webp": encode(alpha, "WEBP", lossless=True),
        "profile.webp": encode(colour, "WEBP", lossless=True, icc_profile=profile),
        "grey.bmp": encode(grey, "BMP"),
        "colour.bmp": encode(colour, "BMP"),
        "1-bit.bmp": encode(grey.convert("1"), "BMP"),
        "palette.bmp": encode(colour.quantize(64), "BMP"),
    }


def remove_adobe_mark(jpeg: bytes) -> bytes:
    """Without it, inks are positive: most browsers ignore that."""
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4], "big") :]


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def make_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def write_png(pixels: np.ndarray, colour_type: int, bits: int, interlaced: bool = False, chunks=()) -> bytes:
    """Write what Pillow can't: 16 bits with colours or alpha, Adam7, any chunk before the pixels."""
    height, width = pixels.shape[:2]
    passes = [pixels[top::down, left::right] for top, left, down, right in ADAM7] if interlaced else [pixels]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for one in passes if one.size for row in one)
    head = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_chunk(kind, data) for kind, data in parts)


def make_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_huge_png(side: int) -> bytes:
    """A black PNG of side x side pixels, of a few hundred kB."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_chunk(kind, data) for kind, data in parts)


def make_grey_profile(gamma: float) -> bytes:
    """An ICC profile for grey images whose colour management changes every level between black and white."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    tags, offset, data = b"", 128 + 4 + 3 * 12, b""
    for kind, value in ((b"desc", name), (b"wtpt", white), (b"kTRC", curve)):
        tags += kind + struct.pack(">II", offset + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    size = offset + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s4s", 2020, 1, 1, 0, 0, 0, b"acsp", b"\0\0\0\0") + bytes(24)
    head += struct.pack(">3i", 63190, 65536, 54061)
    return head + bytes(128 - len(head)) + struct.pack(">I", 3) + tags + data
