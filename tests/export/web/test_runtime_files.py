"""ONNX Runtime Web is the pinned version, or there is one line that says what to do."""

import hashlib
import io
import tarfile

import pytest

from covid_tfds.common.errors import UsageError
from export.web import runtime_files


@pytest.fixture
def pinned(monkeypatch):
    """Small files in place of the real ones; gives their contents."""
    contents = {name: name.encode() for name in runtime_files.FILES}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(runtime_files, "FILES", hashes)
    return contents


@pytest.fixture
def unpacked(pinned, tmp_path):
    folder = tmp_path / "package"
    (folder / "dist").mkdir(parents=True)
    for name, content in pinned.items():
        (folder / "dist" / name).write_bytes(content)
    return folder


@pytest.fixture
def npm(monkeypatch, tmp_path):
    """Makes an `npm` that runs a shell script."""

    def make(script):
        program = tmp_path / "bin" / "npm"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return make


def pack(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_takes_an_unpacked_copy(pinned, unpacked):
    assert runtime_files.get_runtime(unpacked) == pinned


def test_refuses_another_version(unpacked):
    (unpacked / "dist" / "ort.wasm.min.mjs").write_bytes(b"another")
    with pytest.raises(UsageError, match=r"ort\.wasm\.min\.mjs"):
        runtime_files.get_runtime(unpacked)


def test_refuses_a_folder_of_something_else(tmp_path):
    with pytest.raises(UsageError, match=f"--web_runtime {tmp_path}"):
        runtime_files.get_runtime(tmp_path)


def test_takes_what_npm_packs(pinned, npm, tmp_path, monkeypatch):
    package = tmp_path / "made.tgz"
    package.write_bytes(pack(pinned))
    npm(f'for folder; do :; done; cp {package} "$folder/onnxruntime-web.tgz"')
    with pytest.raises(UsageError, match="sha512-"):
        runtime_files.get_runtime(None)
    digest = runtime_files.compute_integrity(package.read_bytes())
    monkeypatch.setattr(runtime_files, "INTEGRITY", digest)
    assert runtime_files.get_runtime(None) == pinned


def test_without_npm_it_says_how_to_do_without(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--web_runtime DIR"):
        runtime_files.get_runtime(None)


def test_without_a_network_it_says_so_in_one_line(npm):
    npm("echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(UsageError, match="ENOTFOUND") as raised:
        runtime_files.get_runtime(None)
    assert "\n" not in str(raised.value)
