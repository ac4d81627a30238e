"""The verb conversation: reading what is said, and taking part."""

import json
from typing import Any

import pytest

AT = 1_700_000_000.0
RECORD: dict[str, Any] = {
    "conversation_id": "release-7",
    "initiator": "ada",
    "participants": ["ada", "reviewer"],
    "created_at": AT,
    "changed_at": AT,
    "context": {"branch": "main"},
    "messages": 30,
}
PATH = "/api/conversations/release-7"


def said(sequence: int, content: Any = "Can we\x1b go?") -> dict[str, Any]:
    return {
        "sequence": sequence,
        "message_id": "01234567-89ab-7def-8123-456789abcdef",
        "timestamp": AT,
        "sender": "ada",
        "content": content,
        "context": {},
        "parent_id": None,
    }


@pytest.fixture
def release(plane: Any) -> Any:
    plane.answers["GET /api/conversations"] = (200, {"items": [RECORD], "cursor": None})
    plane.answers[f"GET {PATH}"] = (200, RECORD)
    plane.answers[f"GET {PATH}/messages"] = (200, {"items": [said(30)], "cursor": None})
    plane.answers[f"POST {PATH}/messages"] = (201, {"sequence": 31, "message_id": "m", "duplicate": False})
    plane.answers[f"DELETE {PATH}"] = (200, RECORD)
    return plane


@pytest.mark.usefixtures("release")
def test_conversations_are_listed_with_who_takes_part(tekton: Any) -> None:
    heading, row = tekton("conversation", "ls").stdout.splitlines()

    assert heading.split() == ["CONVERSATION", "MESSAGES", "CHANGED", "INITIATOR", "PARTICIPANTS"]
    assert row.split()[:2] == ["release-7", "30"]
    assert row.endswith("ada        ada,reviewer")
    assert tekton("conversation", "ls", "-o", "name").stdout == "release-7\n"


def test_one_is_begun_under_an_id_or_a_new_one(tekton: Any, plane: Any) -> None:
    plane.answers["POST /api/conversations"] = (201, RECORD)

    assert tekton("conversation", "begin", "reviewer", "--id", "release-7").stdout == "release-7\n"
    tekton("conversation", "begin", "reviewer", "tester")

    assert plane.bodies == [
        {"conversation_id": "release-7", "participants": ["reviewer"]},
        {"participants": ["reviewer", "tester"]},
    ]


def test_what_was_said_last_is_shown(tekton: Any, release: Any) -> None:
    lines = tekton("conversation", "show", "release-7", "-n", "1").stdout.splitlines()

    assert lines[1:4] == ["ada, reviewer; 30 messages", 'all know: {"branch": "main"}', ""]
    assert lines[4].startswith("ada  30  ")
    assert lines[5:] == ["  Can we  go?"]
    assert release.requests[-1] == ("GET", f"{PATH}/messages?after=29")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ({"modality": "code", "language": "python", "code": "a\nb"}, ["  a", "  b"]),
        ({"modality": "text", "text": "# a", "media_type": "text/markdown"}, ["  # a"]),
        ({"text": "a"}, ["  {", '    "text": "a"', "  }"]),
    ],
    ids=["code", "text", "JSON"],
)
def test_a_message_is_shown_as_what_it_is(tekton: Any, release: Any, content: Any, lines: list[str]) -> None:
    release.answers[f"GET {PATH}/messages"] = (200, {"items": [said(1, content)], "cursor": None})

    assert tekton("conversation", "show", "release-7").stdout.splitlines()[5:] == lines


def test_all_pages_behind_a_number_are_read(tekton: Any, plane: Any) -> None:
    pages = iter([RECORD, {"items": [said(8)], "cursor": "8"}, {"items": [said(9)], "cursor": None}])
    plane.answer = lambda *_: (200, next(pages))

    found = json.loads(tekton("conversation", "show", "release-7", "--after", "7", "-o", "json").stdout)

    assert [one["sequence"] for one in found["messages"]] == [8, 9]
    assert [path for _, path in plane.requests[1:]] == [f"{PATH}/messages?after=7", f"{PATH}/messages?after=8"]


def test_what_is_said_from_now_on_is_shown_as_it_comes(plane: Any, release: Any, background: Any) -> None:
    resumed: list[str | None] = []

    def stream(last: str | None) -> Any:
        resumed.append(last)
        return [("message", said(int(last or 0) + 1))]

    def answer(method: str, path: str, query: Any) -> Any:
        return (200, RECORD) if path == PATH else (200, {"items": [], "cursor": None})

    plane.answer = answer
    plane.streams[f"GET {PATH}/messages"] = stream

    run = background("conversation", "show", "release-7", "-n", "0", "-f", "-o", "template={sequence} {content}")

    assert [run.line(), run.line()] == ["31 Can we  go?", "32 Can we  go?"]
    assert run.interrupt() == 130
    assert resumed[:2] == ["30", "31"]


def test_something_is_said_with_what_all_are_to_know(tekton: Any, release: Any) -> None:
    told = tekton("conversation", "say", "release-7", "Go.", "--context", '{"go": true}', "--reply", "m")
    tekton("conversation", "say", "release-7", "-", input='{"go": 1}')

    assert told.stdout == "31\n"
    assert release.bodies == [
        {"content": "Go.", "context": {"go": True}, "parent_id": "m"},
        {"content": {"go": 1}},
    ]


def test_what_it_answers_may_be_named_by_its_number(tekton: Any, release: Any) -> None:
    assert tekton("conversation", "say", "release-7", "Yes.", "--reply", "30").stdout == "31\n"
    assert release.bodies == [{"content": "Yes.", "parent_id": said(30)["message_id"]}]
    assert release.requests[0] == ("GET", f"{PATH}/messages?after=29&limit=1")


def test_a_number_that_no_message_has_is_refused(tekton: Any, release: Any) -> None:
    result = tekton("conversation", "say", "release-7", "Yes.", "--reply", "29")

    assert (result.exit_code, "there is no message 29" in result.stderr) == (2, True)
    assert release.bodies == []


def test_what_says_nothing_is_refused_but_with_a_context(tekton: Any, release: Any) -> None:
    assert tekton("conversation", "say", "release-7").exit_code == 2
    tekton("conversation", "say", "release-7", "--context", '{"go": true}')

    assert release.bodies == [{"content": None, "context": {"go": True}}]


def test_a_message_says_which_one_it_answers(tekton: Any, plane: Any) -> None:
    answers = [
        {**said(31), "message_id": name, "parent_id": parent}
        for name, parent in (("a", said(30)["message_id"]), ("b", "x"))
    ]
    plane.answers[f"GET {PATH}"] = (200, RECORD)
    plane.answers[f"GET {PATH}/messages"] = (200, {"items": [said(30), *answers], "cursor": None})

    lines = tekton("conversation", "show", "release-7").stdout.splitlines()

    assert [line.rpartition("  ")[2] for line in lines if line.startswith("ada  31")] == ["answers 30", "answers x"]


def test_a_summary_is_printed_as_it_is(tekton: Any, plane: Any) -> None:
    plane.answers[f"GET {PATH}/summary"] = (200, {"summary": "ada: Can we go?"})

    assert tekton("conversation", "summary", "release-7", "-n", "2").stdout == "ada: Can we go?\n"
    assert plane.requests == [("GET", f"{PATH}/summary?sentences=2")]


def test_it_is_forgotten(tekton: Any, release: Any) -> None:
    assert tekton("conversation", "rm", "release-7").stderr == "release-7  forgotten\n"
    assert ("DELETE", PATH) in release.requests
