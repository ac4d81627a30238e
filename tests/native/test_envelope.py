"""Native envelopes against a naive model of the layout, and against senders who misbehave."""

import copy
import gc
import json
import pickle
import struct
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton._native import Envelope, Message, MessageContext, is_valid_subject
from tekton.bus import envelope as module
from tekton.utils.tekton_errors import (
    InvalidMessageError,
    InvalidSubjectError,
    MalformedMessageError,
    MessageExpiredError,
    MessageTooLargeError,
    TooManyHopsError,
)

MESSAGE = Message("event", "é\n", MessageContext("rhetor", "engram", "t"), {"priority": 1}, timestamp=1764136800.125)
JSON = MESSAGE.to_json()
FULL = Envelope("orders.new", MESSAGE, "_inbox.a.b", 7, 1764136800.125, 3, "orders")
HEAD = struct.Struct("<IQdIBBBB")

TOKENS = st.text(
    st.characters(categories=["L", "N", "P"], exclude_characters="*>.", codec="utf-8"), min_size=1, max_size=9
)
SUBJECTS = st.lists(TOKENS, min_size=1, max_size=4).map(".".join).filter(lambda text: len(text.encode()) <= 255)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\n", max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
ENVELOPES = st.builds(
    Envelope,
    SUBJECTS,
    TREES.map(lambda content: Message("event", content, MessageContext("a"))),
    st.none() | SUBJECTS,
    st.integers(0, 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**32 - 1),
    st.none() | st.text("abc_-", min_size=1, max_size=9),
)


def naive_pack(batch_id: int, envelopes: list[Envelope]) -> bytes:
    out = b"TKB\x01" + struct.pack("<QI", batch_id, len(envelopes))
    for each in envelopes:
        texts = [(text or "").encode() for text in (each.subject, each.reply, each.stream)]
        rest = b"".join(texts) + each.message.to_json()
        sizes = map(len, texts)
        out += HEAD.pack(HEAD.size - 4 + len(rest), each.sequence, each.time, each.attempt, 0, *sizes) + rest
    return out


def naive_frame(subscription: int, envelope: Envelope) -> dict[str, Any]:
    frame = {"id": subscription, "t": "msg", "subject": envelope.subject, "sequence": envelope.sequence}
    frame |= {"time": envelope.time, "reply": envelope.reply, "stream": envelope.stream}
    frame |= {"attempt": envelope.attempt if envelope.stream else None}
    frame |= {"message": json.loads(envelope.message.to_json())}
    return {name: value for name, value in frame.items() if value is not None}


def naive_admit(
    envelopes: list[Envelope], sequence: int, time: float, max_size: int, max_hops: int
) -> tuple[list[Envelope], int, bool]:
    for each in envelopes:
        context, size = each.message.context, len(each.message.to_json())
        if each.reply is not None and not is_valid_subject(each.reply):
            raise InvalidSubjectError(each.reply, "is no subject to reply to")
        if size > max_size:
            raise MessageTooLargeError(size, max_size)
        hops = context.hops + (each.reply is not None)
        if hops > max_hops:
            raise TooManyHopsError(hops, max_hops)
        if context.deadline is not None and context.deadline <= time:
            raise MessageExpiredError(each.message.message_id)
    placed = [each.placed(place, time) for place, each in enumerate(envelopes, sequence)]
    return placed, sum(each.size for each in envelopes), len({each.subject for each in envelopes}) <= 1


def result_of(call: Callable[..., object], *arguments: object) -> object:
    try:
        return call(*arguments)
    except Exception as error:
        return type(error), error.args


@given(st.integers(0, 2**64 - 1), st.lists(ENVELOPES, max_size=4))
def test_a_batch_has_the_layout_that_is_documented_and_is_read_as_what_it_was(
    batch_id: int, envelopes: list[Envelope]
) -> None:
    data = Envelope.pack(batch_id, envelopes)

    assert data == naive_pack(batch_id, envelopes)
    assert Envelope.unpack(data) == (batch_id, envelopes)
    assert Envelope.subjects(data) == [each.subject for each in envelopes]
    assert Envelope.pack(*Envelope.unpack(data)) == data


@given(st.integers(0, 2**64 - 1), st.lists(ENVELOPES, max_size=3))
def test_messages_travel_as_message_pack_too(batch_id: int, envelopes: list[Envelope]) -> None:
    assert Envelope.unpack(Envelope.pack(batch_id, envelopes, msgpack=True)) == (batch_id, envelopes)


@given(st.integers(0, 2**64 - 1), ENVELOPES)
def test_a_frame_is_json_with_the_bytes_of_the_message_in_it(subscription: int, envelope: Envelope) -> None:
    frame = envelope.frame(subscription)

    assert json.loads(frame) == naive_frame(subscription, envelope)
    assert frame.endswith(',"message":' + envelope.message.to_json().decode() + "}")
    assert list(json.loads(frame))[:3] == ["id", "t", "subject"]


def test_what_was_received_is_spliced_in_as_it_came() -> None:
    text = JSON.decode().replace(",", " , ").replace("é", "\\u00e9")
    for message in Message.from_json(text), Message.from_json(text.encode()):
        assert Envelope("a", message).frame(1).endswith(f'"message":{text}}}')
        assert Envelope.pack(1, [Envelope("a", message)]).endswith(text.encode())
        assert Envelope("a", message).size == len(text)


def test_an_envelope_is_what_it_was_made_of() -> None:
    plain = Envelope("a.b", MESSAGE)

    assert module.Envelope is Envelope
    assert plain.message is MESSAGE
    assert (plain.subject, plain.reply, plain.sequence, plain.time) == ("a.b", None, 0, 0.0)
    assert (plain.attempt, plain.stream) == (1, None)
    assert plain == Envelope(subject="a.b", message=MESSAGE, reply=None, sequence=0, time=0, attempt=1, stream=None)
    assert type(Envelope("a", MESSAGE, time=5).time) is float
    assert Envelope("a", MESSAGE, sequence=2**64 - 1).sequence == 2**64 - 1
    assert FULL.placed(9, 2.0) == Envelope("orders.new", MESSAGE, "_inbox.a.b", 9, 2.0)
    assert FULL.placed(9, 2.0, attempt=4, stream="s") == Envelope("orders.new", MESSAGE, "_inbox.a.b", 9, 2.0, 4, "s")
    assert FULL.placed(9, 2.0).message is MESSAGE


def published(subject: str, text: str, reply: str | None, deadline: float | None, hops: int, raw: bool) -> Envelope:
    message = Message("event", text, MessageContext("a", deadline=deadline, hops=hops))
    received = Message.from_json(message.to_json() if len(text) % 2 else message.to_json().decode())
    return Envelope(subject, received if raw else message, reply, 7, 8.0, 9, "s")


PUBLISHED = st.builds(
    published,
    st.sampled_from(["a", "a.b"]),
    st.text("xé\n", max_size=9),
    st.sampled_from([None, None, "a.b", "é", "a.*", "", "\ud800"]),
    st.sampled_from([None, None, 1.0, 5.0, 1e300]),
    st.sampled_from([0, 0, 1, 16, 17, 255]),
    st.booleans(),
)


@given(
    st.lists(PUBLISHED, max_size=4),
    st.integers(0, 2**63),
    st.sampled_from([0.0, 5.0, 6.0]),
    st.sampled_from([150, 165, 180, 1000, 1000]),
    st.sampled_from([0, 16, 255, 255]),
)
def test_what_is_admitted_and_what_is_refused_is_what_the_rules_say(
    envelopes: list[Envelope], sequence: int, time: float, max_size: int, max_hops: int
) -> None:
    arguments = envelopes, sequence, time, max_size, max_hops

    assert result_of(Envelope.admit, *arguments) == result_of(naive_admit, *arguments)
    assert Envelope.measure(iter(envelopes)) == sum(each.size for each in envelopes)


def test_equal_subjects_are_the_same_subject() -> None:
    one, same = (Envelope("".join(["a", ".", "b"]), MESSAGE) for _ in range(2))
    assert one.subject is not same.subject
    assert Envelope.admit([one, same], 0, 0.0, 1000, 16)[2]
    assert Envelope.admit((one, same), 0, 0.0, 1000, 16)[2]


def test_places_and_times_that_do_not_exist_are_refused() -> None:
    plain = Envelope("a", MESSAGE)
    assert Envelope.admit([plain], 2**64 - 2, 0.0, 1000, 16)[0][0].sequence == 2**64 - 2
    with pytest.raises(OverflowError):
        Envelope.admit([plain] * 2, 2**64 - 1, 0.0, 1000, 16)
    with pytest.raises(OverflowError):
        Envelope.admit([plain], -1, 0.0, 1000, 16)
    for time in float("nan"), float("inf"):
        with pytest.raises(ValueError, match="time must be finite"):
            Envelope.admit([plain], 0, time, 1000, 16)
    for admitted in (lambda: Envelope.admit([MESSAGE], 0, 0.0, 9, 9), lambda: Envelope.measure([None])):  # type: ignore[list-item]
        with pytest.raises(TypeError, match="not an Envelope"):
            admitted()


def test_what_is_admitted_is_passed_by_the_collector_and_freed_all_the_same() -> None:
    class Holder(list[object]):
        pass

    holder = Holder()
    message = Message("event", holder, MessageContext("b"))
    [admitted], _, _ = Envelope.admit([Envelope("a", message)], 1, 0.0, 1000, 16)
    gone = weakref.ref(holder)
    assert not gc.is_tracked(admitted)
    del holder, message, admitted

    assert gone() is None


def test_equality_is_of_all_fields() -> None:
    fields: dict[str, Any] = {"subject": "a", "message": MESSAGE, "reply": "b", "sequence": 1, "time": 2.0}
    fields |= {"attempt": 3, "stream": "c"}
    same = Envelope(**fields | {"message": Message.from_json(JSON)})
    others = [{"subject": "x"}, {"message": Message("event", 1, MessageContext("a"))}, {"reply": None}]
    others += [{"sequence": 9}, {"time": 9.0}, {"attempt": 9}, {"stream": None}]

    assert same == Envelope(**fields)
    assert hash(same) == hash(Envelope(**fields))
    assert all(same != Envelope(**fields | change) for change in others)
    assert same != "envelope"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(copied: Callable[[Envelope], Envelope]) -> None:
    for value in FULL, Envelope("a", Message.from_json(JSON)):
        assert copied(value) == value


def test_an_envelope_shows_its_fields() -> None:
    shown = repr(Envelope("a", MESSAGE, stream="s"))
    assert (
        shown == f"Envelope(subject='a', message={MESSAGE!r}, reply=None, sequence=0, time=0.0, attempt=1, stream='s')"
    )


@pytest.mark.parametrize("name", ["subject", "message", "reply", "sequence", "time", "attempt", "stream", "other"])
def test_an_envelope_does_not_change(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(FULL, name, "x")
    with pytest.raises(AttributeError):
        delattr(FULL, name)


WRONG: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "a subject of bytes": ({"subject": b"a"}, TypeError),
    "no subject": ({"subject": None}, TypeError),
    "a message that is a dict": ({"message": {}}, TypeError),
    "a reply that is a number": ({"reply": 7}, TypeError),
    "a sequence that is a float": ({"sequence": 1.0}, TypeError),
    "no sequence": ({"sequence": None}, TypeError),
    "a negative sequence": ({"sequence": -1}, OverflowError),
    "a sequence of 65 bits": ({"sequence": 2**64}, OverflowError),
    "a time that is a text": ({"time": "now"}, TypeError),
    "no time": ({"time": None}, TypeError),
    "a time that is not a number": ({"time": float("nan")}, ValueError),
    "an endless time": ({"time": float("-inf")}, ValueError),
    "a negative attempt": ({"attempt": -1}, OverflowError),
    "an attempt of 33 bits": ({"attempt": 2**32}, OverflowError),
    "a stream of bytes": ({"stream": b"a"}, TypeError),
    "a field of their own": ({"colour": "red"}, TypeError),
}


@pytest.mark.parametrize(("fields", "error"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_in_a_field_is_refused(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Envelope(**{"subject": "a", "message": MESSAGE} | fields)


def test_a_message_is_written_once_and_stays_what_was_written() -> None:
    content = {"a": 1}
    envelope = Envelope("a", Message("event", content, MessageContext("b")))

    size = envelope.size
    content["a"] = 1_000_000

    assert size == envelope.size == len(envelope.message.to_json())
    assert envelope.message.to_json() is envelope.message.to_json()
    assert Envelope.unpack(Envelope.pack(1, [envelope]))[1][0].message.content == {"a": 1}
    assert json.loads(envelope.frame(1))["message"]["content"] == {"a": 1}


def test_what_cannot_be_written_is_not_measured_and_not_packed() -> None:
    for content, error in (object(), TypeError), (float("nan"), InvalidMessageError), ("\ud800", UnicodeEncodeError):
        envelope = Envelope("a", Message("event", content, MessageContext("b")))
        for write in (lambda each: each.size, lambda each: each.frame(1), lambda each: Envelope.pack(1, [FULL, each])):
            with pytest.raises(error):
                write(envelope)


UNREADABLE = [("subject", ""), ("reply", "a..b"), ("reply", "a.*"), ("reply", ">")]
UNREADABLE += [(field, text) for field in ("subject", "reply", "stream") for text in ("a b", "é" * 128, "a\x00")]


@pytest.mark.parametrize(("field", "text"), UNREADABLE)
def test_what_no_reader_would_take_is_not_packed(field: str, text: str) -> None:
    fields: dict[str, Any] = {"subject": "a", "message": MESSAGE, field: text}
    for write in (lambda each: each.frame(1), lambda each: Envelope.pack(1, [each])):
        with pytest.raises(InvalidSubjectError):
            write(Envelope(**fields))


def test_a_subject_with_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        Envelope("\ud800", MESSAGE).frame(1)
    with pytest.raises(UnicodeEncodeError):
        Envelope.pack(1, [Envelope("a", MESSAGE, "\ud800")])


def test_only_envelopes_are_packed_and_from_whatever_has_them() -> None:
    def broken() -> Iterator[Envelope]:
        yield FULL
        raise KeyError("gone")

    assert Envelope.pack(1, iter([FULL, FULL])) == Envelope.pack(1, (FULL, FULL)) == Envelope.pack(1, [FULL] * 2)
    for wrong in [FULL, MESSAGE], [None], 7, None:
        with pytest.raises(TypeError):
            Envelope.pack(1, wrong)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        Envelope.pack(1, broken())
    for number in -1, 2**64:
        with pytest.raises(OverflowError):
            Envelope.pack(number, [])
        with pytest.raises(OverflowError):
            FULL.frame(number)


BATCH = Envelope.pack(5, [FULL, FULL])
BODY = BATCH.index(JSON)


def changed(place: int, data: bytes) -> bytes:
    return BATCH[:place] + data + BATCH[place + len(data) :]


HOSTILE = {
    "nothing": (b"", "at byte 0: it ends too early"),
    "text": (b"hello", "at byte 0: no batch of envelopes"),
    "another version": (changed(3, b"\x02"), "at byte 0: no batch of envelopes, or one of another version"),
    "2**32 - 1 envelopes": (changed(12, b"\xff" * 4), "at byte 16: 4294967295 envelopes do not fit"),
    "an envelope too many": (changed(12, b"\x03"), "ends too early"),
    "an envelope too few": (changed(12, b"\x01"), "something follows the last envelope"),
    "twice the same batch": (BATCH * 2, f"at byte {len(BATCH)}: something follows"),
    "a length beyond the data": (changed(16, b"\xff" * 4), "ends too early"),
    "a length of 0": (changed(16, b"\x00" * 4), "at byte 16: an envelope shorter than its head"),
    "a length within the texts": (changed(16, b"\x1c\x00\x00\x00"), "at byte 16: an envelope shorter than its head"),
    "a time that is no number": (changed(28, b"\xff" * 8), "a time that is not finite"),
    "an unknown format": (changed(40, b"\x02"), "at byte 40: a body of the unknown format 2"),
    "MessagePack that is JSON": (changed(40, b"\x01"), f"at byte {BODY + 1}: something follows"),
    "no subject": (changed(41, b"\x00"), "not a subject: it has an empty token"),
    "a subject with a wildcard": (changed(44, b"*"), "at byte 44: not a subject"),
    "a subject that is no UTF-8": (changed(45, b"\xff"), "at byte 45: no UTF-8"),
    "a reply that is none": (changed(54, b"."), "at byte 54: a reply that is not a subject"),
    "a stream that is none": (changed(64, b"\n"), "at byte 64: not the name of a stream"),
    "a message that is cut off": (changed(BODY + len(JSON) - 1, b" "), "it ends too early"),
    "a message with bad UTF-8": (
        changed(BODY + JSON.index("é".encode()), b"x"),
        f"at byte {BODY + JSON.index('é'.encode()) + 1}: no UTF-8",
    ),
    "a message with a member twice": (
        BATCH.replace(b'{"priority":1}', b'{"p":1, "p":2}'),
        "the same member a second time",
    ),
}


@pytest.mark.parametrize(("data", "problem"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_batch_is_refused_with_its_place(data: bytes, problem: str) -> None:
    with pytest.raises(MalformedMessageError, match=problem):
        Envelope.unpack(data)


def test_a_batch_that_is_cut_off_anywhere_is_refused() -> None:
    for length in range(len(BATCH)):
        with pytest.raises(MalformedMessageError) as refusal:
            Envelope.unpack(BATCH[:length])
        assert refusal.value.position <= length


def test_what_is_json_and_no_message_is_refused_by_pointer() -> None:
    with pytest.raises(InvalidMessageError) as refusal:
        Envelope.unpack(BATCH.replace(b'"event"', b'"evict"'))
    assert refusal.value.pointer == "/message_type"


def test_subjects_are_read_without_a_look_at_the_messages() -> None:
    assert Envelope.subjects(BATCH.replace(JSON, b"\xff" * len(JSON))) == ["orders.new"] * 2
    for name, (data, problem) in HOSTILE.items():
        if "message" not in name.lower():
            with pytest.raises(MalformedMessageError, match=problem):
                Envelope.subjects(data)


def test_limits_hold_for_what_was_translated_too() -> None:
    for data in BATCH, Envelope.pack(5, [FULL, FULL], msgpack=True):
        assert len(Envelope.unpack(data, max_envelopes=2, max_message=len(JSON))[1]) == 2
        with pytest.raises(MalformedMessageError, match="2 envelopes, where 1 are allowed"):
            Envelope.unpack(data, max_envelopes=1)
        with pytest.raises(MessageTooLargeError) as refusal:
            Envelope.unpack(data, max_message=len(JSON) - 1)
        assert (refusal.value.size, refusal.value.limit) == (len(JSON), len(JSON) - 1)
    large = Envelope("a", Message("event", "x" * 1_048_576, MessageContext("b")))
    with pytest.raises(MessageTooLargeError):
        Envelope.unpack(Envelope.pack(1, [large]))
    with pytest.raises(MalformedMessageError, match="4097 envelopes"):
        Envelope.unpack(Envelope.pack(1, [FULL] * 4097))


def test_a_batch_is_read_from_any_buffer_and_from_no_text() -> None:
    for data in bytearray(BATCH), memoryview(BATCH), memoryview(BATCH + b"x")[:-1]:
        assert Envelope.unpack(data) == (5, [FULL, FULL])
        assert Envelope.subjects(data) == ["orders.new"] * 2
    for wrong in "TKB", 7, None, [1], {}:
        with pytest.raises(TypeError):
            Envelope.unpack(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            Envelope.subjects(wrong)  # type: ignore[arg-type]


def test_an_envelope_and_a_content_that_refers_to_it_are_collected() -> None:
    class Holder(list[object]):
        pass

    holder = Holder()
    holder.append(Envelope("a", Message("event", holder, MessageContext("b"))))
    gone = weakref.ref(holder)
    del holder
    gc.collect()

    assert gone() is None
