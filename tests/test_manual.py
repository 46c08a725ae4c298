"""Every command, file and import that the README and the manuals name is there, with the flags that they give it."""

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("covid_tfds", "trainer", "export")
MANUALS = [ROOT / package / f"{name}.md" for package in PACKAGES for name in ("README", "MANUAL")]
DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *MANUALS) if path.exists()]
SHELLS = {"bash", "sh", "shell", "console"}
# Other people's programs and the shell's own words: their flags are not checked.
OTHERS = {
    "cd",
    "dask",
    "docker",
    "export",
    "git",
    "jupyter",
    "pip",
    "pre-commit",
    "ruff",
    "mypy",
    "sha256sum",
    "source",
    "tensorboard",
}


def fenced(document: Path, languages: set[str]) -> list[str]:
    """The fenced blocks of some languages."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```(\w+)[^\n]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in blocks if language in languages]


def commands_in(text: str) -> list[list[str]]:
    """The commands of a shell text as lists of words: continued lines joined; no comments, prompts or assignments."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line.strip().removeprefix("$ "), posix=True, punctuation_chars="&|;")
        words.whitespace_split = True
        found.append([])
        for word in words:
            if set(word) <= set("&|;"):
                found.append([])
            elif found[-1] or not re.fullmatch(r"\w+=.*", word):
                found[-1].append(word)
    return [words for words in found if words]


COMMANDS = [
    pytest.param(words, id=f"{document.relative_to(ROOT)}: {' '.join(words)}")
    for document in DOCUMENTS
    for block in fenced(document, SHELLS)
    for words in commands_in(block)
]


class Parsed(BaseException):
    """A command has parsed its arguments; it goes no further."""


def parse(monkeypatch, module: str, argv: list[str]) -> list[str]:
    """Parse argv with the parser of `python -m module`, and return what it leaves over; SystemExit on what is wrong."""
    real = argparse.ArgumentParser.parse_known_args

    def parse_and_stop(self, args=None, namespace=None):
        raise Parsed(real(self, args, namespace)[1])

    is_package = importlib.util.find_spec(module).submodule_search_locations is not None
    main = importlib.import_module(f"{module}.__main__" if is_package else module).main
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_and_stop)  # which parse_args calls
        with pytest.raises(Parsed) as parsed:
            main(argv)
    return parsed.value.args[0]


def is_ours(words: list[str]) -> bool:
    return words[:2] == ["python", "-m"] and words[2].split(".")[0] in PACKAGES


def test_the_documents_name_every_command_of_ours():
    named = {words[2] for (words,) in (case.values for case in COMMANDS) if is_ours(words)}
    mains = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("*/**/__main__.py")}
    assert {name for name in mains if name.startswith(PACKAGES)} - named == set()


@pytest.mark.parametrize("words", COMMANDS)
def test_a_documented_command_is_there_with_its_flags(words, monkeypatch):
    program = Path(words[0]).name
    if is_ours(words):
        assert parse(monkeypatch, words[2], words[3:]) == []
    elif program == "tfds":
        from tensorflow_datasets.scripts.cli.main import _parse_flags

        _parse_flags(words)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert [word for word in words[3:] if ".py" in word and not (ROOT / word.split("::")[0]).is_file()] == []
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    elif program == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert program in OTHERS or (ROOT / words[0]).is_file()


def test_the_parser_that_stops_early_refuses_a_wrong_flag(monkeypatch):
    """Else the test above could not fail."""
    assert parse(monkeypatch, "trainer", ["--demo", "--no_such_flag"]) == ["--no_such_flag"]
    with pytest.raises(SystemExit):
        parse(monkeypatch, "trainer", ["--config", "no_such_config"])


def test_commands_are_found_in_continued_and_commented_lines():
    text = "$ A=1 python -m trainer --demo \\\n  --seed 1  # why\n# only a comment\ncd x && ls | wc\n"
    assert commands_in(text) == [["python", "-m", "trainer", "--demo", "--seed", "1"], ["cd", "x"], ["ls"], ["wc"]]


@pytest.mark.parametrize("words", [case for case in COMMANDS if is_ours(case.values[0])])
def test_a_documented_flag_is_used_by_a_test(words, monkeypatch):
    """With other values and on less data, but no flag of a manual is one that nobody ever gave."""
    flags = {word.split("=")[0] for word in words[3:] if word.startswith("--")}
    flags -= set(parse(monkeypatch, words[2], words[3:]))
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    tests = "".join(path.read_text(encoding="utf-8") for path in files)
    assert {flag for flag in flags if not re.search(rf"{flag}\b|\b{flag.removeprefix('--')}=", tests)} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_file_names_lead_to_files(document):
    text = document.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    assert [link for link in links if not (document.parent / link).exists()] == []
    named = re.findall(r"`((?:covid_tfds|trainer|export|tests|\.ci|\.github)/[\w./]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def anchors(text: str) -> set[str]:
    """What a link can lead to: the headings outside of fenced blocks, as GitHub turns them into anchors."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_to_a_heading_finds_it(document):
    text = document.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", text):
        assert anchor in anchors((document.parent / link).read_text(encoding="utf-8") if link else text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_the_documents_imports_what_there_is(document):
    for block in fenced(document, {"python", "py"}):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES:
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    assert importlib.util.find_spec(alias.name)
