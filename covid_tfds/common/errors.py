"""Errors that a user can fix, and the intended use. Standard library only."""

INTENDED_USE = "For education and research only: never for diagnosis, triage or any decision about a patient."


class UsageError(Exception):
    """An error that the user can fix: the message says what was expected, what came, and what to do. Exit code 2."""


class SourceError(UsageError):
    """Images of the dataset can't be read or fetched; the message says which, why, and what to do."""


def describe_error(error: BaseException) -> str:
    """Returns what an error says, in one line: the system's words for an OSError, its type where it says nothing.

    Example:
        >>> describe_error(FileNotFoundError(2, "No such file or directory", "image.png"))
        'No such file or directory'
        >>> describe_error(ValueError())
        'ValueError'
    """
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
