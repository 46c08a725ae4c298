"""`python -m export.serve`: the page on this machine alone, with the headers that threads need."""

import http.client
import urllib.parse

import pytest

from export import serve
from tests.fakes import browser


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    for name in ("index.html", "app.js", "model.onnx"):
        (folder / name).write_text(name)
    (folder.parent / "secret.txt").write_text("not for the page")
    with browser.serve(folder) as address:
        yield urllib.parse.urlsplit(address)


def get(address, path):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read().decode()
    connection.close()
    return found


def test_serves_the_page_at_the_root_of_this_machine(address):
    status, headers, body = get(address, "/")
    assert (address.hostname, status, body) == ("127.0.0.1", 200, "index.html")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("model.onnx", "application/octet-stream"),
    ],
)
def test_names_the_types_that_browsers_insist_on(address, name, kind):
    status, headers, body = get(address, f"/{name}")
    assert (status, headers["Content-Type"], body) == (200, kind, name)


@pytest.mark.parametrize("path", ["/none", "/../secret.txt", "/%2e%2e/secret.txt"])
def test_serves_nothing_else(address, path):
    assert get(address, path)[0] == 404


def test_a_folder_without_a_page_is_one_line(tmp_path, capsys):
    assert serve.main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "index.html" in line


@pytest.mark.parametrize("port", [None, 70_000])
def test_a_port_that_can_not_be_had_is_one_line(address, tmp_path, capsys, port):
    (tmp_path / "index.html").touch()
    assert serve.main([str(tmp_path), "--port", str(port or address.port)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--port" in line
