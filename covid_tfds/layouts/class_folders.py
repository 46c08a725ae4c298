"""Recognize datasets that name classes by folders: flat, COVID-19 Radiography Database, and split folders."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from covid_tfds.examples import UNKNOWN, PassedOver
from covid_tfds.layouts.files import NO_IMAGE, Listing, join
from covid_tfds.layouts.found import FoundImage, Layout

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
}
# Below a class: "masks", "lung masks", "infection masks", "ManualMask".
MASKS = re.compile(r"masks?$", re.IGNORECASE)
NOT_OF_LUNGS = re.compile(r"infection|lesion|heart", re.IGNORECASE)
Parts = tuple[str, ...]


def is_split_name(name: str) -> bool:
    """Returns whether a folder has the name of a split, such as "train" or "Validation"."""
    return name.lower() in SPLITS


def read_class_folders(folder: Path, listing: Listing) -> Layout | None:
    """Returns the images of class folders, or of class folders in split folders; None where there are neither.

    Args:
        folder: What the listing's paths are relative to.
        listing: All its files.
    """
    splits = {SPLITS[parts[0].lower()] for parts in listing.images if len(parts) > 2 and is_split_name(parts[0])}
    has_splits = "train" in splits and len(splits) > 1
    depth = 1 if has_splits else 0
    passed_over = [PassedOver(join(parts), NO_IMAGE) for parts in listing.others]
    images, masks = [], defaultdict(list)
    for parts in listing.images:
        if any(MASKS.search(part) for part in parts[:-1]):
            masks[_mask_key(parts, depth)].append(parts)
        elif len(parts) < depth + 2 or (has_splits and not is_split_name(parts[0])):
            passed_over.append(PassedOver(join(parts), "outside the class folders"))
        else:
            images.append(parts)
    spelling = _choose_spellings(parts[depth] for parts in images)
    # Split folders at any place where they are not read: two datasets side by side, for example.
    if len(spelling) < 2 or (
        not has_splits and any(map(is_split_name, {name for parts in images for name in parts[:-1]}))
    ):
        return None
    found, used = [], set()
    for parts in images:
        mask = _choose_mask(masks.get(_mask_key(parts, depth), []))
        used.add(mask)
        found.append(
            FoundImage(
                name=join(parts),
                path=folder.joinpath(*parts),
                label=spelling[parts[depth].lower()],
                split=SPLITS[parts[0].lower()] if has_splits else UNKNOWN,
                mask=folder.joinpath(*mask) if mask else None,
            )
        )
    passed_over += [
        PassedOver(join(mask), "a mask that is not of an image's lungs")
        for several in masks.values()
        for mask in several
        if mask not in used
    ]
    return Layout(_describe(images, depth, has_splits), found, passed_over)


def _mask_key(parts: Parts, depth: int) -> Parts:
    """What an image and its mask have in common: the folders down to the class, and the stem."""
    return (*(part.lower() for part in parts[: depth + 1]), Path(parts[-1]).stem.lower())


def _choose_mask(masks: list[Parts]) -> Parts | None:
    of_lungs = [parts for parts in masks if not any(NOT_OF_LUNGS.search(part) for part in parts[:-1])]
    return of_lungs[0] if of_lungs else None


def _choose_spellings(names: Iterable[str]) -> dict[str, str]:
    """Maps each name in lower case to one spelling of it: `train/NORMAL` and `test/Normal` are one class."""
    return {name.lower(): join((name,)) for name in sorted(set(names), reverse=True)}


def _describe(images: list[Parts], depth: int, has_splits: bool) -> str:
    in_images = all(len(parts) > depth + 2 and parts[depth + 1].lower() == "images" for parts in images)
    if has_splits:
        return "split folders: <split>/<class>/images" if in_images else "split folders: <split>/<class>"
    return "COVID-19 Radiography Database: <class>/images" if in_images else "flat: <class>"
