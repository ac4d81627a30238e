"""Reading ProtoJSON: the same as the parser of protobuf reads, and what is refused."""

import base64
import json
from typing import Any

import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton.service.edge.a2a.protojson import MOST_ITEMS, UnreadableError, read
from tekton.service.edge.a2a.wire import (
    ListTasksRequest,
    Message,
    Role,
    SendMessageRequest,
    State,
    TaskRequest,
    encode,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
CONTENT = st.one_of(
    st.builds(lambda text: {"text": text}, TEXT),
    st.builds(lambda raw: {"raw": base64.b64encode(raw).decode()}, st.binary(max_size=6)),
    st.builds(lambda raw: {"raw": base64.urlsafe_b64encode(raw).decode().rstrip("=")}, st.binary(max_size=6)),
    st.builds(lambda url: {"url": url}, TEXT),
    st.builds(lambda data: {"data": data}, JSON),
)


def either(camel: str, snake: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A member under one of its names, or not at all, or null."""
    return st.one_of(
        st.just({}), *(st.builds(lambda value, name=name: {name: value}, values | st.none()) for name in (camel, snake))
    )


def joined(*members: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with all of *members*, and one that nobody knows."""
    return st.tuples(*members).map(lambda found: {"unknownToAll": 1} | {k: v for one in found for k, v in one.items()})


PARTS = joined(
    CONTENT,
    either("mediaType", "media_type", TEXT),
    either("filename", "filename", TEXT),
    either("metadata", "metadata", OBJECTS),
)
MESSAGES = joined(
    either("messageId", "message_id", TEXT),
    either("contextId", "context_id", TEXT),
    either("taskId", "task_id", TEXT),
    either("role", "role", st.sampled_from(["ROLE_USER", "ROLE_AGENT", "ROLE_UNSPECIFIED", 0, 1, 2])),
    either("parts", "parts", st.lists(PARTS, max_size=3)),
    either("referenceTaskIds", "reference_task_ids", st.lists(TEXT, max_size=2)),
    either("metadata", "metadata", OBJECTS),
)


@settings(max_examples=50)
@given(MESSAGES)
def test_a_message_is_read_as_protobuf_reads_it(value: dict[str, Any]) -> None:
    expected = ParseDict(value, pb.Message(), ignore_unknown_fields=True)

    ours = ParseDict(json.loads(encode(read(Message, value))), pb.Message())
    assert MessageToDict(ours) == MessageToDict(expected)


@pytest.mark.parametrize("length", [5, "5", 5.0, "5.0", 0, -1, 2**31 - 1])
def test_whole_numbers_may_be_written_in_several_ways(length: Any) -> None:
    assert read(TaskRequest, {"historyLength": length}).history_length == int(float(length))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01t02:00:00.500+02:00", 0.5),
        ("1970-01-01T00:00:00.123456789z", 0.123456),
    ],
)
def test_times_are_seconds_since_1970(text: str, seconds: float) -> None:
    assert read(ListTasksRequest, {"statusTimestampAfter": text}).status_timestamp_after == seconds


def test_enums_are_names_or_numbers() -> None:
    assert read(Message, {"role": 2}).role is read(Message, {"role": "ROLE_AGENT"}).role is Role.AGENT
    assert read(ListTasksRequest, {"status": "6"}).status is State.INPUT_REQUIRED
    assert [one.value for one in State] == pb.TaskState.keys()
    assert [one.value for one in Role] == pb.Role.keys()


def test_null_is_no_value_except_where_any_json_may_stand() -> None:
    (part,) = read(Message, {"parts": [{"text": None, "data": None}]}).parts

    assert part.data is None
    assert encode(part) == b'{"data":null}'


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (SendMessageRequest, [], ""),
        (SendMessageRequest, {"message": []}, "message"),
        (SendMessageRequest, {"message": {"parts": {}}}, "message.parts"),
        (SendMessageRequest, {"message": {"parts": [{"text": 1}]}}, "message.parts[0].text"),
        (SendMessageRequest, {"message": {"parts": [{}, {"raw": "*"}]}}, "message.parts[1].raw"),
        (SendMessageRequest, {"message": {"parts": [{"raw": "a"}]}}, "message.parts[0].raw"),
        (SendMessageRequest, {"message": {"parts": [{"text": "a", "url": "b"}]}}, "message.parts[0]"),
        (SendMessageRequest, {"message": {"parts": [{}] * (MOST_ITEMS + 1)}}, "message.parts"),
        (SendMessageRequest, {"message": {"messageId": "a", "message_id": "a"}}, "message.message_id"),
        (SendMessageRequest, {"message": {"role": "ROLE_KING"}}, "message.role"),
        (SendMessageRequest, {"message": {"role": True}}, "message.role"),
        (SendMessageRequest, {"message": {"metadata": []}}, "message.metadata"),
        (SendMessageRequest, {"configuration": {"returnImmediately": 1}}, "configuration.returnImmediately"),
        (TaskRequest, {"historyLength": 5.5}, "historyLength"),
        (TaskRequest, {"historyLength": True}, "historyLength"),
        (TaskRequest, {"historyLength": 2**31}, "historyLength"),
        (TaskRequest, {"historyLength": "1e400"}, "historyLength"),
        (TaskRequest, {"historyLength": 10**400}, "historyLength"),
        (TaskRequest, {"id": 5}, "id"),
        (ListTasksRequest, {"statusTimestampAfter": "2025-01-01"}, "statusTimestampAfter"),
        (ListTasksRequest, {"statusTimestampAfter": "2025-13-01T00:00:00Z"}, "statusTimestampAfter"),
        (ListTasksRequest, {"statusTimestampAfter": 5}, "statusTimestampAfter"),
        (ListTasksRequest, {"status": 9}, "status"),
    ],
    ids=str,
)
def test_what_does_not_belong_there_is_refused_by_its_place(kind: Any, value: Any, field: str) -> None:
    with pytest.raises(UnreadableError) as refused:
        read(kind, value)

    assert refused.value.field == field
    assert refused.value.problem
