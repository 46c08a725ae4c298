"""Drawn radiographs in every form that decoding, resizing or channel order could get wrong, and changed ones."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image

from covid_tfds import phantom
from covid_tfds.phantom.changes import CHANGES
from export.run_images import EncodedImage

# Kinds that training and the predictor read, and `serving_bytes` does not.
ONLY_BY_READER = ("turned.jpg", "12-bit.png", "lossless.webp", "grey.tif", "grey.bmp")


def draw_images() -> list[EncodedImage]:
    """Draw one image of each form, grey and colour, large and small, 1 to 16 bits, all formats, and of each change."""
    grey, other = (phantom.draw(index).image for index in (0, 1))
    colour = _to_colour(grey, other)
    wide = Image.fromarray(other).resize((391, 173))
    tall = Image.fromarray(colour).resize((187, 301))
    sixteen = np.asarray(Image.fromarray(other).resize((233, 261)), dtype=np.uint16) * 256 + 77
    alpha = np.dstack([np.asarray(tall), np.linspace(0, 255, tall.height)[:, None].repeat(tall.width, 1)])
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    typical = np.asarray(Image.fromarray(grey).convert("RGB").resize((200, 176)))
    changed = {kind.replace(" ", "-"): change(typical) for kind, change in CHANGES.items()}
    return [
        _encode("grey-wide.png", wide, "PNG"),
        _encode("grey.jpg", Image.fromarray(grey), "JPEG", quality=90),
        _encode("colour-tall.png", tall, "PNG"),
        _encode("colour-420.jpg", Image.fromarray(colour).resize((275, 331)), "JPEG", subsampling="4:2:0"),
        _encode("colour-progressive.jpg", tall, "JPEG", progressive=True),
        _encode("colour-small.png", tall.resize((61, 47)), "PNG"),
        _encode("16-bit.png", Image.fromarray(sixteen), "PNG"),
        _encode("alpha.png", Image.fromarray(alpha.astype(np.uint8), "RGBA"), "PNG"),
        _encode("palette.png", tall.quantize(64), "PNG"),
        _encode("1-bit.png", wide.convert("1"), "PNG"),
        _encode("turned.jpg", tall, "JPEG", exif=turned),
        _encode("12-bit.png", Image.fromarray(sixteen >> 4), "PNG"),
        _encode("lossless.webp", tall, "WEBP", lossless=True),
        _encode("grey.tif", wide, "TIFF"),
        _encode("grey.bmp", wide, "BMP"),
        *(_encode(f"{name}.png", Image.fromarray(image).convert("L"), "PNG") for name, image in changed.items()),
        _encode("typical.png", Image.fromarray(typical).convert("L"), "PNG"),
    ]


def draw_batches() -> list[np.ndarray]:
    """Draw four different colour images of each of two sizes, uint8 [4, 151, 207, 3] and [4, 224, 181, 3]."""
    greys = [phantom.draw(index).image for index in range(4)]
    images = [Image.fromarray(_to_colour(greys[index], greys[index - 1])) for index in range(4)]
    return [np.stack([np.asarray(image.resize(size)) for image in images]) for size in ((207, 151), (181, 224))]


def _to_colour(grey: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Three clearly different channels: in a grey image, swapped channels would not show."""
    other = np.asarray(Image.fromarray(other).resize(grey.shape[::-1]))
    return np.dstack([grey, other, 255 - grey // 2])


def _encode(name: str, image: Image.Image, file_format: str, **options) -> EncodedImage:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return EncodedImage(name, buffer.getvalue())
