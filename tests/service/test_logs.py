"""The logs of a system: what is told of them, to whom, and in which form."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tekton.gateway.errors import InvalidInputError
from tekton.gateway.sockets import Sub
from tekton.gateway.topics import TopicTable
from tekton.service.logs import SystemLogs, encoded
from tekton.supervisor.supervisor import Supervisor
from tekton.testing.clock import ManualClock
from tekton.utils.log_query import EVERYTHING

JSON_LINE = '{"time":"2026-01-31T12:00:00Z","level":"warn","msg":"slow","ms":12}'


def everything(_: str) -> bool:
    return True


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[SystemLogs]:
    specs = {"web": SimpleNamespace(replicas=1), "worker": SimpleNamespace(replicas=2)}
    logs = SystemLogs(cast(Supervisor, SimpleNamespace(specs=specs)), tmp_path, ManualClock())
    logs.feed._look = 0.001
    yield logs
    await logs.feed.stop()


def write(directory: Path, unit: str, *lines: str) -> None:
    with (directory / f"{unit}.log").open("a") as log:
        log.write("".join(f"{line}\n" for line in lines))


async def test_replicas_and_the_control_plane_have_logs_too(logs: SystemLogs, tmp_path: Path) -> None:
    assert list(logs.files()) == ["web", "worker", "worker.1", "tekton"]
    write(tmp_path, "worker.1", "one")
    write(tmp_path, "tekton", "two")

    page = await logs.page(EVERYTHING, 10, everything)

    assert {entry.unit for entry in page.entries} == {"worker.1", "tekton"}


async def test_only_what_may_be_seen_is_on_a_page(logs: SystemLogs, tmp_path: Path) -> None:
    for unit in logs.files():
        write(tmp_path, unit, unit)

    page = await logs.page(EVERYTHING, 10, lambda unit: unit.startswith("worker"))

    assert {entry.line.text for entry in page.entries} == {"worker", "worker.1"}
    assert page.rest == {}


async def test_a_line_is_told_with_what_it_says(logs: SystemLogs, tmp_path: Path) -> None:
    odd = '{"msg":"large","n":123456789012345678901234567890,"s":"\\ud800"}'
    write(tmp_path, "web", JSON_LINE, "plain", odd)

    page = await logs.page(EVERYTHING, 10, everything)

    first, second, third = json.loads(encoded(page.entries))
    told = {"component": "web", "line": JSON_LINE, "time": 1769860800.0, "level": "warning"}
    assert first == told | {"message": "slow", "fields": {"ms": 12}}
    assert second == {"component": "web", "line": "plain", "time": 1769860800.0}
    assert third == {"component": "web", "line": odd, "time": 1769860800.0}


async def next_of(source: Any) -> Any:
    async with asyncio.timeout(10):
        return await anext(source)


async def test_who_follows_gets_the_last_lines_and_then_each_new_one_once(logs: SystemLogs, tmp_path: Path) -> None:
    write(tmp_path, "web", "one", "two", "three")
    events = logs.events(EVERYTHING, 2, everything)

    past = await next_of(events)
    write(tmp_path, "web", "four")
    new = await next_of(events)
    await events.aclose()

    assert past == b'data: {"component":"web","line":"two"}\n\ndata: {"component":"web","line":"three"}\n\n'
    assert new == b'data: {"component":"web","line":"four"}\n\n'


async def test_the_topic_tells_lines_that_come_of_what_may_be_seen(logs: SystemLogs, tmp_path: Path) -> None:
    topics = TopicTable({"logs": logs.topic()})
    frames = topics.open(Sub(id=3, topic="logs", query="-noise"), lambda unit: unit == "web")

    begun = await next_of(frames)
    write(tmp_path, "worker", "not for you")
    write(tmp_path, "web", "noise", "signal")

    assert json.loads(begun) == {"id": 3, "t": "lines", "data": []}
    assert json.loads(await next_of(frames)) == {
        "id": 3,
        "t": "lines",
        "data": [{"component": "web", "line": "signal"}],
    }
    await frames.aclose()


async def test_the_topic_tells_how_many_lines_were_dropped(logs: SystemLogs, tmp_path: Path) -> None:
    frames = TopicTable({"logs": logs.topic()}).open(Sub(id=1, topic="logs"), everything)
    await next_of(frames)
    write(tmp_path, "web", *map(str, range(1500)))

    lines: list[str] = []
    dropped = 0
    while len(lines) + dropped < 1500:
        frame = json.loads(await next_of(frames))
        lines += [item["line"] for item in frame.get("data", [])]
        dropped += frame.get("dropped", 0)

    assert lines[-1] == "1499"
    assert dropped >= 500
    await frames.aclose()


async def test_a_query_with_a_mistake_is_refused_at_once(logs: SystemLogs) -> None:
    with pytest.raises(InvalidInputError) as raised:
        TopicTable({"logs": logs.topic()}).open(Sub(id=1, topic="logs", query="levle:info"), everything)

    assert (raised.value.pointer, raised.value.hint) == ("/query", "did you mean 'level'?")
