"""Get the files of ONNX Runtime Web, which are not part of the project, and verify them."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from covid_tfds.common.errors import UsageError, describe_error

PACKAGE = "onnxruntime-web@1.30.0"
# The package as a whole, in the form that npm gives it in.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# SHA-256 of what the page needs of it. The build without WebGL and WebGPU: its WebAssembly file has half the size.
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SECONDS = 300  # for some 33 MB


def get_runtime(folder: Path | None) -> dict[str, bytes]:
    """Returns the files of ONNX Runtime Web by name.

    Args:
        folder: An unpacked copy of the package; None to fetch it with npm.

    Raises:
        UsageError: If it is not there, can't be fetched, or is not the pinned version.
    """
    if folder is not None:
        files = _read_folder(folder)
        source = f"--web_runtime {folder}"
    else:
        files = _unpack(_fetch())
        source = PACKAGE
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            raise UsageError(f"{source}: {name} is not that of {PACKAGE}, which this version of the project needs.")
    return files


def _read_folder(folder: Path) -> dict[str, bytes]:
    try:
        return {name: (folder / "dist" / name).read_bytes() for name in FILES}
    except OSError as error:
        raise UsageError(
            f"--web_runtime {folder}: expected an unpacked copy of {PACKAGE}, got: {error.filename}: "
            f"{describe_error(error)}."
        ) from error


def _fetch() -> bytes:
    """Returns the package as npm downloads it."""
    advice = f"Without npm or a network, give an unpacked copy of {PACKAGE} with --web_runtime DIR."
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", PACKAGE, "--ignore-scripts", "--fetch-retries=1", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
        except FileNotFoundError as error:
            raise UsageError(f"--web needs npm, which is not installed. {advice}") from error
        except subprocess.TimeoutExpired as error:
            raise UsageError(f"--web: npm did not fetch {PACKAGE} within {SECONDS} seconds. {advice}") from error
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or len(packed) != 1:
            reason = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "no reason given")
            raise UsageError(f"--web: npm can't fetch {PACKAGE}: {reason.strip()}. {advice}")
        package = packed[0].read_bytes()
    if (found := compute_integrity(package)) != INTEGRITY:
        raise UsageError(f"--web: npm gave another file for {PACKAGE}: expected {INTEGRITY}, got {found}.")
    return package


def compute_integrity(package: bytes) -> str:
    """Returns the hash of a package in npm's form."""
    return f"sha512-{base64.b64encode(hashlib.sha512(package).digest()).decode()}"


def _unpack(package: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
        return {name: member.read() for name, member in members.items() if member}
