"""List the images of `kermany_covid_full` with their patients and splits. No image is decoded here."""

import csv
import io
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from covid_tfds.common.errors import SourceError
from covid_tfds.kermany_full.places import COMMIT, LAYOUTS, METADATA, Files, Place, read_file
from covid_tfds.sources import manifest
from covid_tfds.sources.patient_names import kermany_patient

COVID = "covid-chestxray-dataset"
KERMANY = "chest-xray-pneumonia"
FRONTAL = ("PA", "AP", "AP Supine")
# Kermany et al. (2018), Cell 172, 1122: 1,349 normal and 3,883 pneumonia to train, 234 and 390 to test. Kaggle's
# archive holds the same 5,856 in three folders. No total of bytes is published: the one found is kept with the dataset.
KERMANY_COUNTS = {"NORMAL": 1349 + 234, "PNEUMONIA": 3883 + 390}
# Pages that show one patient: the repository lists some such cases under several patient numbers.
CASE_PAGES = ("eurorad.org/case/", "radiopaedia.org/cases/", "sirm.org/20", "rad2share.com/")
SEED = 42
TENTHS = ("train",) * 8 + ("validation", "test")
NAMED_IN_ERRORS = 10

log = logging.getLogger(__name__)


class ListedImage(NamedTuple):
    """One image of the dataset, not read yet.

    Attributes:
        place: Where its bytes lie.
        features: Its features except `image` and `sha256`.
        published: Its row in a manifest, if any.
    """

    place: Place
    features: dict[str, Any]
    published: manifest.Row | None

    @property
    def split(self) -> str:
        """The split that its patient is in."""
        return split_by_hash(self.features["patient_id"])


def split_by_hash(patient_id: str) -> str:
    """Returns the split of a patient from a hash of its id alone, for datasets too large for a manifest.

    The first eight bytes of the SHA-256 of `"42:<patient_id>"`, modulo ten: 0 to 7 train, 8 validation, 9 test. So
    neither the order nor the presence of other patients matters; the price is that the shares are 80 / 10 / 10 only
    on average.

    Example:
        >>> split_by_hash("ieee8023-2"), split_by_hash("ieee8023-4")
        ('train', 'validation')
    """
    digest = sha256(f"{SEED}:{patient_id}".encode()).digest()
    return TENTHS[int.from_bytes(digest[:8], "big") % len(TENTHS)]


def list_images(covid: Files, kermany: Files) -> list[ListedImage]:
    """List the images of both publishers.

    Args:
        covid: Files of the COVID-19 repository, by path.
        kermany: Files of the archive of Kermany et al., by path.

    Returns:
        Every frontal COVID-19 radiograph, then every one of the archive; a person known under two numbers has the first
        of them.

    Raises:
        SourceError: If files are missing or have names that no publisher gave them.
    """
    rows = [
        row
        for file in sorted(manifest.FOLDER.glob("*.csv"))
        if file.stem != "corrections"
        for row in manifest.read_manifest(file.stem)
    ]
    published = {(row.source, row.revision, row.path): row for row in rows}
    patients = DisjointSet()
    images = []
    for path, features, case_page in _covid_features(covid):
        images.append(ListedImage(covid[path], features, published.get((COVID, COMMIT, path))))
        patients.add(features["patient_id"])
        if case_page:
            patients.add(case_page)
            patients.merge(case_page, features["patient_id"])
    for path, features in _kermany_features(kermany):
        images.append(ListedImage(kermany[path], features, published.get((KERMANY, "", f"chest_xray/{path}"))))
        patients.add(features["patient_id"])
    for first, *others in _find_identical(images):
        log.info("byte for byte the same: %s", ", ".join(image.features["image_id"] for image in (first, *others)))
        for other in others:
            patients.merge(first.features["patient_id"], other.features["patient_id"])
    name_of = {
        patient: min(name for name in group if "/" not in name) for group in patients.subsets() for patient in group
    }
    return [
        image._replace(features=image.features | {"patient_id": name_of[image.features["patient_id"]]})
        for image in images
    ]


def summarize(images: list[ListedImage]) -> dict[str, int]:
    """Returns what is kept as the dataset's metadata: images of each label, bytes, how many have a published hash."""
    return {
        **Counter(image.features["label"] for image in images),
        "bytes": sum(image.place.bytes for image in images),
        "sha256_known": sum(image.published is not None for image in images),
    }


def _covid_features(files: Files) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (path, features, case page or "") of each image that the metadata at the pinned commit lists."""
    wanted = {}
    for row in csv.DictReader(io.StringIO(read_file(files[METADATA]).decode("utf-8"))):
        is_covid = row["finding"].split(",")[0] == "COVID-19"
        if is_covid and row["modality"] == "X-ray" and row["view"] in FRONTAL and row["folder"] == "images":
            wanted[f"images/{row['filename']}"] = row
    if missing := sorted(wanted.keys() - files.keys()):
        raise SourceError(
            f"{COVID}: {len(missing)} of the {len(wanted)} frontal COVID-19 images of commit {COMMIT} are missing "
            f"beside {files[METADATA].file}: {_name_some(missing)}. Complete the copy, or remove it: the repository is "
            f"then fetched {LAYOUTS}"
        )
    for path, row in wanted.items():
        case_page = row["url"].split("?")[0] if any(part in row["url"] for part in CASE_PAGES) else ""
        features = {
            "label": "covid",
            "image_id": path,
            "patient_id": f"ieee8023-{row['patientid'].strip()}",
            "source": COVID,
            "finding": row["finding"],
            "view": row["view"],
            "sex": row["sex"].strip(),
            "age": float(row["age"].strip() or "nan"),
            "offset_days": float(row["offset"].strip() or "nan"),
            "license": row["license"].strip(),
            "doi": row["doi"].strip(),
        }
        yield path, features, case_page


def _kermany_features(files: Files) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (path, features) of each image."""
    counts = Counter(path.split("/")[1] for path in files)
    if counts != KERMANY_COUNTS:
        where = next(iter(files.values())).file if files else "an empty folder"
        raise SourceError(
            f"{KERMANY}: {_format_counts(counts)} found (in {where} and similar), expected "
            f"{_format_counts(KERMANY_COUNTS)}. Complete the copy, or remove it: the archive is then fetched {LAYOUTS}"
        )
    patients = {path: kermany_patient(path) for path in sorted(files)}
    if nameless := [path for path, patient in patients.items() if not patient]:
        raise SourceError(
            f"{KERMANY}: names without a patient: {_name_some(nameless)}. Expected names such as Kaggle's "
            "person1_bacteria_2.jpeg or Mendeley's BACTERIA-1008087-0001.jpeg"
        )
    for path, patient in patients.items():
        cause = re.search("bacteria|virus", path.rpartition("/")[2].lower())
        features = {
            "label": path.split("/")[1].lower(),
            "image_id": path,
            "patient_id": f"kermany-{patient}",
            "source": KERMANY,
            "finding": "Normal" if "/NORMAL/" in path else f"Pneumonia, {cause[0]}" if cause else "Pneumonia",
            "view": "",
            "sex": "",
            "age": float("nan"),
            "offset_days": float("nan"),
            "license": "CC BY 4.0",
            "doi": "10.17632/rscbjbr9sj.2",
        }
        yield path, features


def _find_identical(images: list[ListedImage]) -> list[list[ListedImage]]:
    """Returns groups of images with the same bytes. Only those of one size are read: a few dozen in some thousand."""
    by_size = defaultdict(list)
    for image in images:
        by_size[image.place.bytes].append(image)
    by_content = defaultdict(list)
    for group in by_size.values():
        for image in group if len(group) > 1 else ():
            by_content[_digest(image)].append(image)
    return [group for group in by_content.values() if len(group) > 1]


def _digest(image: ListedImage) -> str:
    try:
        return sha256(read_file(image.place)).hexdigest()
    except Exception:  # whatever is wrong with it: the pipeline reads it again and names it
        return image.features["image_id"]


def _name_some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_IN_ERRORS} more" if len(names) > NAMED_IN_ERRORS else ""
    return ", ".join(names[:NAMED_IN_ERRORS]) + more


def _format_counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{counts.get(label, 0):,} {label}" for label in KERMANY_COUNTS)
