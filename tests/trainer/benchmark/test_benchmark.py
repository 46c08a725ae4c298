import json

import pytest

from trainer.benchmark import __main__ as benchmark
from trainer.benchmark import processes, table


def test_a_row_shows_the_median_and_the_spread():
    row = table.Row("work", "other", ">= 6", [7.0, 5.0, 9.0], 1234.4)
    assert row.cells() == ("work", "other", ">= 6", "7.00", "5.00 to 9.00", "1234 MiB")


def test_the_table_is_markdown():
    lines = table.markdown([table.Row("work", "other", ">= 6", [7.0])]).splitlines()
    assert lines[0] == "| work | against | goal | ratio | spread | peak memory |"
    assert all(line.count("|") == 7 for line in lines)


def test_growth_is_drawn(tmp_path):
    table.growth_plot(tmp_path / "growth.png", {10: {"features": 1.0}, 20: {"features": 2.1}})
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_a_process_is_measured(tmp_path):
    measured = processes.run("trainer", "--help", cache=tmp_path, log=tmp_path / "log")
    assert 0 < measured.seconds < 60
    assert 5 < measured.mebibytes < 500
    assert "--demo" in measured.output


def test_a_process_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match=r"trainer --epochs 0 ended with exit code 2: .*--epochs must be at least 1"):
        processes.run("trainer", "--epochs", "0", cache=tmp_path, log=tmp_path / "log")


def test_an_existing_output_is_not_touched(tmp_path, capsys):
    output = tmp_path / "benchmark.json"
    output.write_text("kept")
    assert benchmark.main(["--quick", "--output", str(output)]) == 2
    assert output.read_text() == "kept"
    assert "exists" in capsys.readouterr().err


@pytest.mark.slow
def test_the_quick_benchmark_works(tmp_path, capsys):
    output = tmp_path / "benchmark.json"
    assert benchmark.main(["--quick", "--output", str(output)]) == 0
    written = json.loads(output.read_text())
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    works = [row["work"] for row in written["rows"]]
    assert [line.split(" | ")[0].removeprefix("| ") for line in printed[2 : 2 + len(works)]] == works
    assert printed[-1].startswith("| 10 |")
    assert set(written["growth"]["seconds"]) == {"10"}
    assert output.with_suffix(".png").exists()
