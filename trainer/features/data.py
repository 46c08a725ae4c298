"""What a prepared TFDS dataset, or a folder of images, holds: `load(Config(data=DatasetRequest(config="phantom")))`.

Ids, patients, labels and splits are read into memory; the images stay where they are and are streamed by
`trainer.features.pipelines`.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from sklearn.model_selection import StratifiedGroupKFold

from covid_tfds import tf_data
from covid_tfds.common.errors import UsageError
from covid_tfds.examples import DatasetRequest
from trainer.config import Config
from trainer.metrics.classification import POSITIVE_CLASS

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
SPLITS = ("train", "test")
FACTS = ("source", "finding", "view", "sex", "license")


@dataclass(frozen=True)
class Examples:
    """What is known of a dataset's images without decoding them, in one fixed order, and how to read them.

    labels: int64 [n], class index, 0 is covid. split: "train" or "test". sha256: hex digest of each encoded image.
    facts: other publisher's facts by name (source, finding, view, sex, license as text; age as float, NaN unknown).
    encoded: makes a tf.data.Dataset of the n encoded images (string scalars) in this order.
    grouped: whether patients are known, so that splits and folds can keep each on one side.
    """

    name: str
    version: str
    class_names: tuple[str, str]
    image_id: np.ndarray
    patient_id: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    sha256: np.ndarray
    facts: dict[str, np.ndarray]
    encoded: Callable[[], tf.data.Dataset]
    grouped: bool

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, split: str) -> np.ndarray:
        """Indices of a split's images, int64."""
        return np.flatnonzero(self.split == split)

    def subset(self, rows: np.ndarray) -> Examples:
        """The same for some images (indices, ascending); nothing of the others can be read from it."""
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True

        def encoded() -> tf.data.Dataset:
            pairs = tf.data.Dataset.zip(self.encoded(), tf.data.Dataset.from_tensor_slices(wanted))
            # Dropped before decoding: the bytes are cheap to pass over, the pixels are not.
            kept = pairs.filter(lambda _, keep: keep).map(lambda image, _: image)
            return kept.apply(tf.data.experimental.assert_cardinality(len(rows)))

        columns = ("image_id", "patient_id", "labels", "split", "sha256")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[rows] for name in columns},
            facts={name: values[rows] for name, values in self.facts.items()},
            encoded=encoded,
        )

    @property
    def known_patients(self) -> np.ndarray | None:
        """patient_id, or None where patients are unknown and each image stands for its own."""
        return self.patient_id if self.grouped else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every image's id, patient, label, split and content hash, whatever their order."""
        columns = (self.image_id, self.patient_id, self.labels, self.split, self.sha256)
        table = sorted([str(value) for value in row] for row in zip(*columns, strict=True))
        return hashlib.sha256(json.dumps(table).encode()).hexdigest()


def load(config: Config) -> Examples:
    """The dataset that `config` names, prepared first if need be. Raises UsageError when it can't be trained on."""
    examples = load_whole(config.data)
    if config.data.dataset:
        examples = dataclasses.replace(examples, split=_split(examples, config))
    for split in SPLITS:
        for index, name in enumerate(examples.class_names):
            if not np.any(examples.labels[examples.rows(split)] == index):
                raise UsageError(
                    f"{examples.name}: no '{name}' image in the {split} split; both classes must be in both splits."
                )
    if config.batch_size > (n := len(examples.rows("train"))):
        raise UsageError(f"--batch_size {config.batch_size} is larger than the training split ({n} images).")
    return examples


def load_whole(request: DatasetRequest) -> Examples:
    """The dataset that `request` names, prepared first if need be, to be judged as it is; a folder is all "test"."""
    return _from_folder(Path(request.dataset)) if request.dataset else _from_tfds(request)


def _from_tfds(request: DatasetRequest) -> Examples:
    import tensorflow_datasets as tfds

    import covid_tfds
    from covid_tfds.common.errors import SourceError

    which = covid_tfds.phantom_config(request.num_examples) if request.num_examples else request.config
    download = tfds.download.DownloadConfig(manual_dir=request.manual_dir)
    skip = {"image": tfds.decode.SkipDecoding()}
    name = which if isinstance(which, str) else which.name
    folder = Path(request.data_dir or tfds.core.constants.DATA_DIR, covid_tfds.Builder.name, name)
    with _naming_damage(folder):
        builder = covid_tfds.Builder(config=which, data_dir=request.data_dir)
    try:
        builder.download_and_prepare(download_config=download)
    except (SourceError, NotADirectoryError) as error:
        raise UsageError(" ".join(str(error).split())) from error
    with _naming_damage(folder):
        train, test = (
            builder.as_dataset(split=split, decoders=skip, read_config=tf_data.read_config()) for split in SPLITS
        )
        columns = _columns({"train": train, "test": test})
    images = train.concatenate(test).map(lambda example: example["image"])
    feature = builder.info.features
    texts = {
        name: np.asarray([feature[name].int2str(v) for v in columns[name]])
        if isinstance(feature[name], tfds.features.ClassLabel)
        else columns[name]
        for name in (*FACTS, "age")
    }
    return Examples(
        name=f"{builder.name}/{builder.builder_config.name}",
        version=str(builder.version),
        class_names=tuple(feature["label"].names),
        image_id=columns["image_id"],
        patient_id=columns["patient_id"],
        labels=columns["label"].astype(np.int64),
        split=columns["split"],
        sha256=columns["sha256"],
        facts=texts,
        encoded=lambda: images,
        grouped=True,
    )


@contextlib.contextmanager
def _naming_damage(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TFDS, protobuf and TensorFlow raise many kinds for a damaged file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"The prepared dataset in {folder} is damaged: {reason} Remove it and give the same command again: it is "
            "prepared anew."
        ) from error


def _columns(splits: dict[str, tf.data.Dataset]) -> dict[str, np.ndarray]:
    """All features but the image, and the split, of a prepared dataset; reads, and so checks, every record."""
    names = [name for name in splits["train"].element_spec if name != "image"]
    table: dict[str, list] = {name: [] for name in [*names, "split"]}
    for split, examples in splits.items():
        for row in examples.map(lambda row: {name: row[name] for name in names}).as_numpy_iterator():
            for name in names:
                value = row[name]
                table[name].append(value.decode() if isinstance(value, bytes) else value)
            table["split"].append(split)
    return {name: np.asarray(values) for name, values in table.items()}


def _split(examples: Examples, config: Config) -> np.ndarray:
    """ "train" or "test" for each image of a folder: 80 / 20, stratified, by patient when these are known."""
    for index, name in enumerate(examples.class_names):
        if len(set(examples.patient_id[examples.labels == index])) < 5:
            unit = "patients" if examples.grouped else "images"
            raise UsageError(
                f"--dataset {config.data.dataset}: class '{name}' has fewer than 5 {unit}, too few to split 80 / 20."
            )
    folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=config.seed)
    _, test = next(folds.split(examples.image_id, examples.labels, examples.patient_id))
    return np.where(np.isin(np.arange(len(examples)), test), "test", "train")


def _from_folder(folder: Path) -> Examples:
    """The tutorial's layout, folder/<class>/*.jpg|jpeg|png, and patients.csv when it is there."""
    expected = f"Expected {folder}/{POSITIVE_CLASS}/ and one folder of another class, with .jpg, .jpeg or .png files."
    classes = {
        entry.name: sorted(f for f in entry.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not any(classes.values()):
        raise UsageError(f"--dataset {folder}: no images found. {expected}")
    empty = [name for name, files in classes.items() if not files]
    if empty:
        raise UsageError(f"--dataset {folder}: class folder '{empty[0]}' holds no images. {expected}")
    if len(classes) != 2 or POSITIVE_CLASS not in classes:
        raise UsageError(f"--dataset {folder}: got the class folder(s) {', '.join(classes)}. {expected}")
    other = next(name for name in classes if name != POSITIVE_CLASS)
    class_names = (POSITIVE_CLASS, other)
    paths = [path for name in class_names for path in classes[name]]
    labels = np.asarray([index for index, name in enumerate(class_names) for _ in classes[name]], dtype=np.int64)
    image_id = np.asarray([path.relative_to(folder).as_posix() for path in paths])
    patients = _patients(folder / "patients.csv", image_id)
    grouped = patients is not None
    if patients is None:
        patients = image_id
    names = [str(path) for path in paths]
    return Examples(
        name=folder.name,
        version="folder",
        class_names=class_names,
        image_id=image_id,
        patient_id=patients,
        labels=labels,
        split=np.full(len(paths), "test"),
        sha256=np.asarray([_digest(path) for path in paths]),
        facts={name: np.full(len(paths), "") for name in FACTS} | {"age": np.full(len(paths), np.nan)},
        encoded=lambda: tf.data.Dataset.from_tensor_slices(names).map(tf.io.read_file).with_options(tf_data.options()),
        grouped=grouped,
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}. Mend or remove it.") from error


def _patients(table: Path, image_id: np.ndarray) -> np.ndarray | None:
    if not table.exists():
        return None
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"path", "patient_id"} <= set(reader.fieldnames or ()):
            raise UsageError(f"{table}: expected the columns path,patient_id, got {reader.fieldnames}.")
        patient_of = {row["path"]: row["patient_id"] for row in reader}
    missing = [name for name in image_id if not patient_of.get(name)]
    if missing:
        raise UsageError(f"{table}: {len(missing)} image(s) without a patient_id, the first is {missing[0]}.")
    return np.asarray([patient_of[name] for name in image_id])
