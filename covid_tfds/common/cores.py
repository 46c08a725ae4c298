"""What this machine's processor has: cores that this process may use, and instruction sets. No TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
CPU_INFO = Path("/proc/cpuinfo")
THREADS_HELP = "CPU threads to compute with (default: one for each physical core)"
_threads: int | None = None


def limit_threads(threads: int | None) -> None:
    """Makes `count_threads` return `threads` from now on in this process; None for one thread a physical core."""
    global _threads
    _threads = threads


def count_threads() -> int:
    """Returns how many threads to compute with: what --threads says, else the number of physical cores."""
    return _threads or count_cores()


def count_cores() -> int:
    """Returns the number of physical cores this process may use: two hardware threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = (Path(TOPOLOGY.format(thread)) for thread in os.sched_getaffinity(0))
    return len({path.read_text(encoding="ascii") if path.exists() else str(path) for path in siblings})


def read_cpu_flags() -> frozenset[str]:
    """Returns the names of the processor's abilities, such as "avx512_vnni"; empty where the system lists none."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))


def has_bfloat16() -> bool:
    """Returns whether this processor has instructions for bfloat16."""
    return bool(read_cpu_flags() & {"avx512_bf16", "amx_bf16"})
