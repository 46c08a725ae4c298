"""The patient that a publisher's file names state. Standard library only."""

from __future__ import annotations

import re

# Kaggle's IM-0115-0001, NORMAL2-IM-0315-0001 and person1_bacteria_2; Mendeley's NORMAL-1049278-0001.
KERMANY = re.compile(r"((?:NORMAL2-)?IM-\d+)-|(person\d+)_|(?:NORMAL|BACTERIA|VIRUS)-(\d+)-")


def kermany_patient(path: str) -> str:
    """Returns the patient of an image of Kermany et al. by its name; empty if the name is not one of theirs.

    Example:
        >>> kermany_patient("train/PNEUMONIA/person12_virus_48.jpeg"), kermany_patient("a.jpeg")
        ('person12', '')
    """
    match = KERMANY.match(path.rpartition("/")[2])
    return next(filter(None, match.groups())) if match else ""
