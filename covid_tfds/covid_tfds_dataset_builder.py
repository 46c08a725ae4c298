"""The TFDS builder: five small configs and a large one, all with the same features.

tfds build covid_tfds --config phantom                    # drawn, nothing to download, seconds
tfds build covid_tfds --config curated --manual_dir DIR   # 50 real radiographs, 40 train and 10 test, seconds
tfds build covid_tfds --config curated                    # the same from the publishers, about 22 MB
tfds build covid_tfds --config kermany_covid_full --manual_dir DIR   # 6,290 radiographs, with Beam
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from covid_tfds import building
from covid_tfds.common.errors import SourceError
from covid_tfds.sources import locate, manifest

building.print_errors_in_one_line()

FROM_MANIFEST = (
    *("label", "image_id", "patient_id", "source", "finding", "view", "sex"),
    *("age", "offset_days", "license", "doi", "sha256"),
)


@dataclasses.dataclass(eq=False)
class CovidConfig(tfds.core.BuilderConfig):
    """One selection of radiographs.

    Attributes:
        labels: Class names; COVID-19, the positive class, comes first.
        num_examples: How many radiographs to draw; None for the configs that have a manifest.
    """

    labels: tuple[str, ...] = ("covid", "normal")
    num_examples: int | None = None


PHANTOM_LABELS = {"phantom": ("covid", "normal"), "phantom_three_classes": ("covid", "normal", "pneumonia")}


def phantom_config(num_examples: int, name: str = "phantom") -> CovidConfig:
    """Returns a `phantom` config of another size.

    Args:
        num_examples: How many radiographs to draw, equally many of each class; at least 10, so that no split is empty.
        name: "phantom" or "phantom_three_classes".

    Returns:
        The config `<name>_<num_examples>`, whose prepared data lies beside that of `<name>`, never in its place.

    Raises:
        ValueError: If `num_examples` is below 10, or below 15 with three classes.

    Example:
        >>> builder = tfds.builder("covid_tfds", config=phantom_config(2000))
        >>> builder.builder_config.name
        'phantom_2000'
    """
    labels = PHANTOM_LABELS[name]
    if num_examples < (least := 5 * len(labels)):
        raise ValueError(f"phantom_config: num_examples is {num_examples}, expected {least} or more")
    return CovidConfig(
        name=f"{name}_{num_examples}",
        description=f"{num_examples} drawn radiographs, for trying things out: they teach nothing medical.",
        labels=labels,
        num_examples=num_examples,
    )


# Not in BUILDER_CONFIGS: `tfds build covid_tfds` builds all of those, and this one takes gigabytes and minutes.
# `get_builder_config` returns it by name, for --config, tfds.load and tfds.builder. A module with a builder of its own
# would have to repeat the features and could not be built by the name of this dataset.
KERMANY_COVID_FULL = CovidConfig(
    name="kermany_covid_full",
    description="434 COVID-19, 1,583 normal and 4,273 pneumonia radiographs, split by patient. COVID-19 comes from "
    "other hospitals and age groups than the rest: a model can separate it without the lungs.",
    labels=("covid", "normal", "pneumonia"),
)


class Builder(tfds.core.GeneratorBasedBuilder):
    """Chest radiographs with and without COVID-19."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release: phantom, curated, source_matched, as_published."}  # noqa: RUF012
    # TFDS prints this, and passes --manual_dir on only where it is set; the folder itself stays optional.
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Optional: without it the images are fetched from their publishers. Put there any of: a clone of
    github.com/ieee8023/covid-chestxray-dataset; the chest_xray folder or the zip of Kaggle's
    paultimothymooney/chest-xray-pneumonia; ChestXRay2017.zip of Mendeley Data (doi 10.17632/rscbjbr9sj.2).
    """
    # Without --config all are built in this order, and the first that fails ends the build: so phantom is the first.
    BUILDER_CONFIGS = [  # noqa: RUF012
        CovidConfig(
            name="phantom",
            description="50 drawn radiographs, for trying things out: they teach nothing medical.",
            num_examples=50,
        ),
        CovidConfig(
            name="phantom_three_classes",
            description="60 drawn radiographs of three classes, for trying things out: they teach nothing medical.",
            labels=PHANTOM_LABELS["phantom_three_classes"],
            num_examples=60,
        ),
        CovidConfig(
            name="curated",
            description="25 COVID-19 and 25 healthy radiographs, split by patient. The classes come from different "
            "hospitals and age groups: a model can separate them without the lungs.",
        ),
        CovidConfig(
            name="source_matched",
            description="44 radiographs with COVID-19 and 44 with other findings from one repository, one a patient.",
            labels=("covid", "other"),
        ),
        CovidConfig(
            name="as_published",
            description="The 50 files of the 2020 tutorial under its own labels, only to reproduce its numbers: 18 of "
            "its 25 'normal' files are pneumonia, and its image-level split puts patients on both sides.",
        ),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "curated"

    @classmethod
    def get_builder_config(
        cls, name: str, version: str | tfds.core.Version | None = None
    ) -> tfds.core.BuilderConfig | None:
        """Returns the config of that name, also one that is built only by its name."""
        return KERMANY_COVID_FULL if name == KERMANY_COVID_FULL.name else super().get_builder_config(name, version)

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        """Download and prepare the dataset as TFDS does, but one process at a time, and with errors of one line.

        Raises:
            SourceError: If images can't be fetched, the dataset can't be written, or `manual_dir` is not a folder (TFDS
                ignores such a folder and would download).
        """
        given = download_config and download_config.manual_dir
        if given and not Path(given).expanduser().is_dir():
            raise SourceError(f"manual_dir {given} is not a folder: give one with images, or leave it out")
        with building.exclusive_build(str(self.data_path)):
            super().download_and_prepare(download_config=download_config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), doc="the publisher's bytes, unchanged"),
                    "label": tfds.features.ClassLabel(names=self.builder_config.labels),
                    "image_id": tfds.features.Text(doc="unique within a config"),
                    "patient_id": tfds.features.Text(),
                    "source": tfds.features.Text(doc="the repository"),
                    "finding": tfds.features.Text(doc="in the publisher's words"),
                    "view": tfds.features.Text(doc="PA, AP or empty"),
                    "sex": tfds.features.Text(doc="M, F or empty"),
                    "age": tfds.features.Scalar(np.float32, doc="years; NaN when unknown"),
                    # A float like age: days may be zero or negative, so that no integer is free to say "unknown".
                    "offset_days": tfds.features.Scalar(
                        np.float32, doc="days since the onset of symptoms or admission; NaN when unknown"
                    ),
                    "license": tfds.features.Text(doc="of this image; empty when the publisher states none"),
                    "doi": tfds.features.Text(),
                    "sha256": tfds.features.Text(doc="of the bytes of image"),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/ieee8023/covid-chestxray-dataset",
            license="Each radiograph has its own licence, see the feature `license`; where it is empty the publisher "
            "states none and the image must not be passed on. Drawn radiographs: MIT.",
            metadata=tfds.core.MetadataDict() if self.builder_config is KERMANY_COVID_FULL else None,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[str, dict]]]:
        if self.builder_config is KERMANY_COVID_FULL:
            return self._beam_splits(dl_manager)
        files = {}
        if self.builder_config.num_examples is None:
            files = locate.locate_images(
                name=f"{self.name}/{self.builder_config.name}",
                rows=manifest.read_manifest(self.builder_config.name),
                download_dir=dl_manager.download_dir,
                user_dir=_manual_dir(dl_manager),
            )
        return {split: self._generate_examples(split, files) for split in ("train", "test")}

    def _generate_examples(self, split: str, files: dict[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self.builder_config.num_examples is None:
            yield from _published(split, manifest.read_manifest(self.builder_config.name), files)
        else:
            yield from _drawn(split, self.builder_config)

    def _beam_splits(self, dl_manager: tfds.download.DownloadManager) -> dict:
        # Imported late: Beam takes a second, and only this config needs it.
        from covid_tfds.kermany_full import listing, pipeline, places

        user_dir = _manual_dir(dl_manager)
        images = listing.list_images(
            places.find_covid_files(dl_manager, user_dir), places.find_kermany_files(dl_manager, user_dir)
        )
        self.info.metadata.update(listing.summarize(images))
        splits = sorted({image.split for image in images})
        folder = Path(dl_manager.download_dir) / "covid_tfds"
        folder.mkdir(parents=True, exist_ok=True)
        self._refused = {split: folder / f"refused_{split}.txt" for split in splits}
        return {
            split: pipeline.read_examples([image for image in images if image.split == split], self._refused[split])
            for split in splits
        }

    def _process_pipeline_result(self, pipeline_result: Any) -> None:
        from covid_tfds.kermany_full import pipeline

        pipeline.raise_if_refused(list(self._refused.values()))


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> Path | None:
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # raised by TFDS when there is none, or it is empty
        return None


def _published(
    split: str, rows: Sequence[manifest.Row], files: dict[str, Path]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in rows:
        if row.split == split:
            # A path, not an array: TFDS then stores the file's bytes as they are and needs no TensorFlow.
            yield row.file_name, {"image": files[row.image_id]} | {name: getattr(row, name) for name in FROM_MANIFEST}


def _drawn(split: str, config: CovidConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    from covid_tfds import phantom  # imported late: SciPy takes half a second, and --help needs none of it

    findings = {"covid": "drawn opacities", "normal": "none", "pneumonia": "drawn consolidation"}
    for index in range(config.num_examples or 0):
        if phantom.split_of(index, config.labels) != split:
            continue
        radiograph = phantom.draw(index, config.labels)
        png = phantom.encode_png(radiograph.image)
        drawn = {name: getattr(radiograph, name) for name in ("image_id", "label", "view", "sex", "age")}
        yield (
            radiograph.image_id,
            drawn
            | {
                "image": png,
                "patient_id": radiograph.image_id,
                "source": "phantom",
                "finding": findings[radiograph.label],
                "offset_days": np.nan,
                "license": "MIT",
                "doi": "",
                "sha256": hashlib.sha256(png).hexdigest(),
            },
        )
