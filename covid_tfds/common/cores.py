"""Count the cores that this process may use. No TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def count_cores() -> int:
    """Returns the number of physical cores this process may use: two hardware threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = (Path(TOPOLOGY.format(thread)) for thread in os.sched_getaffinity(0))
    return len({path.read_text(encoding="ascii") if path.exists() else str(path) for path in siblings})
