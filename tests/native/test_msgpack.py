"""Messages as MessagePack, against msgspec."""

import datetime
import functools
import struct
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton._native import Message, MessageContext
from tekton.utils.tekton_errors import InvalidMessageError, MalformedMessageError

CONTEXT = MessageContext("rhetor", "engram", "550e8400-e29b-41d4-a716-446655440000", deadline=1.5, hops=2)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(TEXTS, inner, max_size=20),
    max_leaves=12,
)


def tree(content: Any = 1, **members: Any) -> dict[str, Any]:
    head = {"message_id": "01a21676-7bdb-7d3e-a691-46080e501c23", "message_type": "event", "context": {"sender": "a"}}
    return {**head, **members, "content": content}


@given(TREES, st.dictionaries(TEXTS, TREES, max_size=4))
def test_a_message_says_the_same_as_message_pack(content: Any, metadata: dict[str, Any]) -> None:
    message = Message("event", content, CONTEXT, metadata)
    data = message.to_msgpack()

    assert Message.from_msgpack(data) == message
    assert msgspec.msgpack.decode(data) == orjson.loads(message.to_json())
    assert data == msgspec.msgpack.encode(orjson.loads(message.to_json()))


@given(TREES)
def test_what_others_write_is_read_as_its_json_is(content: Any) -> None:
    sent = tree(content)

    received = Message.from_msgpack(msgspec.msgpack.encode(sent))

    assert received.content == content
    assert received == Message.from_json(msgspec.json.encode(sent))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_of_32_bits_is_the_number_that_it_is(number: float) -> None:
    data = msgspec.msgpack.encode(tree(None))
    assert Message.from_msgpack(data[:-1] + b"\xca" + struct.pack(">f", number)).content == number


REFUSED: dict[str, tuple[Any, str]] = {
    "bytes": (b"x", "what JSON does not have: binary data"),
    "a timestamp": (datetime.datetime.fromtimestamp(0, datetime.UTC), "what JSON does not have"),
    "an extension": (msgspec.msgpack.Ext(5, b"x"), "what JSON does not have"),
    "NaN": (float("nan"), "beyond 64 bits"),
    "infinity": (float("inf"), "beyond 64 bits"),
    "a number for a key": ({1: 2}, "there should be a name"),
    "a hundred levels": (functools.reduce(lambda inner, _: [inner], range(100), []), "more than 64 levels"),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_json_does_not_have_is_refused_with_its_place(content: Any, problem: str) -> None:
    data = msgspec.msgpack.encode(tree(content))
    with pytest.raises(MalformedMessageError, match=problem) as refusal:
        Message.from_msgpack(data)
    assert data.index(b"content") < refusal.value.position < len(data)


def test_what_is_cut_off_or_goes_on_is_refused() -> None:
    data = Message("event", ["é", 2**40, {"a": None}], CONTEXT).to_msgpack()
    for length in range(len(data)):
        with pytest.raises(MalformedMessageError):
            Message.from_msgpack(data[:length])
    with pytest.raises(MalformedMessageError, match="something follows"):
        Message.from_msgpack(data + b"\0")


def test_sizes_beyond_the_data_are_refused_before_anything_is_made() -> None:
    for size in b"\xdf", b"\xdd", b"\xdb":
        with pytest.raises(MalformedMessageError, match="ends too early"):
            Message.from_msgpack(size + b"\xff" * 4)


def test_a_member_twice_is_refused_at_its_place() -> None:
    once = msgspec.msgpack.encode(tree({"b": 1, "c": 2}))
    for twice, key in (
        (once.replace(b"\xa1c", b"\xa1b"), b"\xa1b"),
        (once.replace(b"\x84", b"\x85") + b"\xa7content\1", b"\xa7content"),
    ):
        with pytest.raises(MalformedMessageError, match="second time") as refusal:
            Message.from_msgpack(twice)
        assert refusal.value.position == twice.rindex(key)


def test_what_is_no_message_is_refused_by_pointer() -> None:
    for sent, pointer in ((tree(colour="red"), "/colour"), (tree(metadata=[]), "/metadata"), ({}, "/content")):
        with pytest.raises(InvalidMessageError) as refusal:
            Message.from_msgpack(msgspec.msgpack.encode(sent))
        assert refusal.value.pointer == pointer


@pytest.mark.parametrize("data", [None, 7, "text", ["{}"], {}, object()])
def test_what_is_no_buffer_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        Message.from_msgpack(data)
