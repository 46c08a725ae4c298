"""Errors that a user can fix, and the intended use. Standard library only."""

INTENDED_USE = "For education and research only: never for diagnosis, triage or any decision about a patient."


class UsageError(Exception):
    """The user can fix this: the message says what was expected, what came, and what to do. Exit code 2."""


class SourceError(UsageError):
    """Images of the dataset can't be had; the message says which, why, and what to do."""
