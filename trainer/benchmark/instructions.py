"""What the benchmark ran on: the processor, its instruction sets, and those that oneDNN computed with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from covid_tfds.common.cores import CPU_INFO, count_cores, read_cpu_flags
from trainer.benchmark.bench import Bench

FLAGS = ("avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
CONVOLUTION = re.compile(r"exec,cpu,convolution,([^,]*),[^,]*,src:(\w+)")


@dataclass(frozen=True)
class Machine:
    """The machine of a benchmark.

    Attributes:
        processor: Its name; empty where the system does not say.
        cores: Physical ones.
        flags: Those of `FLAGS` that it has.
        convolutions: Data type -> the implementation, with its instruction set, that oneDNN chose.
    """

    processor: str
    cores: int
    flags: tuple[str, ...]
    convolutions: dict[str, str]

    def describe(self) -> str:
        """Returns a paragraph for the manual."""
        has = ", ".join(self.flags) or "none of " + ", ".join(FLAGS)
        ran = "; ".join(f"{kind}: `{name}`" for kind, name in self.convolutions.items()) or "not named"
        return (
            f"{self.cores} cores, {self.processor or 'a processor without a name'}, /proc/cpuinfo: {has}. Convolutions "
            f"that oneDNN ran: {ran}. ONNX Runtime does not say what it ran."
        )


def identify_machine(bench: Bench) -> Machine:
    """Runs both precisions once with oneDNN's log, and returns what it names."""
    text = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    has = read_cpu_flags()
    return Machine(
        name[1].strip() if name else "",
        count_cores(),
        tuple(flag for flag in FLAGS if flag in has),
        find_convolutions(read_log(bench.folder)),
    )


def read_log(folder: Path) -> str:
    """Returns what oneDNN prints of one batch of forward passes in each precision."""
    command = [sys.executable, "-m", "trainer.benchmark.kernels", "instructions", "--images", "10"]
    environment = {**os.environ, "ONEDNN_VERBOSE": "1", "XDG_CACHE_HOME": str(folder / "instructions")}
    flags = ["--data_dir", str(folder / "instructions")]
    return subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, check=True).stdout


def find_convolutions(log: str) -> dict[str, str]:
    """Returns data type -> implementation of the last convolution of each in oneDNN's log.

    Example:
        >>> find_convolutions("exec,cpu,convolution,brg_conv_fwd:avx512_core,forward_training,src:f32::blocked")
        {'f32': 'brg_conv_fwd:avx512_core'}
    """
    return {kind: name for name, kind in CONVOLUTION.findall(log)}
