"""What an audit finds, and how bad it is."""

from dataclasses import dataclass, field

INVALIDATING = "invalidating"  # no score on this split means what it says
WARNING = "warning"  # a score needs a caveat, or the images need care
NOTE = "note"
SEVERITIES = (INVALIDATING, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        severity: one of SEVERITIES.
        check: what was looked for, in a few words.
        message: what was found and why it matters, in a sentence or two.
        items: the images, patients or facts concerned, all with the same keys.
    """

    severity: str
    check: str
    message: str
    items: list[dict] = field(default_factory=list)
