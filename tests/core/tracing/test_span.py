import msgspec
import pytest

from tekton.core.tracing.span import Span, SpanEvent, cleaned
from tekton.utils.redaction import REDACTED


def made(**fields: object) -> Span:
    plain = Span(trace_id="a" * 32, span_id="b" * 16, name="work", component="x", started_at=1.0, duration=0.5)
    return msgspec.structs.replace(plain, **fields)


@pytest.mark.parametrize("where", ["attributes", "events"])
def test_what_has_a_secret_name_is_blacked_out(where: str) -> None:
    attributes = {"api_token": "canary-1", "password": "x", "tokens": 5, "harmless": "canary-2"}

    fields = {"attributes": attributes} if where == "attributes" else {"events": [SpanEvent("e", 1.0, attributes)]}
    span = cleaned(made(**fields))

    kept = span.attributes if where == "attributes" else span.events[0].attributes
    assert kept == {"api_token": REDACTED, "password": REDACTED, "tokens": 5, "harmless": "canary-2"}


def test_what_looks_like_a_secret_is_taken_out_of_texts() -> None:
    span = cleaned(
        made(
            name="GET http://user:canary-word@host/",
            message="refused: Bearer canary0123456789",
            attributes={"url": "http://host/?token=canary&page=2"},
            events=[SpanEvent("password=canary-word", 1.0)],
        )
    )

    assert "canary" not in str(span)
    assert span.attributes == {"url": f"http://host/?token={REDACTED}&page=2"}


def test_a_span_is_the_same_after_a_way_through_json() -> None:
    span = made(attributes={"a": 1, "b": "x", "c": True, "d": 0.5}, events=[SpanEvent("e", 1.5, {"n": 2})])

    assert msgspec.json.decode(msgspec.json.encode(span), type=Span) == span
