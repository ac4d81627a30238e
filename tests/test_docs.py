"""What the documentation says is true: its examples run, its links lead somewhere, its commands and tables are real.

The pages that describe one interface each have a file of their own in `docs/`, beside this one.
"""

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.cli.app import VERBS, cli
from tekton.core.lifecycle import VALID_TRANSITIONS
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.config_schema import FILE_TYPES, SETTINGS
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_http import HttpClient

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "python" / "tekton"
README = ROOT / "README.md"
PAGES = sorted(page for where in ("", "docs/**/", "examples/**/") for page in ROOT.glob(f"{where}*.md"))
RUN_ELSEWHERE = {"sh", "console", "crontab"}
"""The blocks of these languages are typed in e2e/test_documented_pages.py."""
MADE = {"py"}
"""Signatures, made from the code: tests/docs/test_python_reference.py."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in _FENCE.findall(page.read_text()) if found == language]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def each_block(language: str) -> pytest.MarkDecorator:
    found = [
        pytest.param(text, id=f"{page_id(page)}:{number}")
        for page in PAGES
        for number, text in enumerate(blocks(page, language), 1)
    ]
    return pytest.mark.parametrize("text", found)


# Examples


@each_block("python")
def test_a_python_block_runs(text: str, tmp_path: Path) -> None:
    program = tmp_path / "example.py"
    program.write_text(text)
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='example')"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEKTON_")}

    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, program],
        cwd=tmp_path,
        env={**kept, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")


@each_block("json")
def test_a_json_block_is_json_and_loads_when_it_is_a_configuration_file(text: str, tmp_path: Path) -> None:
    document = json.loads(text)
    (tmp_path / "components.json").write_text('{"components": {}}')
    for kind in FILE_TYPES:
        if set(document) == {kind}:
            (tmp_path / f"{kind}.json").write_text(text)
    environ = {name: secrets.token_urlsafe() for name in re.findall(r"\$\{([A-Z_]+)\}", text) if name != "PORT"}

    config = TektonConfig.load(tmp_path, environ={**environ, "HOME": str(tmp_path)}, cwd=tmp_path)

    if set(document) == {"components"}:
        assert set(config.components) == set(document["components"])


@each_page
def test_the_language_of_a_block_is_one_that_is_checked(page: Path) -> None:
    languages = set(re.findall(r"^[ \t]*```([\w-]+)", page.read_text(), re.MULTILINE))

    assert languages <= {"python", "json", "text"} | MADE | RUN_ELSEWHERE


@pytest.mark.parametrize("page", [README, DOCS / "reference" / "configuration.md"], ids=page_id)
def test_the_json_of_a_page_about_configuration_is_configuration(page: Path) -> None:
    keys = [set(json.loads(text)) for text in blocks(page, "json")]
    files = [{field.encode_name for field in msgspec.structs.fields(kind)} for kind in FILE_TYPES.values()]

    assert keys
    assert all(names and any(names <= known for known in files) for names in keys)


async def test_the_component_of_the_readme_answers_and_is_registered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    source = next(text for text in blocks(README, "python") if "tekton.Component" in text)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, "README.md", "exec"), names)

    async with InMemoryControlPlane() as plane:
        monkeypatch.setenv("TEKTON_URL", plane.address.url)
        async with names["app"] as component, HttpClient(component.endpoint) as client:
            answer = await client.request("POST", "/api/tools/translate", {"text": "hello"})
            record = await plane.registry.wait_until("polyglot", lambda known: known is not None and known.usable)
            calls: dict[str, Any] = {"__name__": "example"}
            exec(
                compile(next(text for text in blocks(README, "python") if "call_api" in text), "README.md", "exec"),
                calls,
            )
            await calls["main"]()

    assert answer == {"result": "hallo"}
    assert record is not None
    assert record.capabilities == ("translate",)
    assert capsys.readouterr().out == "['polyglot']\n{'result': 'hallo'}\n"


# Links, commands, files


def anchors(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


OURS = re.compile(r"https://(?:raw\.githubusercontent|github)\.com/tekton-core/tekton/(?:(?:blob|tree)/)?main/")
"""How the README, which others show as well, begins a link into this repository."""


@each_page
def test_a_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for written in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        link, absolute = OURS.subn("", written)
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT if absolute else page.parent) / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", sorted(DOCS.glob("**/*.md")), ids=page_id)
def test_a_page_is_in_the_index(page: Path) -> None:
    index = DOCS / "README.md"

    assert page == index or f"({page.relative_to(DOCS)})" in index.read_text()


@each_page
def test_a_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    for command in [*blocks(page, "sh"), *in_backticks(prose(page))]:
        assert set(re.findall(r"\bmake ([a-z][a-z-]*)", command)) <= targets, command


@each_page
def test_a_tekton_command_that_is_named_can_be_given(page: Path) -> None:
    for line in in_backticks(prose(page)):
        if not line.startswith("tekton "):
            continue
        verb, *arguments = shlex.split(line, comments=True)[1:]
        assert verb in VERBS, line
        context = cli.make_context("tekton", [verb])
        command = cli.get_command(context, verb)
        assert command is not None
        if arguments:
            command.make_context(verb, arguments, parent=context)


@each_page
def test_a_file_that_is_named_exists(page: Path) -> None:
    folders = (ROOT / "python", ROOT / "tests", ROOT / "benches", ROOT / "examples", DOCS)
    known = [*ROOT.glob("*.md"), *(path for folder in folders for path in folder.rglob("*.*"))]
    named = [text for text in in_backticks(prose(page)) if re.fullmatch(r"[a-z_/]*[a-z_]\.(?:py|pyi|md)", text)]

    for text in named:
        assert any(f"/{path.relative_to(ROOT)}".endswith(f"/{text}") for path in known), text


@cache
def names_of_tests() -> set[str]:
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"\bdef (test_\w+)", path.read_text())
    }


@each_page
def test_a_test_that_is_named_exists(page: Path) -> None:
    assert {text for text in in_backticks(prose(page)) if re.fullmatch(r"test_\w+", text)} <= names_of_tests()


# What stands in the code as well


def test_the_lifecycle_table_is_the_one_in_the_code() -> None:
    page = (DOCS / "concepts" / "lifecycle.md").read_text()
    table = re.findall(r"^\| ([a-z]+) \| ([a-z, ]+) \|", page, re.MULTILINE)

    assert table == [
        (state.value, ", ".join(target.value for target in targets)) for state, targets in VALID_TRANSITIONS.items()
    ]


def test_settings_that_nothing_reads_are_listed_as_such() -> None:
    readers = [path for path in PACKAGE.rglob("*.py") if not path.name.startswith(("config_", "tekton_config"))]
    source = "\n".join(path.read_text() for path in readers)
    unread = {setting.name for setting in SETTINGS if not re.search(rf"config\.{setting.attribute}\b", source)}

    page = (DOCS / "reference" / "configuration.md").read_text()
    told = re.search(r"does not act on them yet: ([^;]*?)\. ", page)
    assert set(in_backticks(told[1]) if told else ()) == unread
