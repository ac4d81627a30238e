"""The verb tool: what can be called, and calling it."""

import json
from pathlib import Path
from typing import Any

import pytest

GREET: dict[str, Any] = {
    "id": "greeter.greet",
    "component_id": "greeter",
    "name": "greet",
    "description": "Greet\x1b[31m someone.",
    "input_schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "times": {"type": "integer"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "output_schema": {"type": "string"},
    "timeout": 60.0,
    "annotations": {"readOnlyHint": True},
}
OTHER = {**GREET, "id": "shop.place", "component_id": "shop", "name": "place", "output_schema": None, "annotations": {}}


@pytest.fixture
def greeter(plane: Any) -> Any:
    plane.answers["GET /api/tools"] = (200, {"items": [GREET, OTHER], "cursor": None})
    plane.answers["GET /api/tools/greeter.greet"] = (200, GREET)
    said(plane, ("result", {"result": "Hello, Ada."}))
    return plane


def said(plane: Any, *events: tuple[str, Any]) -> None:
    """From now on a call of the tool says that."""
    plane.streams["POST /api/tools/greeter.greet"] = [*events, ("bye", {"reason": "end", "retry": 1.0})]


def test_tools_are_listed_with_what_they_take(tekton: Any, greeter: Any) -> None:
    heading, first, second = tekton("tool", "ls").stdout.splitlines()

    assert heading.split() == ["TOOL", "ARGUMENTS", "DESCRIPTION"]
    assert first == "greeter.greet  name [times]  Greet [31m someone."
    assert second.startswith("shop.place ")


def test_what_is_wanted_is_asked_for(tekton: Any, greeter: Any) -> None:
    result = tekton("tool", "ls", "--component", "greeter", "--query", "some one", "-o", "name")

    assert result.stdout.split() == ["greeter.greet", "shop.place"]
    assert greeter.requests == [("GET", "/api/tools?component=greeter&query=some+one&limit=500")]


def test_all_pages_are_listed(tekton: Any, plane: Any) -> None:
    pages = iter([{"items": [GREET], "cursor": "greeter.greet"}, {"items": [OTHER], "cursor": None}])
    plane.answer = lambda *_: (200, next(pages))

    assert json.loads(tekton("tool", "ls", "-o", "json").stdout)["items"] == [GREET, OTHER]
    assert plane.requests[1] == ("GET", "/api/tools?limit=500&cursor=greeter.greet")


def test_a_tool_is_shown_with_its_schemas(tekton: Any, greeter: Any) -> None:
    lines = tekton("tool", "show", "greeter.greet").stdout.splitlines()

    assert lines[:4] == ["greeter.greet", "Greet [31m someone.", "a call may take 1m", "hints: readOnlyHint true"]
    assert lines[4:7] == ["", "takes", "  {"]
    assert lines[-3:] == ["  {", '    "type": "string"', "  }"]
    assert json.loads(tekton("tool", "show", "greeter.greet", "--json").stdout) == GREET


def test_a_call_prints_the_result_and_nothing_else(tekton: Any, greeter: Any) -> None:
    result = tekton("tool", "call", "greeter.greet", "name=3", "times=2")

    assert (result.stdout, result.stderr) == ('"Hello, Ada."\n', "")
    assert greeter.bodies == [{"name": "3", "times": 2}]


def test_without_words_the_schema_is_not_asked_for(tekton: Any, greeter: Any) -> None:
    tekton("tool", "call", "greeter.greet")

    assert greeter.requests == [("POST", "/api/tools/greeter.greet")]


def test_arguments_come_from_a_file_and_words_win(tekton: Any, greeter: Any, tmp_path: Path) -> None:
    (tmp_path / "arguments.json").write_text('{"name": "Ada", "times": 1}')

    tekton("tool", "call", "greeter.greet", "--json", "arguments.json", "times=2")
    tekton("tool", "call", "greeter.greet", "--json", "-", input='{"name": "Bob"}')

    assert greeter.bodies == [{"name": "Ada", "times": 2}, {"name": "Bob"}]


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
def test_what_is_no_object_is_refused(tekton: Any, greeter: Any, text: str) -> None:
    result = tekton("tool", "call", "greeter.greet", "--json", "-", input=text)

    assert result.exit_code == 2
    assert greeter.bodies == []


def test_what_the_tool_says_goes_to_stderr(tekton: Any, greeter: Any) -> None:
    said(
        greeter,
        ("progress", {"event": "progress", "done": 1.0, "total": 4.0, "text": "compi\x1bling"}),
        ("progress", {"event": "progress", "done": 2.0, "total": 4.0, "text": None}),
        ("log", {"event": "log", "level": "warning", "text": "it is late", "fields": {}}),
        ("chunk", {"event": "chunk", "value": "Hel"}),
        ("result", {"result": {"text": "Hello"}}),
    )

    result = tekton("tool", "call", "greeter.greet")
    quiet = tekton("tool", "call", "greeter.greet", "-q")
    lines = tekton("tool", "call", "greeter.greet", "-o", "jsonl").stdout.splitlines()

    # The second is said too soon after the first.
    assert result.stderr.splitlines() == ["25% (1 of 4) compi ling", "warning: it is late"]
    assert json.loads(result.stdout) == {"text": "Hello"}
    assert quiet.stderr == ""
    assert [json.loads(line).get("event", "result") for line in lines] == [
        "progress",
        "progress",
        "log",
        "chunk",
        "result",
    ]


def test_a_text_can_be_printed_as_it_is(tekton: Any, greeter: Any) -> None:
    assert tekton("tool", "call", "greeter.greet", "-r").stdout == "Hello, Ada.\n"
    said(greeter, ("result", {"result": 3}))
    assert tekton("tool", "call", "greeter.greet", "-r").stdout == "3\n"


def test_a_timeout_goes_to_the_control_plane(tekton: Any, greeter: Any) -> None:
    tekton("tool", "call", "greeter.greet", "--timeout", "1m30s")

    assert greeter.requests == [("POST", "/api/tools/greeter.greet?timeout=90.0")]


def refused(status: int, code: str, detail: str, **fields: Any) -> tuple[str, Any]:
    return "error", {"status": status, "code": code, "detail": detail, **fields}


@pytest.mark.parametrize(
    ("event", "exit_code", "words"),
    [
        (refused(504, "tool_timeout", "was not done", tool_id="x", timeout=1), 4, "tool_timeout"),
        (refused(422, "invalid", "/name: required"), 1, "/name: required\nhelp: tekton tool show greeter.greet\n"),
        (
            refused(502, "tool_failed", "a.b failed", tool_id="a.b", reason="it is gone"),
            1,
            "a.b failed\nhelp: tekton why a, tekton logs a\n",
        ),
        (refused(404, "out_of_stock", "no apples", hint="ask for pears"), 5, "help: ask for pears"),
        (("log", {"event": "log", "level": "info", "text": "so far", "fields": {}}), 3, "ended without a result"),
    ],
    ids=["late", "invalid", "failed", "own", "cut-off"],
)
def test_a_call_that_fails_says_why_and_ends_so(
    tekton: Any, greeter: Any, event: tuple[str, Any], exit_code: int, words: str
) -> None:
    said(greeter, event)

    result = tekton("tool", "call", "greeter.greet")

    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert words in result.stderr


def test_a_wrong_argument_leads_to_what_the_tool_takes(tekton: Any, greeter: Any) -> None:
    result = tekton("tool", "call", "greeter.greet", "nobody")

    assert (result.exit_code, greeter.bodies) == (2, [])
    assert result.stderr.endswith("help: tekton tool show greeter.greet\n")


@pytest.mark.parametrize(
    ("code", "arguments", "command"),
    [
        ("tool_not_found", ("tool", "show", "greet"), "tekton tool ls"),
        ("stream_not_found", ("msg", "streams"), "tekton msg streams"),
    ],
)
def test_what_is_not_found_leads_to_what_there_is(
    tekton: Any, plane: Any, double: Any, code: str, arguments: tuple[str, ...], command: str
) -> None:
    path = "/api/streams" if arguments[0] == "msg" else "/api/tools/greet"
    plane.answers[f"GET {path}"] = double.problem(404, code, "there is none", tool_id="greet", stream="orders")

    assert tekton(*arguments).stderr.endswith(f"help: {command}\n")


def test_a_refused_call_says_why(tekton: Any, plane: Any, double: Any) -> None:
    plane.answers["POST /api/tools/greet"] = double.problem(
        409, "ambiguous_tool", "2 components have a tool greet", hint="use one of a.greet, b.greet"
    )

    result = tekton("tool", "call", "greet")

    assert result.exit_code == 6
    assert "help: use one of a.greet, b.greet" in result.stderr
