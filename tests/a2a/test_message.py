"""A message of an agent is a value that is checked when it is made, and comes back from its JSON."""

from dataclasses import FrozenInstanceError
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.a2a.message import MOST_BYTES, MOST_RECEIVED, AgentMessage, is_name
from tekton.mcp.modality import CodeContent, TextContent
from tekton.utils.tekton_errors import InvalidContentError, InvalidMessageError, MalformedMessageError, MessageError

UUID4 = "550e8400-e29b-41d4-a716-446655440000"
UUID7 = "018bcfe5-6800-7000-8000-000000000000"
"""Of 1,700,000,000 seconds since 1970."""

leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: st.lists(below) | st.dictionaries(st.text("abc", max_size=3), below),
    max_leaves=10,
)


@settings(max_examples=40)
@given(values, st.dictionaries(st.text("abc", max_size=3), values))
def test_a_message_comes_back_from_its_json(content: Any, context: dict[str, Any]) -> None:
    message = AgentMessage("user_agent", content, context, parent_id=UUID4)

    again = AgentMessage.from_json(message.to_json())

    assert again == message
    assert (hash(again), again.size_bytes) == (hash(message), message.size_bytes)


def test_a_fresh_message_has_the_time_of_its_id() -> None:
    first, second = AgentMessage("a", "one"), AgentMessage("a", "two")

    assert first.message_id < second.message_id
    assert AgentMessage("a", "x", message_id=UUID7).timestamp == 1_700_000_000


def test_what_a_message_has_is_a_copy() -> None:
    content, context = {"a": [1]}, {"b": [1]}
    message = AgentMessage("a", content, context)

    content["a"].append(2)
    context["b"].append(2)

    assert (message.content, message.context) == ({"a": [1]}, {"b": [1]})
    with pytest.raises(FrozenInstanceError):
        message.sender = "b"  # type: ignore[misc]


def test_content_of_a_modality_travels_as_json_and_is_parsed_again() -> None:
    message = AgentMessage("a", CodeContent("print(1)", "python"))

    assert message.content == {"modality": "code", "code": "print(1)", "language": "python"}
    assert AgentMessage.from_json(message.to_json()).parsed() == CodeContent("print(1)", "python")
    assert AgentMessage("a", TextContent("hello")).content == "hello"


def test_a_reply_names_what_it_answers() -> None:
    message = AgentMessage("a", "?")

    reply = message.reply("b", "!", {"done": True})

    assert (reply.sender, reply.content, reply.context, reply.parent_id) == (
        "b",
        "!",
        {"done": True},
        message.message_id,
    )


def test_what_there_is_not_is_left_out_of_the_json() -> None:
    assert msgspec.json.decode(AgentMessage("a", "x", message_id=UUID7).to_json()) == {
        "message_id": UUID7,
        "timestamp": 1_700_000_000.0,
        "sender": "a",
        "content": "x",
    }


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"sender": ""}, "/sender"),
        ({"sender": "a b"}, "/sender"),
        ({"sender": "a\n"}, "/sender"),
        ({"sender": "x" * 256}, "/sender"),
        ({"sender": 7}, "/sender"),
        ({"context": ["a"]}, "/context"),
        ({"context": {"a": float("nan")}}, "/context"),
        ({"content": "x" * (MOST_BYTES - 100), "context": {"a": "x" * 100}}, "/context"),
        ({"message_id": "7"}, "/message_id"),
        ({"message_id": UUID4}, "/timestamp"),
        ({"timestamp": float("inf")}, "/timestamp"),
        ({"parent_id": "7"}, "/parent_id"),
    ],
)
def test_a_member_that_is_wrong_is_named(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        AgentMessage(**{"sender": "a", "content": "x", **fields})

    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    "content",
    [object(), float("nan"), "\ud800", "x" * MOST_BYTES, 2**64, {"modality": "smell"}, {"modality": "code", "code": 1}],
    ids=["object", "nan", "surrogate", "large", "integer", "unknown", "misfit"],
)
def test_content_that_is_none_is_refused(content: Any) -> None:
    with pytest.raises(InvalidContentError):
        AgentMessage("a", content)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", MalformedMessageError),
        (b"{", MalformedMessageError),
        (b'"\xff"', MessageError),
        (b"[" * 100_000, MessageError),
        (b"[]", InvalidMessageError),
        (b"{}", InvalidMessageError),
        (b'{"message_id":"","timestamp":1,"sender":"a","content":1}', InvalidMessageError),
        (b'{"message_id":"%s","timestamp":1,"sender":"a","content":1,"x":1}' % UUID4.encode(), InvalidMessageError),
        (b'{"message_id":"%s","timestamp":"1","sender":"a","content":1}' % UUID4.encode(), InvalidMessageError),
        (b" " * (MOST_RECEIVED + 1), InvalidMessageError),
    ],
    ids=["nothing", "half", "no utf-8", "deep", "list", "empty", "no id", "unknown member", "text for a time", "large"],
)
def test_what_is_no_message_is_refused(data: bytes, error: type[MessageError]) -> None:
    with pytest.raises(error):
        AgentMessage.from_json(data)


def test_deep_content_is_refused() -> None:
    nested = b"[" * 70 + b"]" * 70
    data = b'{"message_id":"%s","timestamp":1,"sender":"a","content":%s}' % (UUID4.encode(), nested)

    with pytest.raises(InvalidContentError, match="levels deep"):
        AgentMessage.from_json(data)


@pytest.mark.parametrize(
    ("text", "is_one"), [("user:ada@example.org", True), ('a"b', False), ("a\\b", False), (None, False)]
)
def test_a_name_is_visible_ascii(text: object, is_one: bool) -> None:
    assert is_name(text) is is_one
