"""The flags of `python -m export` for the page."""

import pytest

from export import __main__, exporting
from export.web.assemble import WebRequest

RUNTIME = {"ort.wasm.min.mjs": b"a runtime"}


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--web_model", "float"], "--web"),
        (["--web_runtime", "somewhere"], "--web"),
        (["--web", "--web_model", "int8"], "--int8"),
        (["--web", "--web_runtime", "nowhere"], "--web_runtime"),
    ],
)
def test_flags_that_do_not_fit_are_one_line_before_any_work(tmp_path, capsys, flags, named):
    assert __main__.main([str(tmp_path / "run"), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line


@pytest.mark.parametrize(
    ("flags", "request_made"),
    [
        ([], None),
        (["--web"], WebRequest(RUNTIME)),
        (["--web", "--int8", "--web_model", "int8"], WebRequest(RUNTIME, "int8")),
        (["--web", "--web_model", "float"], WebRequest(RUNTIME, "float")),
    ],
)
def test_the_exporter_gets_what_the_flags_say(tmp_path, monkeypatch, flags, request_made):
    asked = []
    monkeypatch.setattr(exporting, "export_run", lambda *given: asked.append(given))
    monkeypatch.setattr(__main__, "get_runtime", lambda folder: RUNTIME)
    assert __main__.main([str(tmp_path / "run"), *flags]) == 0
    ((_, _, int8, web, _),) = asked
    assert (int8, web) == ("--int8" in flags, request_made)
