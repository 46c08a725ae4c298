"""Show images with captions as HTML, for notebooks. Pillow and NumPy only."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

HEIGHT = 160  # pixels


def render_gallery(images: Iterable[tuple[np.ndarray, str]]) -> str:
    """Returns HTML with the images in a row, each HEIGHT pixels high and with its caption below.

    Args:
        images: Pixels, uint8 [height, width, 3], and caption of each image.

    Example:
        >>> render_gallery([(np.zeros((20, 30, 3), np.uint8), "a <b>")]).count("&lt;b&gt;")
        2
    """
    return "".join(_figure(pixels, html.escape(caption)) for pixels, caption in images)


def _figure(pixels: np.ndarray, caption: str) -> str:
    image = Image.fromarray(pixels).convert("L")
    image = image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=60, optimize=True)
    source = f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
    style = "display: inline-block; width: 11em; margin: 4px; vertical-align: top; text-align: center"
    return f'<figure style="{style}"><img alt="{caption}" src="{source}"><figcaption>{caption}</figcaption></figure>'
