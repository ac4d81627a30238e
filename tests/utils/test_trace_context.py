import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import NonRecordingSpan as RemoteSpan
from opentelemetry.trace import SpanContext, TraceFlags, TraceState, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tekton.utils.trace_context import MAX_STATE, TraceContext, new_trace, parse, parse_state

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_a_header_says_trace_span_and_whether_it_is_sampled() -> None:
    assert parse(f"00-{TRACE}-{SPAN}-01") == TraceContext(TRACE, SPAN, True)
    assert parse(f"00-{TRACE}-{SPAN}-00") == TraceContext(TRACE, SPAN, False)


def test_what_is_read_is_told_again_without_flags_that_are_not_ours() -> None:
    found = parse(f"00-{TRACE}-{SPAN}-ff", "a=1")

    assert found is not None
    assert found.headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1"}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-010",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"CC-{TRACE}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01more",
        f"01-{TRACE}-{SPAN}-01.",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-\u0660\u0661",
        "00-" + "é" * 32 + f"-{SPAN}-01",
    ],
)
def test_what_does_not_conform_counts_as_absent(header: str) -> None:
    assert parse(header, "a=1") is None


@pytest.mark.parametrize("rest", ["", "-", "-what-the-future-will-be-like"])
def test_a_later_version_is_read_as_far_as_we_know_it(rest: str) -> None:
    found = parse(f"cc-{TRACE}-{SPAN}-01{rest}")

    assert found == TraceContext(TRACE, SPAN, True)
    assert found.traceparent() == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a=1", "a=1"),
        ("a=1,b=2", "a=1,b=2"),
        ("a=1 , \tb=2,,", "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        ("tenant@vendor=x", "tenant@vendor=x"),
        ("0tenant@vendor=x", "0tenant@vendor=x"),
        ("a=" + "x" * 256, "a=" + "x" * 256),
        ("a=with inner spaces", "a=with inner spaces"),
        ("a= b", "a= b"),
    ],
)
def test_a_state_that_conforms_is_kept(sent: str | list[str], kept: str) -> None:
    assert parse_state(sent) == kept


@pytest.mark.parametrize(
    "sent",
    [
        "a", "a=", "=1", "A=1", "0a=1", "a=1,a=2", "a=1=2", "a=" + "x" * 257, "a" * 257 + "=1", "a=é", "a=\x01",
        "tenant@=1", "@vendor=1", "tenant@toolongvendorname=1", "a@b@c=1", "a=1;b=2=3", "a b=1",
        ",".join(f"k{n}=1" for n in range(33)), "a=1," * 3000,
    ],
)  # fmt: skip
def test_a_state_that_does_not_conform_is_dropped_but_not_the_parent(sent: str) -> None:
    found = parse(f"00-{TRACE}-{SPAN}-01", sent)

    assert found == TraceContext(TRACE, SPAN, True, "")


def test_of_a_state_that_is_too_long_the_long_members_go_first_and_then_the_last() -> None:
    small = [f"k{n}=" + "v" * 60 for n in range(10)]
    long = "long=" + "x" * 200

    assert parse_state([long, *small[:8]]) == ",".join(small[:8])
    assert parse_state(small) == ",".join(small[:8])


def test_a_child_is_another_place_in_the_same_trace() -> None:
    parent = TraceContext(TRACE, SPAN, False, "a=1")

    child = parent.child()

    assert (child.trace_id, child.sampled, child.state) == (TRACE, False, "a=1")
    assert child.span_id != SPAN


def test_new_traces_have_ids_of_their_own() -> None:
    made = {new_trace() for _ in range(1000)}

    assert len({each.trace_id for each in made}) == len({each.span_id for each in made}) == 1000
    assert all(parse(each.traceparent()) == each for each in made)


_HEADERS = st.one_of(
    st.text(max_size=70),
    st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,4})?", fullmatch=True),
)


@given(_HEADERS)
def test_opentelemetry_reads_from_a_header_what_we_read(header: str) -> None:
    found = parse(header)

    theirs = get_current_span(TraceContextTextMapPropagator().extract({"traceparent": header})).get_span_context()
    # It reads surrounding space away, which a header that has come over HTTP does not have.
    if header == header.strip():
        ours = (0, 0) if found is None else (int(found.trace_id, 16), int(found.span_id, 16))
        assert ours == (theirs.trace_id, theirs.span_id)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_opentelemetry_sends_is_read(trace_id: int, span_id: int, sampled: bool) -> None:
    context = SpanContext(trace_id, span_id, True, TraceFlags(int(sampled)), TraceState([("a", "1"), ("t@v", "x y")]))
    sent: dict[str, str] = {}

    TraceContextTextMapPropagator().inject(sent, set_span_in_context(RemoteSpan(context)))

    assert parse(sent["traceparent"], sent["tracestate"]) == (
        f"{trace_id:032x}", f"{span_id:016x}", sampled, "a=1,t@v=x y",
    )  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.text(), max_size=40)))
def test_whatever_is_sent_the_state_is_short_and_reads_as_itself(sent: str | list[str]) -> None:
    kept = parse_state(sent)

    assert len(kept) <= MAX_STATE
    assert parse_state(kept) == kept
