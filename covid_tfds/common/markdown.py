"""Names and notes that others chose, made harmless in Markdown. Never TensorFlow."""

from __future__ import annotations

import re

SPECIAL = re.compile(r"[\\`*\[\]|]")


def escaped(value):
    """A JSON value with every text in it made harmless, in a table, too: no HTML, no markup, one line."""
    if isinstance(value, dict):
        return {escaped(key): escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if not isinstance(value, str):
        return value
    one_line = " ".join(value.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return SPECIAL.sub(r"\\\g<0>", one_line)
