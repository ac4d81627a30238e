"""Native messages against msgspec and orjson, and against callers and senders who misbehave."""

import copy
import enum
import gc
import json
import os
import pickle
import re
import subprocess
import sys
import uuid
import weakref
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton._native import Message, MessageContext, uuid7
from tekton.mcp.message_type import MessageType
from tekton.utils.tekton_errors import InvalidMessageError, MalformedMessageError
from tekton.utils.trace_context import CURRENT, TraceContext

ID = "01a21676-7bdb-7d3e-a691-46080e501c23"
CONTEXT = MessageContext("rhetor", "engram", "550e8400-e29b-41d4-a716-446655440000")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *("[", "]", "{", "}", ",", ":", '"', "'", "\\", " ", "\n", '"a":', '"\\u0061":', "1", "-0", "1.5", "1e400"),
        *("18446744073709551616", "null", "true", "NaN", '"x"', '"\\n"', '"\\ud83d\\ude00"', '"\\ud83d"', '"é"'),
        *("\x01", "\ufeff"),
    ]
)


def message(content: Any = "x", metadata: dict[str, Any] | None = None) -> Message:
    return Message(MessageType.REQUEST, content, CONTEXT, metadata)


def wire(content: str, **members: str) -> str:
    head = {"message_id": f'"{ID}"', "message_type": '"event"', "context": '{"sender":"a"}', **members}
    return "{" + ",".join(f'"{name}":{value}' for name, value in head.items()) + f',"content":{content}}}'


@given(content=TREES, metadata=st.dictionaries(TEXTS, TREES, max_size=4))
def test_what_was_sent_is_received(content: Any, metadata: dict[str, Any]) -> None:
    sent = message(content, metadata)
    data = sent.to_json()

    received = Message.from_json(data)

    assert (received.content, received.metadata) == (content, metadata)
    assert received == sent
    assert received.to_json() is data
    assert msgspec.json.decode(data) == orjson.loads(data) == json.loads(data)
    assert msgspec.json.decode(data)["content"] == content


@given(TREES, st.booleans(), st.booleans())
def test_what_others_write_is_read(content: Any, ascii_only: bool, pretty: bool) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only, indent=2 if pretty else None)

    received = Message.from_json(wire(text))

    assert received.content == content
    assert Message.from_json(wire(text).encode()).content == content


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_is_accepted_others_accept_too_and_read_alike(text: str) -> None:
    text = f"[{text}]"
    try:
        received = Message.from_json(wire(text))
    except InvalidMessageError:
        return  # the list was closed, and other members followed
    except MalformedMessageError as error:
        if re.search("a second time|64 bits|levels", error.problem):
            return
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(wire(text))
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(wire(text))
    else:
        assert received.content == orjson.loads(wire(text))["content"] == msgspec.json.decode(wire(text))["content"]


REFUSED = {
    "twice": ('{"a":1,"a":2}', "at byte 118: the same member a second time"),
    "twice, deep, with an escape": ('[{"b":[{"a":1,"\\u0061":2}]}]', "second time"),
    "an integer beyond 64 bits": ("18446744073709551616", "beyond 64 bits"),
    "a negative one": ("-9223372036854775809", "beyond 64 bits"),
    "an infinite float": ("1e400", "beyond 64 bits"),
    "a lone surrogate": ('"\\ud83d"', "surrogate"),
    "the second half first": ('"\\ude00\\ud83d"', "surrogate"),
    "a hundred levels": ("[" * 100 + "]" * 100, "more than 64 levels"),
    "five million levels": ("[" * 5_000_000, "more than 64 levels"),
    "NaN": ("NaN", "there should be a value"),
    "a leading zero": ("01", "no digit after a leading 0"),
    "a control character": ('"\t"', "control character"),
    "a bad escape": ('"\\x41"', "escape"),
    "a single quote": ("'a'", "there should be a value"),
    "a comma too many": ("[1,]", "there should be a value"),
    "nothing": ("", "there should be a value"),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_what_could_mean_two_things_is_refused(content: str, problem: str) -> None:
    with pytest.raises(MalformedMessageError, match=problem):
        Message.from_json(wire(content))
    with pytest.raises(MalformedMessageError, match=problem):
        Message.from_json(wire(content).encode())


@pytest.mark.parametrize("data", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b"\xf8"])
def test_bytes_that_are_no_utf8_are_refused(data: bytes) -> None:
    text = wire("?").encode().replace(b"?", data)
    with pytest.raises(MalformedMessageError) as refusal:
        Message.from_json(text)
    assert refusal.value.position <= text.index(data) + 1


INVALID = {
    "an unknown type": ({"message_type": '"telegram"'}, "/message_type"),
    "a type that is no text": ({"message_type": "7"}, "/message_type"),
    "an id that is none": ({"message_id": '"7"'}, "/message_id"),
    "an id of null": ({"message_id": "null"}, "/message_id"),
    "a member of their own": ({"other": "1"}, "/other"),
    "no sender": ({"context": "{}"}, "/context/sender"),
    "an empty sender": ({"context": '{"sender":""}'}, "/context/sender"),
    "a sender with a newline": ({"context": '{"sender":"a\\nb"}'}, "/context/sender"),
    "a sender with NUL": ({"context": '{"sender":"a\\u0000"}'}, "/context/sender"),
    "a sender of 256 characters": ({"context": f'{{"sender":"{"a" * 256}"}}'}, "/context/sender"),
    "a context that is a text": ({"context": '"a"'}, "/context"),
    "something else in the context": ({"context": '{"sender":"a","colour":"red"}'}, "/context/colour"),
    "metadata that is a list": ({"metadata": "[]"}, "/metadata"),
    "a time that is a text": ({"timestamp": '"now"'}, "/timestamp"),
    "too many hops": ({"context": '{"sender":"a","hops":256}'}, "/context/hops"),
}


@pytest.mark.parametrize(("members", "pointer"), INVALID.values(), ids=INVALID.keys())
def test_what_is_no_message_is_refused_by_pointer(members: dict[str, str], pointer: str) -> None:
    with pytest.raises(InvalidMessageError) as refusal:
        Message.from_json(wire("1", **members))
    assert refusal.value.pointer == pointer


@pytest.mark.parametrize("missing", ["message_id", "message_type", "context", "content"])
def test_what_is_missing_is_named(missing: str) -> None:
    members = json.loads(wire("1"))
    del members[missing]
    with pytest.raises(InvalidMessageError, match=f"/{missing} of the message: missing"):
        Message.from_json(json.dumps(members))


def test_a_message_that_is_cut_off_anywhere_is_refused() -> None:
    data = message({"a": ["é\n\U0001f600", 1.5e3, True, None]}, {"b": "\\"}).to_json()
    escaped = json.dumps(json.loads(data)).encode()
    for whole in data, escaped:
        for length in range(len(whole)):
            with pytest.raises(MalformedMessageError):
                Message.from_json(whole[:length])


def test_a_line_of_ten_megabytes_is_received() -> None:
    text = "line\n" * 2_000_000
    received = Message.from_json(message(text).to_json())
    assert received.content == text
    with pytest.raises(MalformedMessageError):
        Message.from_json(b'{"' + b"a" * 10_000_000)
    with pytest.raises(MalformedMessageError):
        Message.from_json(b'{"content":' + b'{"a":' * 2_000_000)


def test_members_may_come_in_any_order_with_spaces_and_nulls() -> None:
    received = Message.from_json(
        '\n{ "content" : {"a": 1}, "metadata":null, "context": {"hops":2,"recipient":null, "deadline":7 ,"sender":"b",'
        f'"parent_id":"{ID.upper()}","trace_id":"t"}} , "timestamp":null,"message_type":"command",'
        f'"message_id":"{uuid.UUID(int=5)}"}} '
    )

    assert (received.content, received.metadata, received.timestamp) == ({"a": 1}, {}, None)
    assert received.route == (MessageType.COMMAND, "b", None)
    context = received.context
    assert (context.sender, context.recipient, context.trace_id) == ("b", None, "t")
    assert (context.parent_id, context.deadline, context.hops) == (ID, 7.0, 2)


def test_what_a_message_was_received_as_goes_on_as_the_same_bytes() -> None:
    text = wire(' {"b" : 1.0,\n"a":"\\u00e9"}')
    data = text.encode()

    assert Message.from_json(data).to_json() is data
    assert Message.from_json(text).to_json() == data
    assert Message.from_json(bytearray(data)).to_json() == data
    assert Message.from_json(memoryview(data)[:]).to_json() == data


def test_a_buffer_that_changes_afterwards_changes_nothing() -> None:
    buffer = bytearray(wire("1").encode())
    received = Message.from_json(buffer)
    buffer[:] = b"?" * len(buffer)
    assert received.content == 1


@pytest.mark.parametrize("data", [None, 7, 1.5, ["{}"], {}, object()])
def test_what_is_neither_bytes_nor_text_is_refused(data: Any) -> None:
    with pytest.raises(TypeError):
        Message.from_json(data)


@dataclass
class Point:
    x: object = None
    _hidden: float = float("nan")


class Limit(enum.Enum):
    NONE = float("inf")


ENDLESS: dict[str, Any] = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity, deep": {"a": [1, (None, {"b": float("-inf")})]},
    "in a list beside a text of that name": ["null", float("nan")],
    "in a dataclass": [Point(), Point(float("nan"))],
    "in an enum": Limit.NONE,
    "after much else": [[{"score": place / 7}] for place in range(200)] + [[{"score": float("nan")}]],
}


@pytest.mark.parametrize("content", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_number_without_json_is_not_written_as_null(content: Any) -> None:
    with pytest.raises(InvalidMessageError, match="/content of the message: NaN and infinity have no JSON"):
        message(content).to_json()
    with pytest.raises(InvalidMessageError, match="/metadata of the message: NaN"):
        message(1, {"a": content}).to_json()


def test_nulls_and_what_looks_like_one_are_written() -> None:
    contents = [None, [None, "null", "NaN", "n"], {"null": [None] * 99}, [1.5, None, -0.0, 1e308], [Point(), None]]
    for content in contents:
        assert Message.from_json(message(content).to_json()).content == orjson.loads(orjson.dumps(content))


SCALARS = st.none() | st.booleans() | st.integers(-(2**63) - 1, 2**64) | st.text() | NUMBERS | st.lists(st.none())


@given(st.dictionaries(st.text(), SCALARS, min_size=1, max_size=20))
def test_small_objects_are_written_as_orjson_writes_them(content: dict[str, Any]) -> None:
    try:
        expected = orjson.dumps(content)
    except TypeError:
        with pytest.raises(TypeError):
            message(content).to_json()
    else:
        assert message(content).to_json().endswith(b',"content":' + expected + b"}")
        assert b',"metadata":' + expected + b"," in message(1, content).to_json()


class Label(str):
    __slots__ = ()


class Count(int):
    pass


class Table(dict[str, Any]):
    pass


@pytest.mark.parametrize("content", [{}, {"a": Label("b")}, {"a": Count(1)}, Table(a=1), {"a": MessageType.EVENT}])
def test_what_is_not_of_an_exact_type_is_written_as_orjson_writes_it(content: Any) -> None:
    assert message(content).to_json().endswith(b',"content":' + orjson.dumps(content) + b"}")


@pytest.mark.parametrize("content", [{1: 2}, {Label("a"): 1}, {"a": 2**64}, {"a": object()}])
def test_what_orjson_does_not_write_is_refused(content: Any) -> None:
    with pytest.raises(TypeError):
        message(content).to_json()
    with pytest.raises(TypeError):
        message(1, content).to_json()


@given(TREES, st.sampled_from(["a", '\\"', "n[{", "null"]))
def test_what_is_written_is_no_deeper_than_what_is_read(content: Any, name: str) -> None:
    for levels in range(58, 66):
        deep = content
        for level in range(levels):
            deep = [deep] if level % 2 else {name: deep}
        data = json.dumps(deep)
        try:
            Message.from_json(wire(data))
        except MalformedMessageError:
            with pytest.raises(InvalidMessageError, match="/content of the message: more than 64 levels"):
                message(deep).to_json()
        else:
            assert Message.from_json(message(deep).to_json()).content == deep


def test_a_message_is_written_once() -> None:
    content, sent = [1], message([1])
    later = message(content)
    assert sent.to_json() is sent.to_json()
    first = later.to_json()
    content.append(2)
    later.metadata["late"] = True
    assert later.to_json() is first


def test_a_text_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        Message.from_json(wire('"\ud800"'))
    with pytest.raises(UnicodeEncodeError):
        message("\ud800").to_json()


def test_peek_reads_the_route_and_no_further() -> None:
    data = message("x" * 100).to_json()
    assert Message.peek(data) == (MessageType.REQUEST, "rhetor", "engram") == message().route
    assert Message.peek(data[:-50] + b"\xff\x00") == (MessageType.REQUEST, "rhetor", "engram")
    with pytest.raises(MalformedMessageError):
        Message.peek(data[:100])
    with pytest.raises(InvalidMessageError):
        Message.peek(b"{}")


def test_a_route_is_that_of_its_message_however_many_there_were_before() -> None:
    names = [f"{letter}{number}" for letter in ("a", "b", "c" * 70) for number in range(50)]
    pairs = [*zip(names, [*names[1:], None]), *zip(reversed(names), names), ("a", "b"), ("b", "a"), ("ab", None)]
    for _ in range(2):
        for kind in (MessageType.REQUEST, MessageType.ERROR):
            for sender, recipient in pairs:
                data = Message(kind, "x", MessageContext(sender, recipient)).to_json()
                assert Message.peek(data) == (kind, sender, recipient) == Message.from_json(data).route


def test_content_is_made_once() -> None:
    received = Message.from_json(wire('{"a":[1]}', metadata='{"b":2}'))
    assert received.content is received.content
    assert received.metadata is received.metadata
    assert received.context is received.context


def test_time_and_order_are_those_of_the_id() -> None:
    messages = [message() for _ in range(100)]
    ids = [each.message_id for each in messages]

    assert ids == sorted(set(ids))
    assert all(uuid.UUID(each).version == 7 for each in ids)
    assert messages[0].timestamp == int(ids[0].replace("-", "")[:12], 16) / 1000
    assert Message(MessageType.EVENT, 1, CONTEXT, message_id=ID, timestamp=5.25).timestamp == 5.25
    assert Message(MessageType.EVENT, 1, CONTEXT, message_id=str(uuid.UUID(int=3))).timestamp is None
    assert uuid.UUID(uuid7()).variant == uuid.RFC_4122


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_other_ids_than_its_parent() -> None:
    program = """if True:
        import os
        from tekton._native import MessageContext
        MessageContext("a")
        reader, writer = os.pipe()
        if not os.fork():
            os.write(writer, MessageContext("a").trace_id.encode())
            os._exit(0)
        os.wait()
        assert os.read(reader, 32).decode() != MessageContext("a").trace_id
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_a_context_is_of_the_current_trace() -> None:
    token = CURRENT.set(TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"))
    try:
        assert MessageContext("a").trace_id == "0af7651916cd43dd8448eb211c80319c"
    finally:
        CURRENT.reset(token)
    fresh = {MessageContext("a").trace_id for _ in range(600)}
    assert len(fresh) == 600
    assert all(re.fullmatch("[0-9a-f]{32}", str(trace)) for trace in fresh)


def test_what_a_message_causes_belongs_to_its_trace() -> None:
    context = MessageContext("a", "b", "t", deadline=99.5)
    first = Message(MessageType.REQUEST, 1, context)

    answer = first.follow("b", "a")

    assert answer == MessageContext("b", "a", "t", parent_id=first.message_id, deadline=99.5, hops=1)
    assert Message(MessageType.EVENT, 1, MessageContext("a", hops=255)).follow("b").hops == 255


@pytest.mark.parametrize(
    "arguments",
    [("",), ("a b",), ("é",), ('"',), ("\\",), ("a\n",), ("a" * 256,), ("a", ""), ("a", "b", ""), ("a", "b", "\x00")],
)
def test_names_that_could_not_stand_in_json_as_they_are_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="must be 1 to 255 characters of visible ASCII"):
        MessageContext(*arguments)


def test_other_values_that_cannot_be_are_refused() -> None:
    for wrong in ({"deadline": float("nan")}, {"deadline": float("inf")}, {"parent_id": "7"}):
        with pytest.raises(ValueError, match=r"must be finite|is not a UUID"):
            MessageContext("a", **wrong)  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        MessageContext("a", hops=256)
    for arguments in ({"message_id": "7"}, {"timestamp": float("nan")}):
        with pytest.raises(ValueError, match=r"must be finite|is not a UUID"):
            Message("event", 1, CONTEXT, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="message_type must be request"):
        Message("telegram", 1, CONTEXT)
    with pytest.raises(TypeError):
        Message(7, 1, CONTEXT)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        message(metadata=["a"])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        message(object()).to_json()


def test_values_do_not_change() -> None:
    for value, name in ((message(), "content"), (CONTEXT, "sender")):
        with pytest.raises(AttributeError):
            setattr(value, name, "y")


def test_equality_is_of_all_that_a_message_says() -> None:
    def made(**changes: Any) -> Message:
        fields: dict[str, Any] = {"message_type": "event", "content": [1], "context": CONTEXT, "metadata": None}
        return Message(**(fields | {"message_id": ID} | changes))

    assert made() == made() == Message.from_json(made().to_json())
    assert hash(made()) == hash(Message.from_json(made().to_json()))
    assert made() == made(metadata={})
    others = [{"message_type": "error"}, {"content": [2]}, {"context": MessageContext("x")}, {"metadata": {"a": 1}}]
    assert all(made() != made(**change) for change in [*others, {"timestamp": 1.0}, {"message_id": uuid7()}])
    assert made() != "message"
    assert CONTEXT != "context"
    assert len({CONTEXT, MessageContext("rhetor", "engram", CONTEXT.trace_id)}) == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(copied: Any) -> None:
    context = MessageContext("a", None, "t", parent_id=ID, deadline=1.5, hops=3)
    for value in (Message("event", {"a": [1]}, context), Message.from_json(wire("1")), context, MessageContext("b")):
        assert copied(value) == value


def test_a_message_shows_its_header_and_not_its_content() -> None:
    shown = repr(Message("event", "secret", CONTEXT, message_id=ID))
    assert shown == f"<Message event {ID} from rhetor to engram>"
    assert repr(MessageContext("a", None, "t")) == 'MessageContext({"sender":"a","trace_id":"t"})'


def test_a_message_and_a_content_that_refers_to_it_are_collected() -> None:
    class Holder(list[object]):
        pass

    holder = Holder()
    holder.append(message(holder))
    gone = weakref.ref(holder)
    del holder
    gc.collect()

    assert gone() is None
