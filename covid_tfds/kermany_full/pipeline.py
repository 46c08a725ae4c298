"""The Beam pipeline from a list of films to examples: each is read and verified by whichever worker gets it.

A film that is not what it should be does not end the work of the others: it is named, with the reason, in a file beside
the downloads, and the build then ends with one error that names them all.
"""

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import apache_beam as beam
from PIL import Image, UnidentifiedImageError

from covid_tfds.common.errors import SourceError
from covid_tfds.kermany_full.listing import NAMED_IN_ERRORS, Film
from covid_tfds.kermany_full.places import read
from covid_tfds.sources.integrity import difference

REFUSED = "refused"


@beam.ptransform_fn
def examples(pipeline: beam.Pipeline, films: list[Film], refused_file: Path) -> beam.PCollection:
    """(key, example) for each film that is what it should be; the others are named in `refused_file`, one a line."""
    films_read = pipeline | beam.Create(films) | beam.FlatMap(_example).with_outputs(REFUSED, main="examples")
    # One file without a shard number: there are few, and a person is to read them.
    _ = films_read[REFUSED] | beam.io.WriteToText(str(refused_file), shard_name_template="")
    return films_read["examples"]


def raise_if_refused(files: list[Path]) -> None:
    """Raise SourceError when one of the files that `examples` wrote has lines."""
    refused = sorted(line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    if refused:
        more = (
            f"\n- and {len(refused) - NAMED_IN_ERRORS} more, see {files[0].parent}"
            if len(refused) > NAMED_IN_ERRORS
            else ""
        )
        shown = "".join(f"\n- {line}" for line in refused[:NAMED_IN_ERRORS])
        raise SourceError(
            f"{len(refused)} films are not as they were published:{shown}{more}\n"
            "Replace them, or remove the copy they are in so that it is fetched, then run the same command again"
        )


def _example(film: Film) -> Iterator:
    try:
        data = read(film.place)
        _check(film, data)
    except Exception as error:  # disks, mounts, zips and images raise many kinds, and each is the fault of one film
        name = f"{film.place.archive} {film.place.name}".strip()
        yield beam.pvalue.TaggedOutput(REFUSED, f"{name}: {_plain(error)}")
        return
    # With the source: two publishers may give the same path.
    key = f"{film.facts['source']}/{film.facts['image_id']}"
    yield key, {"image": data, "sha256": sha256(data).hexdigest(), **film.facts}


def _check(film: Film, data: bytes) -> None:
    """Compare with the published hash; where there is none, decode once to see whether the image is whole."""
    if film.published:
        if wrong := difference(film.published, data):
            raise ValueError(wrong)
        return
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        image.load()


def _plain(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "neither a JPEG nor a PNG image"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
