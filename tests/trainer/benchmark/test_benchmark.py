import contextlib
import io
import json
import runpy
import signal
import sys
import warnings

import pytest
from matplotlib import pyplot as plt

from covid_tfds.common import cli
from covid_tfds.common.markdown import format_table
from trainer.benchmark import __main__ as benchmark
from trainer.benchmark import growth, instructions, processes, suite, table
from trainer.features import backbone_features
from trainer.models import vgg16


def test_a_row_shows_the_median_and_the_spread():
    row = table.Row("work", "other", ">= 6", ">= 5", [7.0, 5.0, 9.0], 1234.4)
    assert row.cells() == ("work", "other", ">= 6", ">= 5", "7.00", "5.00 to 9.00", "1234 MiB")


def test_a_row_fits_the_header():
    lines = format_table(table.HEADER, [table.Row("work", "other", ">= 6", ">= 5", [7.0]).cells()]).splitlines()
    assert [line.count("|") for line in lines] == [8, 8, 8]


def test_growth_is_drawn_on_log_axes_beside_a_line_of_slope_1():
    figure = growth.draw_growth({20: {"features": 2.1, "predict": 4.2}, 10: {"features": 1.0, "predict": 2.0}})
    (axis,) = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines == {
        "features": [[10, 1.0], [20, 2.1]],
        "predict": [[10, 2.0], [20, 4.2]],
        "linear": [[10, 2.0], [20, 4.0]],
    }
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("images", "seconds")
    plt.close(figure)


def test_growth_is_described_in_megabytes():
    measured = growth.Growth({10: {"predict": 0.94}}, {10: 800.0}, {10: 1000.0, 2000: 1100.0})
    lines = measured.describe().splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == ["", "images", "predict, s", "peak memory", ""]
    assert [cell.strip() for cell in lines[2].split("|")] == ["", "10", "0.9", "800 MiB", ""]
    assert "105 MB" in lines[3]


def test_a_process_is_measured(tmp_path):
    measured = processes.run("trainer", "--help", cache=tmp_path, log=tmp_path / "log")
    assert measured.seconds > 0
    assert 5 < measured.mebibytes < 500
    assert "--demo" in measured.output


def test_a_process_that_fails_is_named_with_its_last_line(tmp_path):
    with pytest.raises(RuntimeError, match=r"trainer --epochs 0 .*exit code 2: .*--epochs"):
        processes.run("trainer", "--epochs", "0", cache=tmp_path, log=tmp_path / "log")


def test_an_existing_output_is_not_touched(tmp_path, capsys):
    output = tmp_path / "benchmark.json"
    output.write_text("kept")
    assert benchmark.main(["--quick", "--output", str(output)]) == 2
    assert output.read_text() == "kept"
    assert "exists" in capsys.readouterr().err


@pytest.fixture
def in_this_process(tiny, monkeypatch):
    """The measured commands run in this process and with a network that costs nothing."""

    def run(module, *arguments, cache, log):
        printed = io.StringIO()
        handlers = {number: signal.getsignal(number) for number in cli.SIGNALS}
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # runpy's: most modules are imported already
            patch.setenv("XDG_CACHE_HOME", str(cache))
            patch.setattr(sys, "argv", [module, *arguments])
            code = None
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                code = end.code
            finally:
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        assert not code, (module, arguments)
        return processes.Measurement(len(calls), 100.0, printed.getvalue())

    calls = []
    monkeypatch.setattr(backbone_features.Backbone, "load", lambda *_, **__: tiny)
    monkeypatch.setattr(vgg16, "convert_precision", lambda network, _: network)
    monkeypatch.setattr(processes, "run", lambda *args, **kwargs: (calls.append(args), run(*args, **kwargs))[1])
    return calls


def test_the_quick_benchmark_measures_every_command(in_this_process, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(instructions, "read_log", lambda _: LOG)
    check_quick(tmp_path / "benchmark.json", capsys)
    assert {module for module, *_ in in_this_process} >= set(suite.COMMANDS)


@pytest.mark.trial
def test_the_quick_benchmark_as_it_is(tmp_path, capsys):
    check_quick(tmp_path / "benchmark.json", capsys)


LOG = """\
onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost and bfloat16 support
onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:cdba::f0,,,64x64x3x3,0.145996
onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core,forward_training,src:f32::blocked:acdb::f0
onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core_bf16,forward_training,src:bf16::blocked:acdb
"""


def test_the_instruction_sets_are_those_of_onednns_log():
    machine = instructions.Machine("A CPU", 2, ("avx512_bf16",), instructions.find_convolutions(LOG))
    assert machine.convolutions == {"f32": "brg_conv_fwd:avx512_core", "bf16": "brg_conv_fwd:avx512_core_bf16"}
    for fact in ("A CPU", "2 cores", "avx512_bf16", "avx512_core_bf16"):
        assert fact in machine.describe()
    assert "amx_bf16" in instructions.Machine("", 2, (), {}).describe()


def check_quick(output, capsys):
    """Run `--quick`, and look at what it prints and writes."""
    assert benchmark.main(["--quick", "--output", str(output)]) == 0
    written = json.loads(output.read_text())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    first_cells = [line.split("|")[1].strip() for line in lines]
    works = [row["work"] for row in written["rows"]]
    assert [cell for cell in first_cells if cell in works] == works
    assert first_cells[-1] == "10"
    assert set(written["growth"]["seconds"]) == {"10"}
    assert output.with_suffix(".png").exists()
