"""Running a command: exit codes, one-line errors, signals."""

import os
import signal
import subprocess
import sys
import zipfile
from argparse import ArgumentParser

import pytest

from covid_tfds.common import cli, logs
from covid_tfds.common.errors import SourceError, UsageError
from trainer.run_folder import keras_file

FRAGILE = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt as stop:  # as pybind11 answers to whatever comes out of an extension's start
    raise ImportError("initialization failed") from stop
"""


def raise_error(error):
    raise error


def run(work, parse=lambda argv: argv):
    return cli.run_command(["options"], parse, work, lambda options: f"stopped with {options}")


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_the_exit_code_is_what_the_work_returns(returned, code, capsys):
    assert run(lambda options: returned) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [UsageError("no folder"), SourceError("no folder"), OSError("no folder")])
def test_an_error_of_the_user_is_one_line_and_exit_code_2(error, capsys):
    assert run(lambda options: raise_error(error)) == 2
    assert run(print, parse=lambda argv: raise_error(error)) == 2
    assert capsys.readouterr() == ("", "error: no folder\n" * 2)


def test_an_error_of_the_system_names_the_file_first(capsys):
    assert run(lambda options: raise_error(PermissionError(13, "Permission denied", "model.keras"))) == 2
    assert capsys.readouterr().err == "error: model.keras: Permission denied\n"


def test_control_characters_and_bytes_of_names_are_escaped(capsys):
    def fail(_):
        raise UsageError("f\x1b[31m\n\udce9.png is damaged")

    assert cli.run_command([], lambda argv: argv, fail, str) == 2
    assert capsys.readouterr().err == "error: f\\x1b[31m\\n\\xe9.png is damaged\n"


def test_an_error_of_our_own_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(lambda options: 1 / 0)


def test_argparse_keeps_its_own_exit_code(capsys):
    with pytest.raises(SystemExit) as end:
        cli.run_command(["--typo"], ArgumentParser().parse_args, print, str)
    assert end.value.code == 2
    assert "--typo" in capsys.readouterr().err


@pytest.mark.parametrize("number", cli.SIGNALS)
def test_a_signal_ends_the_work_with_the_stopped_message(number, capsys):
    own = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, own)  # the tests themselves may run under `nohup`, or in the background
    try:
        assert run(lambda options: signal.raise_signal(number)) == 128 + number
        assert capsys.readouterr().err == "\nstopped with ['options']\n"
        assert signal.getsignal(number) == own
    finally:
        signal.signal(number, before)


def test_an_interrupt_with_a_message_prints_that_one(capsys):
    assert run(lambda options: raise_error(KeyboardInterrupt("after 3 trials"))) == 130
    assert run(lambda options: raise_error(cli.Terminated("after 4 trials"))) == 143
    assert capsys.readouterr().err == "\nafter 3 trials\n\nafter 4 trials\n"


def test_an_interrupt_while_argv_is_parsed_needs_no_options(capsys):
    assert run(print, parse=lambda argv: raise_error(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize("number", cli.SIGNALS[1:])
def test_a_signal_handler_of_the_process_stays(number):
    """As `nohup` sets one."""
    came = []
    before = signal.signal(number, lambda it, _: came.append(it))
    try:
        assert run(lambda options: signal.raise_signal(number)) == 0
    finally:
        signal.signal(number, before)
    assert came == [number]


PRINTER = """
from covid_tfds.common import cli
def work(options):
    for _ in range(1_000_000):
        print("line")
raise SystemExit(cli.run_command([], list, work, str))
"""


def test_a_closed_pipe_is_quiet():
    command = [sys.executable, "-c", PRINTER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


ONE_LINE = """
import sys
from covid_tfds.common import cli
raise SystemExit(cli.run_command([], list, lambda options: print(*sys.argv[1:]), str))
"""


def test_a_closed_pipe_is_quiet_where_only_the_last_flush_meets_it():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", ONE_LINE, "line"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_that_knows_ascii_alone_gets_escapes():
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", ONE_LINE, "señora"], env=env, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"se\\xf1ora\n", b"")


CLOSED = """
import sys
from pathlib import Path
from covid_tfds.common import cli
def work(options):
    print("lost", file=sys.stderr)
    with Path(sys.argv[1]).open("wb") as file:
        assert file.fileno() > 2
        raise OSError("also lost")
raise SystemExit(cli.run_command([], list, work, str))
"""


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", ">&- 2>&-"])
def test_closed_standard_streams_stop_nothing(tmp_path, closed):
    words = [sys.executable, "-c", CLOSED, str(tmp_path / "file")]
    assert subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words], capture_output=True).returncode == 2
    assert (tmp_path / "file").read_bytes() == b""


def test_a_missing_package_is_one_line(capsys):
    def work(options):
        import no_such_package.inside  # noqa: F401

    assert run(work) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run(lambda options: raise_error(ModuleNotFoundError(name="tf2onnx"))) == 2
    assert "tf2onnx" in capsys.readouterr().err
    with pytest.raises(ModuleNotFoundError):
        run(lambda options: raise_error(ModuleNotFoundError(name="export.nothing")))


def test_a_wrong_flag_is_one_line(capsys):
    parser = cli.Parser(prog="python -m test")
    parser.add_argument("--config", choices=("a", "b"))
    for argv in (["--config", "c"], ["--conf", "a"], ["x"], ["\x1b[31m\n\udce9"]):
        with pytest.raises(SystemExit) as end:
            cli.run_command(argv, parser.parse_args, print, str)
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert line.isprintable()
        assert "python -m test --help" in line


@pytest.fixture
def fragile(tmp_path, monkeypatch):
    """The name of a module that takes Ctrl-C, in the midst of its import, for its own failure."""
    (tmp_path / "fragile_extension.py").write_text(FRAGILE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "fragile_extension"
    sys.modules.pop("fragile_extension", None)


def test_ctrl_c_in_an_import_comes_after_it(fragile):
    with pytest.raises(ImportError):
        __import__(fragile)
    with pytest.raises(KeyboardInterrupt), logs.silenced():
        __import__(fragile)
    assert fragile in sys.modules


def test_ctrl_c_while_a_model_is_read_is_not_a_fault_of_the_file(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as stop:
            raise TypeError("could not be deserialized properly") from stop

    monkeypatch.setattr("keras.models.load_model", interrupted)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(KeyboardInterrupt):
        keras_file.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("number", cli.SIGNALS)
def test_held_back_until_the_block_has_ended(number):
    came, reached = [], []
    before = signal.signal(number, lambda it, _: came.append((it, list(reached))))
    try:
        with cli.held():
            signal.raise_signal(number)
            reached.append("the end")
        assert came == [(number, ["the end"])]
        signal.raise_signal(number)
        assert len(came) == 2
    finally:
        signal.signal(number, before)
