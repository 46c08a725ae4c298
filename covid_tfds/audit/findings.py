"""The result of a check, and how severe it is."""

from dataclasses import dataclass, field

INVALIDATING = "invalidating"  # no score on this split means what it says
WARNING = "warning"  # a score needs a caveat, or the images need care
NOTE = "note"
SEVERITIES = (INVALIDATING, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        severity: One of SEVERITIES.
        check: What was checked, in a few words.
        message: The result and why it matters, in a sentence or two.
        items: The images, patients or facts concerned, all with the same keys.
    """

    severity: str
    check: str
    message: str
    items: list[dict] = field(default_factory=list)
