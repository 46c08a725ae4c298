"""The rules that put an image into a split.

The answer of the first and last is pinned in the `split` column of `manifests/*.csv`, so that no change of a library
can move an image; `tests/test_manifests.py` derives the column anew and compares.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from covid_tfds.sources.manifest import Row

SEED = 42
TENTHS = ("train",) * 8 + ("validation", "test")


def patient_grouped(rows: Sequence[Row], test_images_per_class: int, seed: int = SEED) -> dict[str, str]:
    """Split with no patient on both sides and an exact number of test images in each class.

    Within each class the patients are ordered by the SHA-256 of `"<seed>:<patient_id>"`, which is random with regard to
    the images and the same on every machine. In that order whole patients go to `test` as long as they fit.

    Args:
        rows: the rows of one manifest.
        test_images_per_class: how many images of each class `test` shall hold.
        seed: any integer; another one gives another split.

    Returns:
        `{image_id: "train" or "test"}`.

    Raises:
        ValueError: whole patients do not add up to that number in some class.
    """
    patients = defaultdict(lambda: defaultdict(list))
    for row in rows:
        patients[row.label][row.patient_id].append(row.image_id)

    split = {row.image_id: "train" for row in rows}
    for label, image_ids_of in patients.items():
        wanted = test_images_per_class
        for patient in sorted(image_ids_of, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()):
            if len(image_ids_of[patient]) <= wanted:
                wanted -= len(image_ids_of[patient])
                split.update(dict.fromkeys(image_ids_of[patient], "test"))
        if wanted:
            raise ValueError(
                f"class {label!r}: whole patients leave {wanted} of {test_images_per_class} test places empty; "
                "ask for another number"
            )
    return split


def by_hash(patient_id: str, seed: int = SEED) -> str:
    """Put a patient into a split by nothing but the name, for sets too large to pin in a manifest.

    The first eight bytes of the SHA-256 of `"<seed>:<patient_id>"`, modulo ten: 0 to 7 train, 8 validation, 9 test. So
    neither the order nor the presence of other patients matters, and a machine sees but its own; the price is that the
    shares are 80 / 10 / 10 only on average.

    Args:
        patient_id: with its prefix.
        seed: any integer; another one gives another split.

    Returns:
        "train", "validation" or "test".
    """
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    return TENTHS[int.from_bytes(digest[:8], "big") % len(TENTHS)]


def image_level(rows: Sequence[Row], seed: int = SEED) -> dict[str, str]:
    """The tutorial's own split: 20 % of the images, stratified by label, patients ignored.

    Args:
        rows: the rows of one manifest, whose order counts.
        seed: scikit-learn's `random_state`.

    Returns:
        `{image_id: "train" or "test"}`.
    """
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        [row.image_id for row in rows],
        test_size=0.2,
        stratify=[row.label for row in rows],
        random_state=seed,
    )
    return dict.fromkeys(train, "train") | dict.fromkeys(test, "test")
