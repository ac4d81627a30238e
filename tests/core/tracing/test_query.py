import msgspec
import pytest

from tekton.core.history.store import MemoryTelemetryStore, Row
from tekton.core.tracing import query
from tekton.core.tracing.query import TraceQuery, page_of, trace_of
from tekton.core.tracing.span import Span, Status


def put(
    store: MemoryTelemetryStore, trace: int, name: str, at: float, *, component: str = "x", duration: float = 1.0,
    parent: str = "", status: Status = "unset",
) -> None:  # fmt: skip
    span = Span(
        trace_id=f"{trace:032x}", span_id=f"{name}-{at}", parent_id=parent, name=name, component=component,
        started_at=at, duration=duration, status=status,
    )  # fmt: skip
    store.append("span", [Row(at, component, msgspec.json.encode(span), span.trace_id)])


@pytest.fixture
def store() -> MemoryTelemetryStore:
    return MemoryTelemetryStore()


async def listed(store: MemoryTelemetryStore, limit: int = 100, **asked: object) -> list[int]:
    page = await page_of(store, TraceQuery(**asked), limit)  # type: ignore[arg-type]
    assert page.until is None
    return [int(one.trace_id, 16) for one in page.traces]


async def test_the_latest_comes_first_whole(store: MemoryTelemetryStore) -> None:
    put(store, 1, "a", 10.0)
    put(store, 2, "b", 20.0)
    put(store, 1, "a2", 30.0, parent="a-10.0")

    page = await page_of(store, TraceQuery(), 10)

    assert [(one.name, one.spans) for one in page.traces] == [("a", 2), ("b", 1)]
    assert {span.name for span in await trace_of(store, f"{1:032x}")} == {"a", "a2"}


async def test_a_span_that_was_sent_twice_is_one(store: MemoryTelemetryStore) -> None:
    put(store, 1, "a", 10.0)
    put(store, 1, "a", 10.0)

    assert len(await trace_of(store, f"{1:032x}")) == 1
    assert [one.spans for one in (await page_of(store, TraceQuery(), 10)).traces] == [1]


async def test_traces_are_found_by_what_is_known_of_them(store: MemoryTelemetryStore) -> None:
    put(store, 1, "GET /api/x", 10.0, component="rhetor", duration=5.0)
    put(store, 1, "search", 11.0, component="engram", parent="GET /api/x-10.0", status="error")
    put(store, 2, "POST /api/y", 20.0, component="rhetor")
    put(store, 3, "start engram", 30.0, component="tekton")

    assert await listed(store, component="rhetor") == [2, 1]
    assert await listed(store, component="engram") == [1]
    assert await listed(store, name="/API/") == [2, 1]
    assert await listed(store, min_duration=2.0) == [1]
    assert await listed(store, status="error") == [1]
    assert await listed(store, status="ok") == [3, 2]
    assert await listed(store, since=15.0) == [3, 2]
    assert await listed(store, until=25.0) == [2, 1]
    assert await listed(store, component="rhetor", status="error", since=0.0, name="get") == [1]
    assert await listed(store, component="nobody") == []


@pytest.mark.parametrize("rows", [3, 1000])
@pytest.mark.parametrize("component", [None, "x"])
async def test_pages_together_are_all_traces_once_each(
    store: MemoryTelemetryStore, monkeypatch: pytest.MonkeyPatch, rows: int, component: str | None
) -> None:
    monkeypatch.setattr(query, "_ROWS", rows)
    for at in range(60):
        # Each trace comes again and again, also with spans of others that are not asked for.
        put(store, at % 20, f"n{at}", float(at), component="x" if at % 3 else "y")
    put(store, 77, "all the time", 0.5)
    put(store, 77, "all the time", 59.5)

    found: list[int] = []
    until = float("inf")
    for _ in range(100):
        page = await page_of(store, TraceQuery(component=component, until=until), 4)
        found += [int(one.trace_id, 16) for one in page.traces]
        if page.until is None:
            break
        until = page.until

    assert sorted(found) == [*range(20), 77]
    assert found[0] == 77


async def test_a_page_ends_after_so_many_traces_whatever_was_found(
    store: MemoryTelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "MAX_EXAMINED", 5)
    for trace in range(12):
        put(store, trace, "rare" if trace == 0 else "usual", float(trace))

    first = await page_of(store, TraceQuery(name="rare"), 10)
    assert (first.traces, first.until is None) == ([], False)
    second = await page_of(store, TraceQuery(name="rare", until=first.until or 0.0), 10)
    third = await page_of(store, TraceQuery(name="rare", until=second.until or 0.0), 10)

    assert (len(second.traces), len(third.traces), third.until) == (0, 1, None)


async def test_many_spans_of_one_instant_do_not_make_it_endless(
    store: MemoryTelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_ROWS", 3)
    for number in range(10):
        put(store, number, "same", 5.0)

    assert 3 <= len((await page_of(store, TraceQuery(), 100)).traces) <= 10
