"""Errors as messages, and back."""

import json
from typing import Any

import pytest

from tekton.mcp.context import MessageContext
from tekton.mcp.error_message import error_content, error_of
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import (
    InvalidArgumentsError,
    NoHandlerError,
    ProblemError,
    TektonError,
    ToolBusyError,
    ToolFailedError,
    ToolNotFoundError,
)


def received(content: Any, message_type: MessageType = MessageType.ERROR) -> Message:
    return Message.from_json(Message(message_type, content, MessageContext("engram")).to_json())


@pytest.mark.parametrize(
    "error",
    [
        ToolNotFoundError("gret", "greet"),
        InvalidArgumentsError("greet", "/nam", "unknown field", "name"),
        ToolBusyError("greet", 2, 1),
        ToolFailedError("greet", "ValueError: no"),
        NoHandlerError("request", "ada"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_back_as_what_it_was(error: TektonError) -> None:
    content = error_content(error)
    found = error_of(received(content))

    assert (content["code"], content["detail"], content.get("hint")) == (error.code, str(error), error.hint)
    assert type(found) is type(error)
    assert (str(found), found.hint) == (str(error), error.hint)  # type: ignore[union-attr]
    assert {**vars(found), "hint": error.hint} == {**vars(error), "hint": error.hint}


def test_what_is_no_error_of_ours_says_nothing_of_itself() -> None:
    assert error_content(RuntimeError("password=hunter2")) == {
        "code": "internal",
        "detail": "an error on our side; the log has the details",
    }


def test_what_is_no_json_is_told_in_words() -> None:
    error = ToolFailedError("greet", "no")
    error.cause = RuntimeError("boo")  # type: ignore[attr-defined]

    assert json.loads(json.dumps(error_content(error)))["cause"] == "boo"


@pytest.mark.parametrize("content", [None, "no", 5, [], {}, {"code": 1}, {"detail": []}])
def test_an_error_in_other_words_is_an_error(content: Any) -> None:
    assert isinstance(error_of(received(content)), ProblemError)


def test_an_unknown_code_keeps_its_words() -> None:
    found = error_of(received({"code": "out_of_cheese", "detail": "no cheese", "hint": "buy some"}))

    assert found is not None
    assert (found.code, str(found), found.hint) == ("out_of_cheese", "no cheese", "buy some")


@pytest.mark.parametrize(
    ("said", "heard"), [(404, 404), (200, 500), (600, 500), ("404", 500), (404.0, 500), (None, 500)], ids=str
)
def test_an_unknown_code_has_the_status_that_it_was_raised_with(said: Any, heard: int) -> None:
    found = error_of(received({**error_content(ProblemError(404, "no_such_item", "none")), "status": said}))

    assert isinstance(found, ProblemError)
    assert (found.status, found.code) == (heard, "no_such_item")


def test_what_is_no_error_message_tells_of_none() -> None:
    assert error_of(received({"code": "internal"}, MessageType.RESPONSE)) is None
