"""What DICOM headers state of patients: facts, and a pseudonym in place of the identifier.

A pseudonym is an HMAC of PatientID with a secret of the user's own: the same user's datasets can be compared, and
neither an identifier nor anything that others could compute from one is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from covid_tfds.common.errors import UsageError, describe_error
from covid_tfds.imaging.dicom import DicomHeader
from covid_tfds.layouts.ages import parse_age

# What software writes in place of an identifier, in upper case and letters only.
NOBODY = ("", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "UNKNOWN", "NONE", "NA", "PATIENT")
KEY_BYTES = 32
PSEUDONYM = "dicom-"  # begins each


def describe_header(header: DicomHeader) -> dict[str, str | float]:
    """Returns the facts that a header states, by the names of `examples.FACTS`, "age" and "year"."""
    facts: dict[str, str | float] = {"view": header.view.upper(), "sex": header.sex if header.sex in ("F", "M") else ""}
    if (age := parse_age(header.age)) is not None:
        facts["age"] = age
    if header.study_date[:4].isdigit() and len(header.study_date) == 8:
        facts["year"] = float(header.study_date[:4])
    return {name: value for name, value in facts.items() if value != ""}


def make_pseudonym(patient_id: str) -> str:
    """Returns the pseudonym of a patient, an HMAC with this user's secret; "" for a placeholder such as "ANONYMOUS".

    Raises:
        UsageError: If the secret can't be read or made.
    """
    if "".join(c for c in patient_id.upper() if c.isalpha()) in NOBODY and not any(c.isdigit() for c in patient_id):
        return ""
    return f"{PSEUDONYM}{hmac.new(_read_secret(), patient_id.encode(), hashlib.sha256).hexdigest()[:20]}"


def secret_file() -> Path:
    """Returns where the secret is: covid_tfds/patient_secret in $XDG_CONFIG_HOME or ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "covid_tfds" / "patient_secret"


def _read_secret() -> bytes:
    path = secret_file()
    try:
        with contextlib.suppress(FileNotFoundError):
            return bytes.fromhex(path.read_text(encoding="ascii"))
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        mine.touch(mode=0o600)
        try:
            mine.write_text(secrets.token_hex(KEY_BYTES), encoding="ascii")
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(mine, path)
        finally:
            mine.unlink()
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}, the secret for the pseudonyms of DICOM patients, can't be read or made: "
            f"{describe_error(error)}. Set XDG_CONFIG_HOME to a folder of your own."
        ) from error
