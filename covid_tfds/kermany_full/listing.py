"""Which films `kermany_covid_full` holds, whose they are, and which split each goes to. No image is decoded here."""

import csv
import io
import logging
import re
from collections import Counter, defaultdict
from hashlib import sha256
from typing import NamedTuple

from scipy.cluster.hierarchy import DisjointSet

from covid_tfds.common.errors import SourceError
from covid_tfds.kermany_full.places import COMMIT, EXPLAINED, METADATA, Files, Place, read
from covid_tfds.sources import manifest, splits

COVID = "covid-chestxray-dataset"
KERMANY = "chest-xray-pneumonia"
FRONTAL = ("PA", "AP", "AP Supine")
# Kermany et al. (2018), Cell 172, 1122: 1,349 normal and 3,883 pneumonia to train, 234 and 390 to test. Kaggle's
# archive holds the same 5,856 in three folders. No total of bytes is published: the one found is kept with the dataset.
KERMANY_COUNTS = {"NORMAL": 1349 + 234, "PNEUMONIA": 3883 + 390}
# Pages that show one patient: the repository lists some such cases under several patient numbers.
CASE_PAGES = ("eurorad.org/case/", "radiopaedia.org/cases/", "sirm.org/20", "rad2share.com/")
# Kaggle's IM-0115-0001, NORMAL2-IM-0315-0001 and person1_bacteria_2; Mendeley's NORMAL-1049278-0001.
KERMANY_PATIENT = re.compile(r"((?:NORMAL2-)?IM-\d+)-|(person\d+)_|(?:NORMAL|BACTERIA|VIRUS)-(\d+)-")
NAMED_IN_ERRORS = 10

log = logging.getLogger(__name__)


class Film(NamedTuple):
    """One film: where its bytes lie, its features except `image` and `sha256`, and its row in a manifest, if any."""

    place: Place
    facts: dict[str, str | float]
    published: manifest.Row | None

    @property
    def split(self) -> str:
        """The split that its patient is in."""
        return splits.by_hash(self.facts["patient_id"])


def films(covid: Files, kermany: Files) -> list[Film]:
    """List the films of both publishers.

    Args:
        covid: files of the COVID-19 repository, by path.
        kermany: files of the archive of Kermany et al., by path.

    Returns:
        Every frontal COVID-19 radiograph, then every one of the archive; a person known under two numbers has the first
        of them.

    Raises:
        SourceError: files are missing or have names that no publisher gave them.
    """
    known = {(row.source, row.revision, row.path): row for name in _manifests() for row in manifest.load(name)}
    patients = DisjointSet()
    listed = []
    for path, facts, page in _covid_facts(covid):
        listed.append(Film(covid[path], facts, known.get((COVID, COMMIT, path))))
        patients.add(facts["patient_id"])
        if page:
            patients.add(page)
            patients.merge(page, facts["patient_id"])
    for path, facts in _kermany_facts(kermany):
        listed.append(Film(kermany[path], facts, known.get((KERMANY, "", f"chest_xray/{path}"))))
        patients.add(facts["patient_id"])
    for first, *others in _identical(listed):
        log.info("byte for byte the same: %s", ", ".join(film.facts["image_id"] for film in (first, *others)))
        for other in others:
            patients.merge(first.facts["patient_id"], other.facts["patient_id"])
    name_of = {
        patient: min(name for name in group if "/" not in name) for group in patients.subsets() for patient in group
    }
    return [film._replace(facts=film.facts | {"patient_id": name_of[film.facts["patient_id"]]}) for film in listed]


def summary(listed: list[Film]) -> dict[str, int]:
    """What was found, for the dataset's metadata: images of each label, their bytes, how many have a known hash."""
    return {
        **Counter(film.facts["label"] for film in listed),
        "bytes": sum(film.place.bytes for film in listed),
        "sha256_known": sum(film.published is not None for film in listed),
    }


def _manifests() -> list[str]:
    return sorted(file.stem for file in manifest.FOLDER.glob("*.csv") if file.stem != "corrections")


def _covid_facts(files: Files):
    """(path, facts, case page or "") of each film; the metadata at the pinned commit says which there are."""
    rows = list(csv.DictReader(io.StringIO(read(files[METADATA]).decode("utf-8"))))
    wanted = {}
    for row in rows:
        is_covid = row["finding"].split(",")[0] == "COVID-19"
        if is_covid and row["modality"] == "X-ray" and row["view"] in FRONTAL and row["folder"] == "images":
            wanted[f"images/{row['filename']}"] = row
    if missing := sorted(wanted.keys() - files.keys()):
        metadata = files[METADATA].archive or files[METADATA].name
        raise SourceError(
            f"{COVID}: {len(missing)} of the {len(wanted)} frontal COVID-19 films of commit {COMMIT} are missing "
            f"beside {metadata}: {_some(missing)}. Complete the copy, or remove it: the repository is "
            f"then fetched {EXPLAINED}"
        )
    for path, row in wanted.items():
        page = row["url"].split("?")[0] if any(part in row["url"] for part in CASE_PAGES) else ""
        facts = {
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
        yield path, facts, page


def _kermany_facts(files: Files):
    """(path, facts) of each film."""
    counts = Counter(path.split("/")[1] for path in files)
    if counts != KERMANY_COUNTS:
        where = next(iter(files.values()), Place("", "an empty folder", 0))
        raise SourceError(
            f"{KERMANY}: {_counted(counts)} found ({where.archive or where.name} and its like), expected "
            f"{_counted(KERMANY_COUNTS)}. Complete the copy, or remove it: the archive is then fetched {EXPLAINED}"
        )
    nameless = [path for path in files if not KERMANY_PATIENT.match(path.rpartition("/")[2])]
    if nameless:
        raise SourceError(
            f"{KERMANY}: names that tell no patient: {_some(nameless)}. Expected names as Kaggle's "
            "person1_bacteria_2.jpeg or Mendeley's BACTERIA-1008087-0001.jpeg"
        )
    for path in sorted(files):
        name = path.rpartition("/")[2]
        patient = next(filter(None, KERMANY_PATIENT.match(name).groups()))
        cause = re.search("bacteria|virus", name.lower())
        yield (
            path,
            {
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
            },
        )


def _identical(listed: list[Film]) -> list[list[Film]]:
    """Groups of films with the same bytes. Only those of one size are read: a few dozen in some thousand."""
    by_size = defaultdict(list)
    for film in listed:
        by_size[film.place.bytes].append(film)
    by_content = defaultdict(list)
    for group in by_size.values():
        for film in group if len(group) > 1 else ():
            by_content[_digest(film)].append(film)
    return [group for group in by_content.values() if len(group) > 1]


def _digest(film: Film) -> str:
    try:
        return sha256(read(film.place)).hexdigest()
    except Exception:  # whatever is wrong with it: the pipeline reads it again and names it
        return film.facts["image_id"]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_IN_ERRORS} more" if len(names) > NAMED_IN_ERRORS else ""
    return ", ".join(names[:NAMED_IN_ERRORS]) + more


def _counted(counts: dict[str, int]) -> str:
    return " and ".join(f"{counts.get(label, 0):,} {label}" for label in KERMANY_COUNTS)
