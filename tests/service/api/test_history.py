"""`GET /api/history`, its samples, and what a time may look like in a query."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.history.store import MemoryTelemetryStore, Row
from tekton.core.uptime import Uptime
from tekton.gateway.decoding import decode_query
from tekton.gateway.errors import InvalidInputError, InvalidParameterError
from tekton.gateway.request import Request
from tekton.service.api import health
from tekton.service.api.history import SamplesQuery, moment_of, routes
from tekton.service.history import History
from tekton.service.lineup import LineUp
from tekton.service.system import System
from tekton.supervisor.supervisor import Supervisor
from tekton.testing.clock import ManualClock

BEGIN = 1_000_000.0


@pytest.fixture
async def history() -> AsyncIterator[History]:
    """An hour of samples of the machine."""
    clock = ManualClock(wall=BEGIN)
    store = MemoryTelemetryStore(clock=clock)
    registry = ComponentRegistry(clock=clock)
    history = History(
        store, registry, cast(LineUp, None), cast(Supervisor, None), Uptime(registry), sources=[], clock=clock
    )
    for minute in range(60):
        store.append("sample", [Row(clock.time(), "machine", b'{"cpu":%d,"disk":1.5}' % minute)])
        clock.advance(60)
    yield history
    await registry.close()


async def asked(history: History, path: str, query: str = "") -> Any:
    route = next(route for route in routes(cast(System, SimpleNamespace(history=history))) if route.path == path)
    decoded = None if route.query is None else decode_query(SamplesQuery, query)
    return await route.handler(cast(Request, SimpleNamespace(query=decoded)))


async def test_it_tells_what_is_kept(history: History) -> None:
    kept = await asked(history, "/api/history")

    assert (kept.path, kept.problem, kept.samples) == (None, None, ["machine"])
    assert kept.size_bytes > 1000
    assert {kind: (one.known_since, one.dropped) for kind, one in kept.kinds.items()} == dict.fromkeys(
        ("span", "sample", "state"), (BEGIN, 0)
    )


async def test_samples_of_the_last_day_are_a_table(history: History) -> None:
    found = await asked(history, "/api/history/samples", "of=machine")

    assert (found.columns, found.known_since, len(found.rows)) == (["cpu", "disk"], BEGIN, 60)
    assert found.rows[0] == [BEGIN, 0, 1.5]
    assert found.rows[-1] == [BEGIN + 59 * 60, 59, 1.5]


async def test_samples_have_the_range_and_the_columns_that_were_asked_for(history: History) -> None:
    query = f"of=machine&since=-10m&until={BEGIN + 55 * 60}&columns=disk,gpu&limit=3"

    found = await asked(history, "/api/history/samples", query)

    assert found.columns == ["disk", "gpu"]
    assert found.rows == [[BEGIN + minute * 60, 1.5, None] for minute in (52, 53, 54)]


async def test_of_what_nothing_is_known_there_are_no_rows(history: History) -> None:
    assert (await asked(history, "/api/history/samples", "of=nothing")).rows == []


@pytest.mark.parametrize(
    "query",
    ["", "of=", "of=machine&since=soon", "of=machine&until=-0.5h", "of=machine&limit=0", "of=a&columns=" + 51 * "a,"],
)
async def test_what_makes_no_sense_is_refused(history: History, query: str) -> None:
    with pytest.raises(InvalidInputError):
        await asked(history, "/api/history/samples", query)


def test_a_time_that_is_to_come_is_refused() -> None:
    assert moment_of("at", "1000000", BEGIN) == BEGIN
    with pytest.raises(InvalidParameterError, match="at: 1970-01-12T13:46:41Z is still to come"):
        moment_of("at", "1000001", BEGIN)


async def test_the_system_at_a_time_says_that_it_is_the_past(history: History) -> None:
    route = next(
        route
        for route in health.routes(
            cast(
                System,
                SimpleNamespace(
                    history=history,
                    registry=SimpleNamespace(incarnation=1, revision=1),
                    started_at=BEGIN,
                    config=SimpleNamespace(data_dir="/data"),
                ),
            )
        )
        if route.path == "/api/system"
    )

    answer: Any = await route.handler(cast(Request, SimpleNamespace(query=health.SystemQuery(at="-90s"))))

    assert (answer.components, answer.counts) == ([], {})
    assert (answer.past.at, answer.past.known_since, answer.past.running) == (BEGIN + 3510, BEGIN, True)
    assert answer.past.machine == {"cpu": 58, "disk": 1.5}
