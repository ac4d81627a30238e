"""The route of the resources: which history is answered."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.core.resource_monitor import ResourceMonitor
from tekton.gateway.errors import InvalidParameterError
from tekton.gateway.request import Request
from tekton.service.api.resources import ResourcesQuery, routes
from tekton.service.resources import show
from tekton.service.system import System
from tekton.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def monitor(clock: ManualClock) -> ResourceMonitor:
    made = ResourceMonitor(clock=clock)
    for at in range(3):
        values = {f"x{number}": float(number) for number in range(20)} | {"memory": at * 10.0}
        made._machine.append(clock.monotonic(), values)
        clock.advance(1)
    return made


async def ask(monitor: ResourceMonitor, **query: Any) -> Any:
    async def now() -> Any:
        return show(monitor.sample(), 1.0, [])

    (route,) = routes(cast(System, SimpleNamespace(resources=SimpleNamespace(monitor=monitor, now=now))))
    answer = await route.handler(cast(Request, SimpleNamespace(query=ResourcesQuery(**query))))
    return json.loads(answer.body)  # type: ignore[union-attr]


async def test_without_names_there_is_no_history_but_the_names_that_there_are(monitor: ResourceMonitor) -> None:
    answer = await ask(monitor)

    assert answer["history"] == {}
    assert {"memory", "x1"} <= set(answer["measured"])


async def test_history_is_answered_by_names_and_patterns(monitor: ResourceMonitor, clock: ManualClock) -> None:
    answer = await ask(monitor, history="x1*,memory,nothing", since=clock.time() - 3, until=clock.time() - 1)

    assert set(answer["history"]) == {"memory", *(f"x{number}" for number in (1, *range(10, 20)))}
    window = {"since": clock.time() - 3, "step": 1.0, "mean": [0.0, 10.0, 20.0]}
    assert answer["history"]["memory"] == window


async def test_coarse_slots_have_the_least_and_the_most_besides(monitor: ResourceMonitor, clock: ManualClock) -> None:
    answer = await ask(monitor, history="memory", since=clock.time() - 3, until=clock.time() - 3, resolution=60)

    assert answer["history"]["memory"]["step"] == 60
    assert answer["history"]["memory"]["low"] == [0.0]


async def test_too_many_at_once_are_refused(monitor: ResourceMonitor) -> None:
    with pytest.raises(InvalidParameterError, match="at most 16"):
        await ask(monitor, history="x*")
    with pytest.raises(InvalidParameterError, match="at most 16"):
        await ask(monitor, history=",".join(f"*{number}*" for number in range(100, 117)))


def test_the_route_is_for_who_may_read_metrics(tmp_path: Path) -> None:
    (route,) = routes(cast(System, SimpleNamespace()))

    assert route.permission == "metrics:read"
