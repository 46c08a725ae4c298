import io
import sys

from covid_tfds.common import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_plain_lines(capsys):
    with progress.Line(3, "trials", "trial", plain_seconds=0) as line:
        line.advance(note="best 0.9")
        line.note("features 4/40")
        line.advance(2)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("trials: 1/3 trial")
    assert first.endswith("left, best 0.9")
    assert last.startswith("trials: 3/3")


def test_fast_work_does_not_fill_a_log_file(capsys):
    with progress.Line(1000, "features", "image") as line:
        for _ in range(1000):
            line.advance()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_terminal_gets_one_refreshed_line(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.Line(3, "trials", "trial") as line:
        for index in range(3):
            line.advance(note=f"best {index}")
    text = sys.stderr.getvalue()
    assert text.count("\n") == 1
    assert "3/3" in text.split("\r")[-1]
    assert "best 2" in text


def test_what_was_done_before_does_not_speed_up_the_estimate(monkeypatch, capsys):
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Line(20, "trials", "trial", done=10, plain_seconds=0) as line:
        line.advance()
    assert "11/20 trial, 00:10 elapsed, 01:30 left" in capsys.readouterr().err
