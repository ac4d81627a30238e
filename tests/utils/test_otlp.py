import base64
import gzip
import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as ProtoStatus

from tekton.core.tracing.span import (
    MAX_ATTRIBUTES,
    MAX_EVENTS,
    MAX_NAME,
    MAX_SIZE,
    MAX_TEXT,
    Span,
    SpanEvent,
    size_of,
)
from tekton.utils.otlp import (
    MAX_SPANS,
    MAX_UNPACKED,
    Encoding,
    OtlpError,
    OtlpTooLargeError,
    decode,
    encode,
    problem,
    response,
    unpack,
)
from tekton.utils.otlp_protobuf import MAX_FIELDS
from tekton.utils.protobuf_wire import field

TRACE = bytes(range(16))
SPAN = bytes(range(1, 9))


def proto_span(**fields: Any) -> ProtoSpan:
    return ProtoSpan(**{"trace_id": TRACE, "span_id": SPAN, "name": "work", **fields})


def request(*spans: ProtoSpan, **resource: Any) -> ExportTraceServiceRequest:
    pairs = [KeyValue(key=key.replace("_", "."), value=AnyValue(string_value=text)) for key, text in resource.items()]
    scope = ScopeSpans(scope=InstrumentationScope(name="any"), spans=spans)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=Resource(attributes=pairs), scope_spans=[scope])]
    )


def as_json(message: ExportTraceServiceRequest) -> bytes:
    """As OTLP has it: protobuf's JSON, but ids in hexadecimal digits and enumerations as numbers."""

    def hexadecimal(value: Any) -> Any:
        if isinstance(value, dict):
            ids = ("traceId", "spanId", "parentSpanId")
            return {k: base64.b64decode(v).hex() if k in ids else hexadecimal(v) for k, v in value.items()}
        return [hexadecimal(one) for one in value] if isinstance(value, list) else value

    return json.dumps(hexadecimal(MessageToDict(message, use_integers_for_enums=True))).encode()


def both(message: ExportTraceServiceRequest) -> list[Span]:
    """The spans, which must be the same in either encoding."""
    read = decode(message.SerializeToString(), "protobuf")
    assert read == decode(as_json(message), "json")
    return read.spans


def attributes_of(**values: AnyValue) -> Any:
    [span] = both(request(proto_span(attributes=[KeyValue(key=key, value=value) for key, value in values.items()])))
    return span.attributes


def test_a_span_is_read_from_either_encoding() -> None:
    sent = proto_span(
        parent_span_id=b"parentid",
        kind=ProtoSpan.SPAN_KIND_SERVER,
        start_time_unix_nano=1_700_000_000_250_000_000,
        end_time_unix_nano=1_700_000_001_000_000_000,
        attributes=[KeyValue(key="http.route", value=AnyValue(string_value="/x"))],
        events=[
            ProtoSpan.Event(
                name="retry",
                time_unix_nano=1_700_000_000_500_000_000,
                attributes=[KeyValue(key="n", value=AnyValue(int_value=2))],
            )
        ],
        status=ProtoStatus(code=ProtoStatus.STATUS_CODE_ERROR, message="too late"),
        dropped_attributes_count=3,
        links=[ProtoSpan.Link(trace_id=TRACE, span_id=SPAN)],
    )

    assert both(request(sent, service_name="rhetor", service_instance_id="one")) == [
        Span(
            trace_id=TRACE.hex(),
            span_id=SPAN.hex(),
            parent_id=b"parentid".hex(),
            name="work",
            kind="server",
            component="rhetor",
            instance="one",
            started_at=1_700_000_000.25,
            duration=0.75,
            status="error",
            message="too late",
            attributes={"http.route": "/x"},
            events=[SpanEvent("retry", 1_700_000_000.5, {"n": 2})],
            dropped=4,
        )
    ]


def test_values_keep_their_kind_and_lists_become_text() -> None:
    numbers = ArrayValue(values=[AnyValue(int_value=1), AnyValue(string_value="x")])
    pairs = KeyValueList(values=[KeyValue(key="k", value=AnyValue(bool_value=True))])

    assert attributes_of(
        text=AnyValue(string_value="é"), yes=AnyValue(bool_value=True), low=AnyValue(int_value=-(2**63)),
        real=AnyValue(double_value=0.5), nan=AnyValue(double_value=math.nan), endless=AnyValue(double_value=-math.inf),
        raw=AnyValue(bytes_value=b"\x00\xff"), many=AnyValue(array_value=numbers), pairs=AnyValue(kvlist_value=pairs),
        none=AnyValue(),
    ) == {
        "text": "é", "yes": True, "low": -(2**63), "real": 0.5, "nan": "nan", "endless": "-inf", "raw": "AP8=",
        "many": '[1,"x"]', "pairs": '{"k":true}', "none": "",
    }  # fmt: skip


def test_the_resource_may_come_after_its_spans() -> None:
    whole = request(proto_span(), service_name="late").resource_spans[0]
    scopes = ResourceSpans(scope_spans=whole.scope_spans).SerializeToString()
    resource = ResourceSpans(resource=whole.resource).SerializeToString()

    [span] = decode(field(1, scopes + resource), "protobuf").spans

    assert span.component == "late"


def test_who_gives_no_name_is_an_unknown_service() -> None:
    assert both(request(proto_span()))[0].component == "unknown_service"


def test_a_span_ends_no_earlier_than_it_begins() -> None:
    [span] = both(request(proto_span(start_time_unix_nano=2_000_000_000, end_time_unix_nano=1)))

    assert span.duration == 0


@pytest.mark.parametrize(
    "span",
    [
        proto_span(trace_id=b""),
        proto_span(trace_id=bytes(16)),
        proto_span(trace_id=bytes(range(15))),
        proto_span(span_id=bytes(8)),
        proto_span(span_id=bytes(range(9))),
    ],
)
def test_a_span_that_nobody_could_find_again_is_left_out_and_told_of(span: ProtoSpan) -> None:
    message = request(span, proto_span())

    for encoding, body in (("protobuf", message.SerializeToString()), ("json", as_json(message))):
        read = decode(body, encoding)  # type: ignore[arg-type]
        assert (len(read.spans), read.rejected) == (1, 1)
        assert "is missing" in read.reason


def test_the_answer_is_empty_unless_spans_were_left_out() -> None:
    read = decode(request(proto_span()).SerializeToString(), "protobuf")

    assert response(read, "protobuf") == b""
    assert response(read, "json") == b"{}"


def test_the_answer_says_how_many_were_left_out() -> None:
    read = decode(request(proto_span(trace_id=b"short")).SerializeToString(), "protobuf")

    said = ExportTraceServiceResponse.FromString(response(read, "protobuf"))
    assert (said.partial_success.rejected_spans, said.partial_success.error_message) == (1, read.reason)
    assert json.loads(response(read, "json")) == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": read.reason}}


def test_a_refusal_is_a_status() -> None:
    # google.rpc.Status: field 2 is the message.
    assert problem("why", "protobuf") == b"\x12\x03why"
    assert json.loads(problem("why", "json")) == {"message": "why"}


def test_what_is_too_much_of_a_span_is_left_out_and_counted() -> None:
    long = [KeyValue(key=f"k{n}" + "x" * 200, value=AnyValue(string_value="v" * 5000)) for n in range(5)]
    many = [*long, *(KeyValue(key=f"n{n}", value=AnyValue(int_value=n)) for n in range(35))]
    sent = proto_span(name="n" * 500, attributes=many, events=[ProtoSpan.Event(name="e")] * 20)

    [span] = both(request(sent, service_name="s" * 300))

    assert (len(span.attributes), len(span.events), span.dropped) == (MAX_ATTRIBUTES, MAX_EVENTS, 8 + 4)
    assert {len(span.name), len(span.component), *map(len, list(span.attributes)[:5])} == {MAX_NAME}
    assert {len(str(value)) for value in list(span.attributes.values())[:5]} == {MAX_TEXT}


@pytest.mark.parametrize("kind", ["array", "pairs"])
def test_values_that_lie_deep_in_one_another_are_cut_off(kind: str) -> None:
    def nest(depth: int) -> AnyValue:
        value = AnyValue(string_value="deep")
        for _ in range(depth):
            value = (
                AnyValue(array_value=ArrayValue(values=[value]))
                if kind == "array"
                else AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value)]))
            )
        return value

    assert "deep" in attributes_of(value=nest(4))["value"]
    assert "deep" not in attributes_of(value=nest(20))["value"]


def test_values_that_lie_deeper_than_protobuf_itself_reads_do_no_harm() -> None:
    value = b""
    for _ in range(5000):
        value = field(5, field(1, value))
    pair = field(1, b"k") + field(2, value)
    span = field(1, TRACE) + field(2, SPAN) + field(9, pair)

    assert decode(field(1, field(2, field(2, span))), "protobuf").spans[0].attributes.keys() == {"k"}
    nested = b'{"stringValue":"x"}'
    for _ in range(20_000):
        nested = b'{"arrayValue":{"values":[' + nested + b"]}}"
    with pytest.raises(OtlpError):
        decode(b'{"resourceSpans":[{"resource":{"attributes":[{"value":' + nested + b"}]}}]}", "json")


def test_of_one_request_only_so_many_spans_are_kept() -> None:
    read = decode(request(*[proto_span()] * (MAX_SPANS + 5)).SerializeToString(), "protobuf")

    assert (len(read.spans), read.rejected) == (MAX_SPANS, 5)


def test_fields_of_a_later_version_are_passed_over() -> None:
    body = request(proto_span()).SerializeToString() + field(99, b"\xff") + b"\xc0\x3e\x01"
    later = json.dumps({**json.loads(as_json(request(proto_span()))), "newField": {"x": [1]}}).encode()

    assert (
        decode(body, "protobuf")
        == decode(later, "json")
        == decode(request(proto_span()).SerializeToString(), "protobuf")
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"nothing", b'{"resourceSpans":{}}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":1}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":"SPAN_KIND_SERVER"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"-1"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e30}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":18446744073709551616}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\xff"}]}]}]}',
    ],
)  # fmt: skip
def test_json_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(OtlpError):
        decode(body, "json")


def test_what_is_null_is_absent() -> None:
    body = (
        b'{"resourceSpans":[null]}',
        b'{"resourceSpans":null}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":null}]}]}',
    )

    assert decode(body[1], "json").spans == decode(body[2], "json").spans == []


def test_numbers_may_be_written_as_text_or_not() -> None:
    def spans(start: str, value: str) -> list[Span]:
        span = f'"traceId":"{TRACE.hex().upper()}","spanId":"{SPAN.hex()}","startTimeUnixNano":{start}'
        pair = f'{{"key":"n","value":{{"intValue":{value}}}}}'
        body = f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{span},"attributes":[{pair}]}}]}}]}}]}}'
        return decode(body.encode(), "json").spans

    assert spans("1000000000", "7") == spans('"1000000000"', '"7"')
    assert spans("1", '"seven"')[0].attributes == {"n": "seven"}


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_an_empty_request_has_no_spans(encoding: Encoding) -> None:
    assert decode(b"", encoding).spans == []


def test_a_packed_body_is_unpacked() -> None:
    assert unpack(gzip.compress(b"x" * 100_000), "gzip") == b"x" * 100_000
    assert unpack(b"x", "") == unpack(b"x", "identity") == b"x"


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", "x" * 500])
def test_other_ways_to_pack_are_refused(encoding: str) -> None:
    with pytest.raises(OtlpError, match="use gzip"):
        unpack(b"", encoding)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"not gzip", gzip.compress(b"x")[:-4],
        gzip.compress(b"x") + b"more", gzip.compress(b"a") + gzip.compress(b"b"),
    ],
    ids=["nothing", "another", "cut off", "more behind it", "two"],
)  # fmt: skip
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(OtlpError, match="gzip"):
        unpack(body, "gzip")


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(8 * MAX_UNPACKED))
    tracemalloc.start()
    try:
        with pytest.raises(OtlpTooLargeError):
            unpack(bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 3 * MAX_UNPACKED


def _hostile() -> dict[str, tuple[Encoding, bytes]]:
    size = 64 * 1024
    tiny = field(1, TRACE) + field(2, SPAN)
    many_attributes = tiny + b"\x4a\x00" * 8_000
    objects = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 8_000 + b"{}]}]}]}"
    return {
        "empty resources": ("protobuf", b"\x0a\x00" * (size // 2)),
        "empty spans": ("protobuf", field(1, field(2, b"\x12\x00" * (size // 2)))),
        "small spans": ("protobuf", field(1, field(2, field(2, tiny) * (size // 34)))),
        "attributes": ("protobuf", field(1, field(2, field(2, many_attributes) * 4))),
        "events": ("protobuf", field(1, field(2, field(2, tiny + b"\x5a\x00" * (size // 2))))),
        "objects": ("json", objects),
        "lists": ("json", b'{"x":' + b"[" * 500 + b"]" * 500 + b"}"),
        "text": ("json", b'{"resourceSpans":"' + b"x" * size + b'"}'),
    }


@pytest.mark.parametrize("name", _hostile())
def test_what_is_made_of_a_body_is_a_small_multiple_of_it(name: str) -> None:
    encoding, body = _hostile()[name]
    tracemalloc.start()
    try:
        try:
            decode(body, encoding)
        except OtlpError:
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 256 * 1024 + 100 * len(body)


def test_of_a_span_that_is_long_altogether_the_end_is_left_out_and_counted() -> None:
    long = [KeyValue(key=f"k{n}", value=AnyValue(string_value="v" * MAX_TEXT)) for n in range(10)]
    event = ProtoSpan.Event(name="e", attributes=long)

    [span] = both(request(proto_span(attributes=long, events=[event, event])))

    assert (len(span.attributes), [len(one.attributes) for one in span.events], span.dropped) == (10, [5, 0], 15)
    assert size_of(span) < MAX_SIZE + 1000


@pytest.mark.parametrize(
    "repeated",
    [
        pytest.param(lambda many: field(1, many * b"\x12\x00"), id="resources"),
        pytest.param(lambda many: field(1, field(2, many * b"\x12\x00")), id="spans"),
        pytest.param(lambda many: field(1, field(2, field(2, many * b"\x4a\x00"))), id="attributes"),
        pytest.param(lambda many: many * b"\x0b\x0c", id="groups"),
    ],
)
def test_protobuf_of_more_fields_than_any_exporter_sends_is_not_read_to_its_end(
    repeated: Callable[[int], bytes],
) -> None:
    with pytest.raises(OtlpTooLargeError):
        decode(repeated(MAX_FIELDS + 1), "protobuf")


def test_spans_that_cannot_be_kept_count_among_those_that_are_looked_at() -> None:
    bad = field(2, b"")
    good = request(proto_span()).resource_spans[0].scope_spans[0].spans[0].SerializeToString()

    received = decode(field(1, field(2, bad * MAX_SPANS + field(2, good))), "protobuf")

    assert (received.spans, received.rejected) == ([], MAX_SPANS + 1)


def test_json_of_more_objects_than_any_exporter_sends_is_not_even_read() -> None:
    with pytest.raises(OtlpTooLargeError):
        decode(b'{"resourceSpans":[' + b"{}," * 300_000 + b"{}]}", "json")


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES: st.SearchStrategy[AnyValue] = st.recursive(
    st.one_of(
        st.builds(AnyValue, string_value=_TEXT),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=st.floats()),
        st.builds(AnyValue, bytes_value=st.binary(max_size=20)),
        st.just(AnyValue()),
    ),
    lambda inner: st.one_of(
        st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(inner, max_size=4))),
        st.builds(
            AnyValue,
            kvlist_value=st.builds(
                KeyValueList, values=st.lists(st.builds(KeyValue, key=_TEXT, value=inner), max_size=4)
            ),
        ),
    ),
    max_leaves=8,
)
_PAIRS = st.lists(st.builds(KeyValue, key=_TEXT, value=_VALUES), max_size=5)
_INSTANTS = st.integers(0, 2**64 - 1)
_SPANS = st.builds(
    ProtoSpan,
    trace_id=st.one_of(st.binary(min_size=16, max_size=16), st.binary(max_size=17)),
    span_id=st.one_of(st.binary(min_size=8, max_size=8), st.binary(max_size=9)),
    parent_span_id=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    name=_TEXT,
    kind=st.sampled_from(ProtoSpan.SpanKind.values()),
    start_time_unix_nano=_INSTANTS,
    end_time_unix_nano=_INSTANTS,
    attributes=_PAIRS,
    events=st.lists(st.builds(ProtoSpan.Event, name=_TEXT, time_unix_nano=_INSTANTS, attributes=_PAIRS), max_size=3),
    status=st.builds(ProtoStatus, message=_TEXT, code=st.sampled_from(ProtoStatus.StatusCode.values())),
    dropped_attributes_count=st.integers(0, 2**32 - 1),
)
_REQUESTS = st.builds(lambda spans, name: request(*spans, service_name=name), st.lists(_SPANS, max_size=4), _TEXT)


@settings(max_examples=40)
@given(_REQUESTS)
def test_the_same_is_read_from_both_encodings_whatever_is_sent(message: ExportTraceServiceRequest) -> None:
    spans = both(message)

    sent = message.resource_spans[0].scope_spans[0].spans
    valid = [
        one
        for one in sent
        if len(one.trace_id) == 16 and len(one.span_id) == 8 and any(one.trace_id) and any(one.span_id)
    ]
    assert [(one.trace_id, one.span_id, one.name, len(one.events)) for one in spans] == [
        (one.trace_id.hex(), one.span_id.hex(), one.name, len(one.events)) for one in valid
    ]


@settings(max_examples=40)
@given(_REQUESTS)
def test_what_we_write_is_read_as_it_was(message: ExportTraceServiceRequest) -> None:
    spans = [
        # Instants are seconds here; nanoseconds come back as well as those can say.
        Span(
            **{name: getattr(one, name) for name in one.__struct_fields__}
            | {"started_at": 5.25, "duration": 0.5, "events": []}
        )
        for one in both(message)
    ]

    assert decode(encode(spans), "json").spans == spans


@settings(max_examples=60)
@given(_REQUESTS, st.data())
def test_bytes_that_are_damaged_are_read_or_refused_as_protobuf_does(
    message: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))

    try:
        read = decode(bytes(body), "protobuf")
    except OtlpError:
        with pytest.raises(DecodeError):
            ExportTraceServiceRequest.FromString(bytes(body))
        return
    assert len(read.spans) + read.rejected >= 0
