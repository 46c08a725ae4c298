"""Errors that a user can mend, and the intended use. Standard library only."""

INTENDED_USE = "For education and research only: never for diagnosis, triage or any decision about a patient."


class UsageError(Exception):
    """The user can mend this: the message says what was expected, what came, and what to do. Exit code 2."""


class SourceError(RuntimeError):
    """Images of the dataset cannot be had; the message says which, why, and what to do next."""
