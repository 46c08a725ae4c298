"""An environment of its own with `onnxruntime-openvino`, which can't stand beside `onnxruntime`."""

import subprocess
import sys
from pathlib import Path

NEEDED = ("onnxruntime-openvino", "numpy", "pillow", "tqdm", "onnx", "pyarrow", "fsspec", "filelock")


def make_environment(folder: Path) -> Path:
    """Makes it in a folder, from the package registry, and returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *NEEDED], check=True)
    return folder / "bin" / "python"
