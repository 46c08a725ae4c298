"""What the trials of faults share: training that costs nothing, small disks, disks that can't be written."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def train_tiny(tiny, phantom_folder, monkeypatch, tmp_path):
    """`python -m trainer` in process with that network, on 20 images of a folder: argv -> exit code, in seconds."""
    from trainer import __main__
    from trainer.features import backbone_features

    monkeypatch.setattr(backbone_features.Backbone, "load", lambda *_: tiny)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def train(output: Path, *flags: str) -> int:
        common = ["--dataset", str(phantom_folder), "--weights", "random", "--epochs", "2"]
        return __main__.main([*common, *flags, "--output", str(output)])

    return train


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a real file system of so many bytes and gives its folder; unmounted at the end."""
    with contextlib.ExitStack() as mounted:

        def mount(size: int) -> Path:
            folder = tmp_path / f"disk of {size}"
            folder.mkdir()
            _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
            mounted.callback(_unmount, folder)
            return folder

        yield mount


@pytest.fixture
def read_only(tmp_path):
    """Makes a folder one that nobody can write to, not even root."""
    with contextlib.ExitStack() as mounted:

        def make(folder: Path) -> Path:
            _mount("--bind", str(folder), str(folder))
            mounted.callback(_unmount, folder)
            _mount("-o", "remount,bind,ro", str(folder))
            return folder

        yield make


def _mount(*arguments: str) -> None:
    if os.name != "posix" or os.geteuid():
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
