"""Parts for the tests of `run_parts`: picklable, quick, and as faulty as a test wants them."""

import dataclasses
import os
import signal
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Part:
    """Notes each call in a file of `folder`, sleeps, fails, or ends its own process."""

    folder: Path
    number: int
    seconds: float = 0.0
    failures: int = 0  # how many calls raise, or end the process, before one returns
    kills: bool = False

    def __call__(self) -> dict:
        calls = len(list(self.folder.glob(f"{self.number}-*")))
        (self.folder / f"{self.number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(self.seconds)
        if calls < self.failures:
            if self.kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"call {calls} of part {self.number}")
        return {"number": self.number, "pid": os.getpid()}
