"""The images that an export is proved on: the run's own, and made-up ones of every kind that decoders differ on."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from covid_tfds import phantom
from covid_tfds.common.errors import UsageError
from covid_tfds.datasets import load_examples
from trainer.run_folder.predictions import Prediction
from trainer.run_folder.run import Run

ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """An encoded JPEG or PNG. p_covid: what the run's predictions.csv says of it; None for made-up ones."""

    name: str
    encoded: bytes
    p_covid: float | None = None

    @property
    def is_turned(self) -> bool:
        """Whether its EXIF orientation is not upright, which TensorFlow's decoder, and so training, does not see."""
        return Image.open(io.BytesIO(self.encoded)).getexif().get(ORIENTATION, 1) != 1


def own(run: Run, rows: Sequence[Prediction]) -> list[Picture]:
    """The run's images that `rows` (of predictions.csv) name, in that order.

    Raises UsageError when the dataset is no longer where it was, or has other images.
    """
    why = "An export is proved on the run's own images: restore them, or train again."
    try:
        run.config.data.validate()
        examples = load_examples(run.config.data)
    except UsageError as error:
        raise UsageError(f"The dataset of the run can't be read: {error} {why}") from error
    row_of = {name: row for row, name in enumerate(examples.image_id)}
    if missing := sorted({row.image_id for row in rows} - set(row_of)):
        raise UsageError(
            f"{len(missing)} image(s) of the run are not in {run.environment.dataset.name} any more, the first is "
            f"{missing[0]}. {why}"
        )
    encoded = examples.read(np.asarray([row_of[row.image_id] for row in rows], dtype=np.int64))
    return [Picture(row.image_id, image, row.p_covid) for row, image in zip(rows, encoded, strict=True)]


def sample(rows: Sequence[Prediction], count: int) -> list[Prediction]:
    """At most `count` rows, evenly spaced."""
    if len(rows) <= count:
        return list(rows)
    return [rows[index] for index in np.linspace(0, len(rows) - 1, count).round().astype(int)]


def phantoms() -> list[Picture]:
    """Drawn radiographs in every shape that decoding, resizing or channel order could get wrong."""
    film, other = (phantom.draw(index).image for index in (0, 1))
    colour = _colour(film, other)
    wide = Image.fromarray(other).resize((391, 173))
    tall = Image.fromarray(colour).resize((187, 301))
    sixteen = np.asarray(Image.fromarray(other).resize((233, 261)), dtype=np.uint16) * 256 + 77
    alpha = np.dstack([np.asarray(tall), np.linspace(0, 255, tall.height)[:, None].repeat(tall.width, 1)])
    return [
        _encode("grey-wide.png", wide, "PNG"),
        _encode("grey.jpg", Image.fromarray(film), "JPEG", quality=90),
        _encode("colour-tall.png", tall, "PNG"),
        _encode("colour-420.jpg", Image.fromarray(colour).resize((275, 331)), "JPEG", subsampling="4:2:0"),
        _encode("colour-progressive.jpg", tall, "JPEG", progressive=True),
        _encode("colour-small.png", tall.resize((61, 47)), "PNG"),
        _encode("16-bit.png", Image.fromarray(sixteen), "PNG"),
        _encode("alpha.png", Image.fromarray(alpha.astype(np.uint8), "RGBA"), "PNG"),
        _encode("palette.png", tall.quantize(64), "PNG"),
        _encode("1-bit.png", wide.convert("1"), "PNG"),
    ]


def stack(count: int = 2, height: int = 151, width: int = 207) -> np.ndarray:
    """Different images of one size in a batch, uint8 [count, height, width, 3]."""
    films = [phantom.draw(index).image for index in range(count)]
    return np.stack(
        [
            np.asarray(Image.fromarray(_colour(film, films[index - 1])).resize((width, height)))
            for index, film in enumerate(films)
        ]
    )


def _colour(film: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Three clearly different channels: a grey image would hide that they were swapped."""
    other = np.asarray(Image.fromarray(other).resize(film.shape[::-1]))
    return np.dstack([film, other, 255 - film // 2])


def _encode(name: str, image: Image.Image, file_format: str, **options) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return Picture(name, buffer.getvalue())
