"""Names of files and classes as text that can be printed and written anywhere. Standard library only."""

from __future__ import annotations

import unicodedata

BROKEN = ("C", "Zl", "Zp")  # Unicode's categories of control characters, surrogates and breaks of a line


def printable(name: str) -> str:
    """Returns a name in which control characters and bytes that are not UTF-8 are written as escapes.

    Args:
        name: As Python gives it: a byte of a file's name that is not UTF-8 is a lone surrogate.

    Example:
        >>> print(printable("f\\udce9vrier\\x1b[31m.png"), printable("señora 1.png"))
        f\\xe9vrier\\x1b[31m.png señora 1.png
    """
    return "".join(_escaped(c) if unicodedata.category(c).startswith(BROKEN) else c for c in name)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # Python's stand-in for one byte
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
