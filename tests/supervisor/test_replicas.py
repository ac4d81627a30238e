"""Components with replicas: real processes, each with a port, a log, probes and restarts of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tekton.core.lifecycle import Change, ComponentState
from tekton.utils.tekton_errors import ComponentError, DependencyError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

MakePlane = Callable[..., Awaitable[Any]]
READY, FAILED = ComponentState.READY, ComponentState.FAILED
FOREVER = ["/bin/sleep", "600"]
NO_RESTART = {"policy": "no"}


def shell(script: str) -> list[str]:
    # The configuration has a meaning of its own for the dollar sign.
    return ["/bin/sh", "-c", script.replace("$", "$$")]


def pids(made: Any, component_id: str = "web") -> dict[int, int]:
    """The pid of each replica that runs."""
    views = [made.supervisor.process(record) for record in made.registry.instances(component_id)]
    return {view.replica: view.pid for view in sorted(views, key=lambda view: view.replica) if view.pid is not None}


async def test_each_replica_has_a_port_a_number_and_a_log_of_its_own(
    plane: MakePlane, free_port: int, until: Any
) -> None:
    script = "echo replica $TEKTON_REPLICA on $PORT; exec sleep 600"
    made = await plane(web={"command": shell(script), "port": free_port, "replicas": 3})

    assert await made.start_all() == {"web": (True, None), "web.1": (True, None), "web.2": (True, None)}

    for replica, name in enumerate(("web", "web.1", "web.2")):
        await until(lambda name=name: made.log(name))
        assert made.log(name) == f"replica {replica} on {free_port + replica}\n"
    records = made.registry.instances("web")
    assert {record.endpoint for record in records} == {f"http://127.0.0.1:{free_port + n}" for n in range(3)}
    assert {record.max_instances for record in records} == {3}
    assert list(pids(made)) == [0, 1, 2]


async def test_start_brings_up_what_is_missing_and_stop_ends_all(plane: MakePlane) -> None:
    made = await plane(web={"command": FOREVER, "replicas": 3})
    await made.supervisor.replicas.start("web")
    before = pids(made)
    await made.coordinator.stop_component("web.1")

    await made.supervisor.replicas.start("web")
    after = pids(made)
    await made.supervisor.replicas.stop("web")

    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] != before[1]
    assert {record.state for record in made.registry.instances("web")} == {ComponentState.STOPPED}
    assert made.guard.children == []


async def test_a_replica_that_fails_to_start_is_named_and_does_not_keep_the_others_down(plane: MakePlane) -> None:
    made = await plane(
        web={
            "command": shell("test $TEKTON_REPLICA != 1 || exit 7; echo up; exec sleep 600"),
            "ready": {"log": "up"},
            "replicas": 3,
            "restart": NO_RESTART,
        }
    )
    with pytest.raises(ComponentError, match=r"web\.1: failed: exit 7 before it was ready"):
        await made.supervisor.replicas.start("web")

    assert list(pids(made)) == [0, 2]
    assert made.state("web") is READY
    view = made.supervisor.view("web")
    assert view.note == "2 of 3 replicas can be used"


async def test_all_replicas_are_started_past_what_they_depend_on_or_rolled(plane: MakePlane) -> None:
    made = await plane(web={"command": FOREVER, "replicas": 2, "dependencies": ["db"]}, db={"command": FOREVER})
    with pytest.raises(DependencyError):
        await made.supervisor.replicas.start("web")

    await made.supervisor.replicas.start("web", force=True)
    before = pids(made)
    with pytest.raises(ComponentError, match="replica 0 did not come back"):
        await made.supervisor.replicas.roll("web")
    assert pids(made) == before
    await made.supervisor.replicas.roll("web", force=True)

    assert [set(before) & set(pids(made)), set(before.values()) & set(pids(made).values())] == [{0, 1}, set()]
    assert made.coordinator.explain("web").forced_past == ("db",)
    assert made.state("db") is None


async def test_a_replica_that_is_killed_comes_back_alone(plane: MakePlane, until: Any) -> None:
    made = await plane(recover=True, web={"command": FOREVER, "replicas": 3, "restart": {"backoff": [0.01, 0.01]}})
    await made.start_all()
    before = pids(made)

    os.kill(before[2], signal.SIGKILL)
    await until(lambda: pids(made).get(2, before[2]) != before[2])

    after = pids(made)
    assert (after[0], after[1]) == (before[0], before[1])
    restarts = {
        view.replica: view.restarts for view in map(made.supervisor.process, made.registry.instances("web")) if view
    }
    assert restarts == {0: 0, 1: 0, 2: 1}
    assert made.supervisor.view("web").restarts == 1


async def test_each_replica_is_probed_on_its_own_port(plane: MakePlane, free_port: int, until: Any) -> None:
    server = f"exec {sys.executable} -m http.server --bind 127.0.0.1 $PORT"
    made = await plane(
        web={"command": shell(server), "port": free_port, "replicas": 2, "ready": {"tcp": True, "interval": 0.05}}
    )
    assert {result[0] for result in (await made.start_all()).values()} == {True}


async def test_a_heartbeat_makes_only_its_own_replica_ready(plane: MakePlane, until: Any) -> None:
    made = await plane(web={"command": FOREVER, "replicas": 2, "ready": {"heartbeat": True}})
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(made.start_all())
        await until(lambda: len(pids(made)) == 2)
        first = made.coordinator.units.find("web")
        await made.registry.make_ready("web", first.instance_uuid)
        await until(lambda: not made.coordinator.in_flight("web"))
        assert made.coordinator.in_flight("web.1")
        await made.registry.make_ready("web", made.coordinator.units.find("web.1").instance_uuid)
    assert starting.result() == {"web": (True, None), "web.1": (True, None)}


class TestRolling:
    async def test_one_replica_at_a_time_is_drained_stopped_and_started(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER, "replicas": 3, "drain": 0.05})
        await made.start_all()
        before, seen = pids(made), []

        def note(change: Change) -> None:
            records = made.registry.instances("web")
            seen.append(sum(record.usable and record.serving for record in records))

        made.registry.feed.add_listener(note)
        await made.supervisor.replicas.roll("web")

        after = pids(made)
        assert not set(before.values()) & set(after.values())
        assert list(after) == [0, 1, 2]
        assert min(seen) == 2

    async def test_the_first_that_does_not_come_back_ends_it(self, plane: MakePlane, tmp_path: Path) -> None:
        broken = tmp_path / "broken"
        script = f"test ! -e {broken} || exit 9; echo up; exec sleep 600"
        web = {"command": shell(script), "ready": {"log": "up"}, "replicas": 3, "restart": NO_RESTART}
        made = await plane(web=web)
        await made.start_all()
        before = pids(made)
        broken.touch()

        with pytest.raises(ComponentError) as caught:
            await made.supervisor.replicas.roll("web")

        assert str(caught.value).startswith(
            "web: replica 0 did not come back, the others are left as they were: failed: exit 9 before it was ready"
        )
        assert pids(made) == {1: before[1], 2: before[2]}

    async def test_those_that_cannot_be_used_come_first(self, plane: MakePlane, until: Any) -> None:
        made = await plane(web={"command": FOREVER, "replicas": 3, "restart": NO_RESTART})
        await made.start_all()
        os.kill(pids(made)[2], signal.SIGKILL)
        await until(lambda: len(pids(made)) == 2)
        order: list[int] = []

        def note(change: Change) -> None:
            if change.kind == "registered":
                order.append(made.supervisor.process(change.record).replica)

        made.registry.feed.add_listener(note)
        await made.supervisor.replicas.roll("web")

        assert order == [2, 0, 1]

    async def test_of_one_replica_it_is_a_restart(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER})
        await made.start_all()
        before = made.pid("web")
        await made.supervisor.replicas.roll("web")
        assert made.pid("web") != before

    async def test_the_later_of_two_takes_over(self, plane: MakePlane) -> None:
        made = await plane(web={"command": FOREVER, "replicas": 3})
        await made.start_all()

        first, second = await asyncio.gather(
            made.supervisor.replicas.roll("web"), made.supervisor.replicas.roll("web"), return_exceptions=True
        )

        assert str(first) == "web: a later rolling restart has taken over"
        assert second is None
        assert len(pids(made)) == 3


async def test_the_whole_component_is_stopped_within_the_time_of_one_replica(plane: MakePlane) -> None:
    """Replicas are stopped beside one another: one that ignores SIGTERM costs its own patience only."""
    stubborn = "test $TEKTON_REPLICA != 0 || trap '' TERM; while :; do sleep 0.05; done"
    made = await plane(web={"command": shell(stubborn), "replicas": 3, "stop_timeout": 0.3})
    await made.start_all()

    results = await made.supervisor.stop()

    assert {name: result.success for name, result in results.items()} == {"web": True, "web.1": True, "web.2": True}
    assert made.guard.children == []
