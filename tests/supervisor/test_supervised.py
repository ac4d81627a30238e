"""One supervised component, with real processes: room on the machine, and what it does when a dependency is lost."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from registering import record_changes

from tekton.core.lifecycle import ComponentRecord, ComponentState
from tekton.supervisor import supervised

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

READY = ComponentState.READY
FOREVER = ["/bin/sleep", "600"]

MakePlane = Callable[..., Awaitable[Any]]


def record_of(made: Any, component_id: str = "web") -> ComponentRecord:
    record = made.registry.find(component_id)
    assert record is not None
    return record


class TestAdmission:
    async def test_a_component_waits_until_the_machine_has_room(
        self, plane: MakePlane, until: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "tekton.supervisor")
        made = await plane(
            big={"command": FOREVER, "constraints": {"memory_free_min": 1e9}}, small={"command": FOREVER}
        )
        note = lambda: (view := made.supervisor.view("big")) and view.note  # noqa: E731

        async with asyncio.TaskGroup() as group:
            starting = group.create_task(made.start_all())
            phase = lambda: made.coordinator.explain("big").phase or ""  # noqa: E731
            await until(lambda: made.state("small") is READY and note() and "memory" in phase())
            told, waited_for = note(), phase()
            await made.coordinator.stop_component("big")

        assert waited_for.startswith("memory_free_min: ")
        assert waited_for.endswith(" GiB free of 1000000000.0 wanted")
        assert told.startswith("waiting for memory_free_min: ")
        waits = [record.message for record in caplog.records if "waits for room" in record.message]
        assert [message.partition(": ")[0] for message in waits] == ["big waits for room"]
        assert starting.result()["small"] == (True, None)
        assert (made.supervisor.view("big").pid, made.supervisor.view("big").note) == (None, None)
        assert not made.guard.children[1:]

    async def test_without_room_until_the_timeout_the_start_fails_for_that(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER, "start_timeout": 2, "constraints": {"disk_free_min": 1e9}})

        ((success, error),) = (await made.start_all()).values()

        assert not success
        assert "not ready after 2 s (waiting for disk_free_min: " in error
        assert made.guard.children == []

    async def test_with_room_it_starts(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER, "constraints": {"memory_free_min": 0.001, "cpu_percent_max": 100}})

        assert await made.start_all() == {"web": (True, None)}

    async def test_what_one_was_admitted_for_another_waits_for_until_the_first_is_up(
        self, plane: MakePlane, until: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(supervised, "_LOOK", 0.05)
        up = tmp_path / "up"
        most = 0.7 * psutil.virtual_memory().available / 1024**3
        made = await plane(
            first={
                "command": FOREVER,
                "ready": {"exec": ["test", "-e", str(up)]},
                "constraints": {"memory_free_min": most},
            },
            second={"command": FOREVER, "constraints": {"memory_free_min": most}},
        )
        note = lambda name: (made.supervisor.view(name).note) or ""  # noqa: E731

        async with asyncio.TaskGroup() as group:
            group.create_task(made.coordinator.start_component("first"))
            await until(lambda: made.supervisor.view("first").pid)
            group.create_task(made.coordinator.start_component("second"))
            await until(lambda: note("second").startswith("waiting for memory_free_min: "))
            up.touch()

        assert (made.state("first"), made.state("second")) == (READY, READY)


class TestDependencyFailure:
    async def test_it_does_what_its_configuration_says(self, plane: MakePlane, until: Any) -> None:
        needs = {"command": FOREVER, "dependencies": ["base"]}
        made = await plane(
            base={"command": FOREVER, "restart": {"backoff": [0.05, 0.05]}},
            keeps=needs,
            degrades={**needs, "on_dependency_failure": "degrade"},
            restarts={**needs, "on_dependency_failure": "restart"},
            recover=True,
        )
        await made.start_all()
        pids = {name: made.pid(name) for name in ("keeps", "degrades", "restarts")}
        changes = record_changes(made.registry)

        os.kill(made.pid("base"), signal.SIGKILL)
        await until(lambda: made.supervisor.view("restarts").pid not in (None, pids["restarts"]))
        for name in pids:
            await made.reaches(name, READY)

        told = [(change.state, change.reason) for change in changes if change.component_id == "degrades"]
        assert told == [
            (ComponentState.DEGRADED, "dependency: base failed"),
            (READY, "its dependencies can be used again"),
        ]
        assert not any(change.component_id == "keeps" for change in changes)
        assert {name: made.pid(name) == pid for name, pid in pids.items()} == {
            "keeps": True,
            "degrades": True,
            "restarts": False,
        }
        assert made.supervisor.view("restarts").restarts == 0

    async def test_a_one_shot_that_is_done_is_not_missed(self, plane: MakePlane) -> None:
        after = [{"component": "job", "condition": "completed"}]
        web = {"command": FOREVER, "dependencies": after, "on_dependency_failure": "degrade"}
        made = await plane(job={"command": ["/bin/true"]}, web=web)

        await made.start_all()
        await made.reaches("job", ComponentState.STOPPED)

        assert record_of(made).state is READY
