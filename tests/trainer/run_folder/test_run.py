import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from covid_tfds.common.errors import UsageError
from covid_tfds.common.files import (
    CHECKSUMS,
    atomic,
    read_json,
    read_sealed,
    write_checksums,
    write_json,
    write_sealed,
    write_text,
)
from covid_tfds.common.new_folder import LOCK, clear, new_folder, staging
from tests.fakes import run_files
from trainer.config import Config
from trainer.run_folder import file_names
from trainer.run_folder.run import default_output, load


def test_a_run_takes_its_name_when_it_is_complete(tmp_path):
    with new_folder(tmp_path / "run") as folder:
        write_text(folder / "a.txt", "a")
        assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["SHA256SUMS", "a.txt"]
    assert not folder.exists()


def test_what_a_stopped_try_left_is_cleared_but_for_what_is_kept(tmp_path):
    (tmp_path / "golden").mkdir()
    for name in ("golden/old.png", "model.onnx", "epochs.npz", LOCK):
        (tmp_path / name).touch()
    clear(tmp_path, ["epochs.npz"])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [LOCK, "epochs.npz"]


def test_a_failed_run_leaves_no_final_name(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "run"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_failed_run_wrote_stays_for_the_next_try(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "run") as folder:
        _write_half(folder / "a.txt")
    with new_folder(tmp_path / "run") as folder:
        assert (folder / "a.txt").read_text() == "half"


def test_an_existing_output_is_not_touched(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").write_text("kept")
    with pytest.raises(UsageError, match="never overwritten"), new_folder(tmp_path / "run"):
        pytest.fail("the block must not be entered")
    assert (tmp_path / "run" / "kept").read_text() == "kept"


def test_an_output_that_is_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"), new_folder(tmp_path / "file" / "run"):
        pytest.fail("the block must not be entered")


def _try_new_run(output, queue):
    try:
        with new_folder(output):
            queue.put("entered")
    except UsageError as error:
        queue.put(str(error))


def test_two_at_once_one_is_told(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    with new_folder(tmp_path / "run"):
        other = context.Process(target=_try_new_run, args=(tmp_path / "run", queue))
        other.start()
        assert "another process is writing" in queue.get(timeout=60)
        other.join()
    assert (tmp_path / "run").is_dir()


def _write_half(path):
    path.write_text("half")
    raise ZeroDivisionError


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "figure.json"
    write_json(path, {"old": 1})
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        _write_half(temporary)
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(UsageError, match=r"metrics\.json is damaged"):
        read_json(tmp_path / "metrics.json")


def test_load_names_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match="no such run folder"):
        load(tmp_path / "none")
    with pytest.raises(UsageError, match=r"config\.json is missing"):
        load(tmp_path)


def test_load_refuses_a_newer_schema(tmp_path):
    for name in file_names.READ:
        (tmp_path / name).write_text("")
    write_text(tmp_path / file_names.CONFIG, Config().to_json())
    write_json(tmp_path / file_names.ENVIRONMENT, {"schema": file_names.SCHEMA + 1})
    write_checksums(tmp_path)
    with pytest.raises(UsageError, match="schema"):
        load(tmp_path)


def stopped(run, **flags):
    """What a stopped run of `python -m trainer` with these flags leaves."""
    partial = staging(run)
    partial.mkdir(parents=True)
    write_text(partial / file_names.CONFIG, Config(**flags).to_json())
    return run


def test_the_same_command_goes_on_with_the_run_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stopped(default_output(Config()).with_name("curated-20200101-000000"), epochs=3)
    run = stopped(default_output(Config()).with_name("curated-20200102-000000"), epochs=4, verbose=True)
    assert default_output(Config(epochs=4)) == run
    assert default_output(Config(epochs=5)).name.startswith("curated-2")
    assert not staging(default_output(Config(epochs=5))).exists()
    with new_folder(run):
        assert default_output(Config(epochs=4)) != run
    assert run.is_dir()
    assert default_output(Config(epochs=4)) != run


@pytest.mark.parametrize("content", ["", "{", "[]", '{"future": 1}'])
def test_a_stopped_run_that_can_not_be_read_is_passed_by(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    run = stopped(Path("runs/curated-20200101-000000"))
    (staging(run) / file_names.CONFIG).write_text(content)
    assert default_output(Config()) != run


def test_sha256sum_agrees_with_the_checksums(tmp_path):
    with new_folder(tmp_path / "run", file_names.REWRITTEN) as folder:
        (folder / "pictures of lungs").mkdir()
        for name in ("metrics.json", "pictures of lungs/größer.jpg", file_names.REPORT):
            (folder / name).write_text(name)
    done = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=tmp_path / "run", capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["metrics.json: OK", "pictures of lungs/größer.jpg: OK"]


def test_what_a_killed_writer_left_is_not_in_the_run(tmp_path):
    with new_folder(tmp_path / "run") as folder:
        (folder / ".metrics.4242.json").write_text("half")
        write_text(folder / "metrics.json", "{}")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"metrics.json", "SHA256SUMS"}


@pytest.mark.parametrize("change", [{"b": 2}, {"a": [1, 2.5000001]}, {"sha256": "0" * 64}, {"sha256": None}])
def test_a_sealed_file_tells_when_it_was_changed(tmp_path, change):
    path = tmp_path / "a.json"
    write_sealed(path, {"a": [1, 2.5], 3: "three"})
    assert read_sealed(path) == {"a": [1, 2.5], "3": "three"}
    write_json(path, read_json(path) | change)
    with pytest.raises(UsageError, match=r"a\.json is damaged or was changed"):
        read_sealed(path)


def test_a_run_that_is_shown_imports_neither_the_report_nor_matplotlib(tmp_path):
    run_files.write(tmp_path / "run")
    (tmp_path / "run" / "plots").mkdir()
    (tmp_path / "run" / "plots" / "roc.svg").write_text("<svg/>")
    show = "import sys, pathlib; from trainer import Run; run = Run(pathlib.Path(sys.argv[1]), None, None, None, None)"
    show += "; run.plot('roc')._repr_html_(), run.heat_maps._repr_html_(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", show, str(tmp_path / "run")], check=True, capture_output=True, text=True, timeout=60
    )
    assert "trainer.run_folder.run" in done.stdout.split()
    assert {name.split(".")[0] for name in done.stdout.split()}.isdisjoint({"matplotlib", "tensorflow", "keras"})
    assert [name for name in done.stdout.split() if name.startswith(("trainer.report", "trainer.training"))] == []
