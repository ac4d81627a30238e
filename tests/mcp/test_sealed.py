"""Answers that can be sent, and what is said instead of those that cannot."""

import math
import tracemalloc
from typing import Any

import pytest

from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.mcp.sealed import MAX_ANSWER, refusal, response, sealed
from tekton.mcp.tool_result import GarbageError
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    InvalidMessageError,
    MessageTooLargeError,
    ToolFailedError,
)

HERE = MessageContext("engram", "ada", deadline=1e10)


def said(content: Any, metadata: dict[str, Any] | None = None) -> Message:
    return Message(MessageType.RESPONSE, content, HERE, metadata)


def test_an_answer_is_what_it_says_and_has_no_deadline() -> None:
    answer, made = response({1: (2,)}, HERE), said("x", {"tool": "search"})
    kept = sealed(made)

    assert (answer.message_type, answer.content) == (MessageType.RESPONSE, {"1": [2]})
    assert (answer.context.sender, answer.context.recipient, answer.context.deadline) == ("engram", "ada", None)
    assert (kept.message_id, kept.content, kept.metadata) == (made.message_id, "x", {"tool": "search"})
    assert kept.context.deadline is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "nan is no number in JSON"),
        ("\ud800", "surrogate"),
        (2**70, "beyond 64 bits"),
        (object(), "no JSON form"),
        ("x" * 2 * MAX_ANSWER, "larger than"),
    ],
    ids=["nan", "surrogate", "integer", "object", "large"],
)
def test_what_cannot_be_sent_is_garbage_as_a_value_and_in_a_message(value: Any, problem: str) -> None:
    with pytest.raises(GarbageError, match=problem):
        response([value], HERE)
    for message in (said([value]), said(None, {"x": value})):
        with pytest.raises(GarbageError, match=problem):
            sealed(message)


def test_what_is_too_large_with_what_stands_around_it_is_too_large() -> None:
    with pytest.raises(MessageTooLargeError):
        response("x" * (MAX_ANSWER - 10), HERE)


@pytest.mark.parametrize("in_message", [False, True])
def test_of_a_gigabyte_no_copy_is_made(in_message: bool) -> None:
    gigabyte = ["x" * 1000] * 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(GarbageError, match="larger than"):
            sealed(said(gigabyte)) if in_message else response(gigabyte, HERE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 12 * 1024 * 1024


def test_an_error_of_tekton_is_said_and_a_defect_is_for_the_log() -> None:
    known, defect = refusal(ComponentNotFoundError("engrm"), HERE), refusal(ZeroDivisionError("secret"), HERE)

    assert (known.message.message_type, known.message.content["code"]) == (MessageType.ERROR, "component_not_found")
    assert (known.to_log, defect.to_log) == (False, True)
    assert defect.message.content["code"] == "internal"
    assert b"secret" not in defect.message.to_json()
    assert known.message.context.deadline is None


def test_of_garbage_it_is_said_what_is_wrong_with_it() -> None:
    refused = refusal(GarbageError("nan is no number in JSON"), HERE)

    assert refused.to_log
    assert refused.message.content == {
        "code": "internal",
        "detail": "what a handler has returned cannot be passed on: nan is no number in JSON",
    }


class MuteError(InvalidMessageError):
    def __str__(self) -> str:
        raise RuntimeError("boo")


def with_nan() -> InvalidMessageError:
    error = InvalidMessageError("/x", "no number")
    error.extra = math.nan  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "error",
    [
        ToolFailedError("search", "\ud800"),
        ToolFailedError("search", "x" * 2 * MAX_ANSWER),
        with_nan(),
        MuteError("", ""),
    ],
    ids=["surrogate", "large", "nan", "mute"],
)
def test_an_error_that_cannot_be_sent_is_said_by_its_code(error: InvalidMessageError | ToolFailedError) -> None:
    refused = refusal(error, HERE)

    assert refused.to_log
    assert refused.message.content["code"] == error.code
    assert "the log has it" in refused.message.content["detail"]
    assert len(refused.message.to_json()) < 1000
