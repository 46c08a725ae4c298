"""Read and verify the listed images in a Beam pipeline, each on whichever worker gets it.

An image that is not what it should be does not end the work of the others: it is named, with the reason, in a file
beside the downloads, and the build then ends with one error that names them all.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import apache_beam as beam

from covid_tfds.common.errors import SourceError, describe_error
from covid_tfds.imaging.reader import decode_jpeg_or_png
from covid_tfds.kermany_full.listing import NAMED_IN_ERRORS, ListedImage
from covid_tfds.kermany_full.places import read_file
from covid_tfds.sources.integrity import find_difference

REFUSED = "refused"


@beam.ptransform_fn
def read_examples(pipeline: beam.Pipeline, images: list[ListedImage], refused_file: Path) -> beam.PCollection:
    """Give (key, example) for each image that is what it should be; name the others in `refused_file`, one a line."""
    read = pipeline | beam.Create(images) | beam.FlatMap(_read_example).with_outputs(REFUSED, main="examples")
    # One file without a shard number: there are few, and a person is to read them.
    _ = read[REFUSED] | beam.io.WriteToText(str(refused_file), shard_name_template="")
    return read["examples"]


def raise_if_refused(files: list[Path]) -> None:
    """Raise SourceError when one of the files that `read_examples` wrote has lines."""
    refused = sorted(line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    if refused:
        lines = refused[:NAMED_IN_ERRORS]
        if len(refused) > NAMED_IN_ERRORS:
            lines.append(f"and {len(refused) - NAMED_IN_ERRORS} more, see {files[0].parent}")
        listed = "\n- ".join(lines)
        raise SourceError(
            f"{len(refused)} images are not as they were published:\n- {listed}\n"
            "Replace them, or remove the copy they are in so that it is fetched, then run the same command again"
        )


def _read_example(image: ListedImage) -> Iterator:
    try:
        data = read_file(image.place)
        _check(image, data)
    except Exception as error:  # disks, mounts, zips and images raise many kinds, and each is the fault of one image
        yield beam.pvalue.TaggedOutput(REFUSED, f"{image.place}: {describe_error(error)}")
        return
    # With the source: two publishers may give the same path.
    key = f"{image.features['source']}/{image.features['image_id']}"
    yield key, {"image": data, "sha256": sha256(data).hexdigest(), **image.features}


def _check(image: ListedImage, data: bytes) -> None:
    """Compare with the published hash; where there is none, decode once to see whether the image is whole."""
    if not image.published:
        decode_jpeg_or_png(data)
    elif wrong := find_difference(image.published, data):
        raise ValueError(wrong)
