"""SIGKILL at any moment: the same command run again ends as if nothing had been, and no final name holds half a file.

python -m pytest tests/faults/test_kills.py -m trial -s      # 20 kills for each command: about an hour on 2 cores
"""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import commands
from tests.faults.commands import COMMANDS

KILLS = 20


def undisturbed(command, out: Path, needs: Path, cache: Path):
    """(outcome, seconds until it began to write its result, seconds in all)."""
    out.mkdir()
    began = time.monotonic()
    process = commands.start(command.argv(out, needs), XDG_CACHE_HOME=str(cache))
    commands.run_until(process, lambda: any(out.glob(command.writing)))
    writing = time.monotonic() - began
    commands.check(process)
    return command.outcome(out / command.final), writing, time.monotonic() - began


def whole(path: Path) -> bool:
    """Whether what stands under a final name is complete, as far as it can say so itself."""
    if not (path / "SHA256SUMS").exists():
        return True
    return subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=path).returncode == 0


def trial(command, out: Path, needs: Path, cache: Path, moment: float, wanted) -> str:
    """Kill once, run again, compare; gives what went wrong, or nothing."""
    out.mkdir()
    argv, final = command.argv(out, needs), out / command.final
    process = commands.start(argv, XDG_CACHE_HOME=str(cache))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=moment)
    commands.kill(process)
    if final.exists():
        if not whole(final) or command.outcome(final) != wanted:
            return "half a result under the final name"
        return ""
    again = commands.start(argv, XDG_CACHE_HOME=str(cache))
    printed = again.communicate(timeout=900)[0]
    if again.returncode:
        return f"exit code {again.returncode}: {printed[-500:]}"
    if not whole(final):
        return "checksums"
    return "" if command.outcome(final) == wanted else "another result"


@pytest.mark.trial
@pytest.mark.parametrize("name", COMMANDS)
def test_twenty_kills(name, tmp_path):
    command, needs = COMMANDS[name], tmp_path / "needs"
    needs.mkdir()
    commands.make_needs(needs, name)
    wanted, writing, seconds = undisturbed(command, tmp_path / "undisturbed", needs, tmp_path / "cache")
    draw = random.Random(42)
    # Half of them spread over the whole command, half over the part in which it writes.
    moments = [seconds * (i + draw.random()) / (KILLS // 2) for i in range(KILLS // 2)]
    moments += [writing + (seconds - writing) * (i + draw.random()) / (KILLS // 2) for i in range(KILLS // 2)]
    failed = {}
    for number, moment in enumerate(moments):
        out = tmp_path / f"trial-{number}"
        wrong = trial(command, out, needs, tmp_path / f"cache-{number}", moment, wanted)
        print(f"{name}: killed at {moment:.1f} of {seconds:.1f} s: {wrong or 'survived'}", flush=True)
        if wrong:
            failed[moment] = wrong
    print(f"{name}: {KILLS} trials, {KILLS - len(failed)} survived, {len(failed)} failed")
    assert not failed


WRITER = """
import sys
from pathlib import Path
from covid_tfds.common import files, new_folder
with new_folder.new_folder(Path(sys.argv[1])) as folder:
    new_folder.clear(folder)
    print("begun", flush=True)
    for number in range(40):
        files.write_text(folder / f"{number}.txt", str(number) * 20_000)
"""


def test_a_run_folder_is_whole_or_not_there_whenever_its_writer_is_killed(tmp_path):
    """The one mechanism that runs and exports are written with."""
    draw, caught = random.Random(42), 0
    for number in range(12):
        out = tmp_path / f"run {number}"
        argv = [sys.executable, "-c", WRITER, str(out)]
        process = commands.start(argv)
        assert process.stdout.readline() == "begun\n"
        time.sleep(draw.random() * 0.15)
        commands.kill(process)
        caught += not out.exists()
        if not out.exists():
            commands.check(commands.start(argv))
        assert whole(out)
        names = {path.name for path in out.iterdir()} - {".lock"}
        assert names == {"SHA256SUMS", *(f"{index}.txt" for index in range(40))}
    assert caught  # else it was always too late to disturb


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.trial)])
def test_stopped_by_a_signal_it_says_how_to_go_on(tmp_path, number):
    """A real training, stopped as soon as it is under way: one line, the shell's exit code, a folder to go on from."""
    argv = COMMANDS["tutorial"].argv(tmp_path, tmp_path)
    process = commands.start(argv, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert commands.run_until(process, (tmp_path / "run.incomplete" / "config.json").exists)
    printed = commands.kill(process, number)
    assert process.returncode == 128 + number, printed
    assert "Traceback" not in printed
    last = printed.splitlines()[-1]
    assert "python -m trainer " in last
    assert "--recipe tutorial" in last
    assert f"--output {tmp_path / 'run'}" in last
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.incomplete").is_dir()
