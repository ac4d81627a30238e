"""The verb agent: who can be asked, and registering those who are elsewhere."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

REVIEWER: dict[str, Any] = {
    "agent_id": "reviewer",
    "description": "Reviews\x1b[31m code.",
    "version": "1.4.0",
    "capabilities": ["code_review"],
    "tags": ["python"],
    "health": "usable",
    "locality": "remote",
    "component_id": "review",
    "url": None,
    "metadata": {"model": "m"},
}
TRANSLATOR = {**REVIEWER, "agent_id": "translator", "component_id": None, "url": "https://a.example/t", "tags": []}


@pytest.fixture
def agents(plane: Any) -> Any:
    plane.answers["GET /api/agents"] = (200, {"items": [REVIEWER, TRANSLATOR], "cursor": None})
    plane.answers["GET /api/agents/reviewer"] = (200, REVIEWER)
    plane.answers["PUT /api/agents/translator"] = (201, TRANSLATOR)
    plane.answers["DELETE /api/agents/translator"] = (200, TRANSLATOR)
    return plane


@pytest.mark.usefixtures("agents")
def test_agents_are_listed_with_where_they_are(tekton: Any) -> None:
    heading, first, second = tekton("agent", "ls").stdout.splitlines()

    assert heading.split() == ["AGENT", "HEALTH", "WHERE", "VERSION", "CAPABILITIES", "DESCRIPTION"]
    assert first.split()[:5] == ["reviewer", "usable", "review", "1.4.0", "code_review"]
    assert first.endswith("Reviews [31m code.")
    assert second.split()[2] == "https://a.example/t"


def test_what_is_wanted_is_asked_for(tekton: Any, agents: Any) -> None:
    result = tekton("agent", "ls", "--capability", "code_review", "--tag", "fast", "--health", "usable", "-o", "name")

    assert result.stdout.split() == ["reviewer", "translator"]
    assert agents.requests == [("GET", "/api/agents?capability=code_review&tag=fast&health=usable&limit=500")]
    assert tekton("agent", "ls", "--version", ">=1.2, <2", "--locality", "remote").exit_code == 0
    assert agents.requests[1] == ("GET", "/api/agents?version=%3E%3D1.2%2C+%3C2&locality=remote&limit=500")
    assert tekton("agent", "ls", "--locality", "moon").exit_code == 2


@pytest.mark.usefixtures("agents")
def test_an_agent_is_shown_with_all_that_is_known_of_it(tekton: Any) -> None:
    assert tekton("agent", "show", "reviewer").stdout.splitlines() == [
        "reviewer 1.4.0  usable",
        "Reviews [31m code.",
        "part of the component review",
        "capabilities: code_review",
        "tags: python",
        "",
        "metadata",
        "  {",
        '    "model": "m"',
        "  }",
    ]
    assert json.loads(tekton("agent", "show", "reviewer", "--json").stdout) == REVIEWER


def test_one_that_cannot_be_asked_leads_to_the_reason(tekton: Any, plane: Any) -> None:
    plane.answers["GET /api/agents/reviewer"] = (200, {**REVIEWER, "health": "unusable"})

    lines = tekton("agent", "show", "reviewer").stdout.splitlines()

    assert "part of the component review; tekton why review says why it is unusable" in lines


def test_one_that_is_elsewhere_is_registered_with_what_is_said_of_it(tekton: Any, agents: Any) -> None:
    options = ("--capability", "a", "--capability", "b", "--tag", "t", "--version", "2.0.0", "--metadata", '{"m": 1}')

    result = tekton("agent", "register", "translator", "https://a.example/t", *options)
    tekton("agent", "register", "translator", "https://a.example/t")

    assert (result.exit_code, result.stderr) == (0, "translator  registered: code_review\n")
    assert agents.bodies == [
        {
            "url": "https://a.example/t",
            "capabilities": ["a", "b"],
            "tags": ["t"],
            "version": "2.0.0",
            "metadata": {"m": 1},
        },
        {"url": "https://a.example/t"},
    ]


def test_what_lets_us_in_comes_from_a_file_or_stdin(tekton: Any, agents: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    url = "https://a.example/t"

    tekton("agent", "register", "translator", url, "--credential", str(tmp_path / "token"))
    tekton("agent", "register", "translator", url, "--credential", "-", "--header", "X-Key", input="k3y\n")

    assert [body["credential"] for body in agents.bodies] == [
        {"secret": "t0ken"},
        {"secret": "k3y", "header": "X-Key"},
    ]


@pytest.mark.parametrize("options", [("--header", "X-Key"), ("--credential", os.devnull)])
def test_a_credential_is_not_empty_and_no_header_is_without_one(
    tekton: Any, agents: Any, options: tuple[str, ...]
) -> None:
    assert tekton("agent", "register", "translator", "https://a.example/t", *options).exit_code == 2
    assert agents.requests == []


def test_one_that_is_elsewhere_says_why_it_cannot_be_asked(tekton: Any, plane: Any) -> None:
    gone = {**TRANSLATOR, "health": "unusable", "reason": "its card cannot be fetched"}
    plane.answers["GET /api/agents/translator"] = (200, gone)

    lines = tekton("agent", "show", "translator").stdout.splitlines()

    assert lines[2:4] == ["at https://a.example/t", "its card cannot be fetched"]


@pytest.mark.parametrize("options", [(), ("http://x", "--metadata", "{"), ("http://x", "--metadata", "1")])
def test_what_says_too_little_or_is_no_json_is_refused(tekton: Any, agents: Any, options: tuple[str, ...]) -> None:
    assert tekton("agent", "register", "translator", *options).exit_code == 2
    assert agents.requests == []


@pytest.mark.usefixtures("agents")
def test_one_is_forgotten(tekton: Any) -> None:
    assert tekton("agent", "rm", "translator").stderr == "translator  forgotten\n"


@pytest.mark.parametrize(
    ("code", "arguments", "command"),
    [
        ("agent_not_found", ("agent", "show", "x"), "tekton agent ls"),
        ("task_not_found", ("task", "show", "0" * 36), "tekton task ls"),
        ("conversation_not_found", ("conversation", "show", "x"), "tekton conversation ls"),
    ],
)
def test_what_is_not_found_leads_to_what_there_is(
    tekton: Any, plane: Any, double: Any, code: str, arguments: tuple[str, ...], command: str
) -> None:
    path = f"/api/{arguments[0]}s/{arguments[-1]}"
    fields = {f"{arguments[0]}_id": "x", **({"nearest": None} if arguments[0] == "agent" else {})}
    plane.answers[f"GET {path}"] = double.problem(404, code, "there is none", **fields)

    result = tekton(*arguments)

    assert result.exit_code == 5
    assert result.stderr.endswith(f"help: {command}\n")
