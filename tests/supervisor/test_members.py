"""Who is supervised changes while the system runs: real processes, whatever they are doing at that moment.

`TEKTON_CHANGES` sets how many steps the random sequences take (default 25), `TEKTON_SEED` the first seed (default 0).
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.core.lifecycle import ComponentState
from tekton.supervisor.members import stop_time
from tekton.supervisor.supervised import fingerprint
from tekton.utils.config_schema import ProbeSpec
from tekton.utils.tekton_config import BreakerSpec, ComponentSpec, DependencySpec, RestartSpec
from tekton.utils.tekton_errors import ComponentError, ComponentNotFoundError, TektonError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the guard")

STEPS = int(os.environ.get("TEKTON_CHANGES", "25"))
SEED = int(os.environ.get("TEKTON_SEED", "0"))

MakePlane = Callable[..., Awaitable[Any]]
READY, FAILED, STARTING = ComponentState.READY, ComponentState.FAILED, ComponentState.STARTING
SLOW_TO_STOP = "trap 'sleep 0.3; exit' TERM; while :; do sleep 0.05; done"
NEVER = ProbeSpec(log="never")


def spec(name: str = "web", *command: str, **more: Any) -> ComponentSpec:
    more.setdefault("restart", RestartSpec(policy="no"))
    return ComponentSpec(name=name, command=list(command) or ["/bin/sleep", "600"], stop_timeout=5, **more)


def changed(old: ComponentSpec, **changes: Any) -> ComponentSpec:
    return msgspec.structs.replace(old, **changes)


def with_seconds(seconds: int) -> ComponentSpec:
    """The same component as another process."""
    return spec("web", "/bin/sleep", str(seconds))


async def outcome(attempt: Awaitable[Any]) -> TektonError | None:
    try:
        await attempt
    except TektonError as error:
        return error
    return None


def sleeps(made: Any) -> int:
    """What the process that runs was told."""
    return int(Path(f"/proc/{made.pid('web')}/cmdline").read_bytes().split(b"\0")[1])


def replicas(made: Any) -> dict[int, int]:
    """The pids of `web` by the numbers of its replicas."""
    views = map(made.supervisor.process, made.registry.instances("web"))
    return {view.replica: view.pid for view in sorted(views, key=lambda view: view.replica)}


def alive(made: Any) -> list[int]:
    return [child.pid for child in made.guard.children if child.exit is None]


@pytest.mark.parametrize(
    "more",
    [
        {"replicas": 3},
        {"drain": 1.0},
        {"restart": RestartSpec(max=9)},
        {"start_timeout": 1.0},
        {"stop_timeout": 1.0},
        {"groups": ["backend"]},
        {"profiles": ["gpu"]},
        {"on_dependency_failure": "restart"},
        {"breaker": BreakerSpec(enabled=False)},
    ],
)
def test_some_changes_do_not_concern_the_process(more: dict[str, Any]) -> None:
    assert fingerprint(changed(spec(), **more)) == fingerprint(spec())


@pytest.mark.parametrize(
    "more", [{"command": ["/bin/true"]}, {"env": {"A": "1"}}, {"cwd": "/"}, {"port": 1}, {"ready": NEVER}]
)
def test_other_changes_ask_for_a_new_one(more: dict[str, Any]) -> None:
    assert fingerprint(changed(spec(), **more)) != fingerprint(spec())


def test_all_have_stopped_within_the_times_along_the_longest_chain() -> None:
    def needing(name: str, *needs: str, **more: Any) -> ComponentSpec:
        return spec(name, dependencies=[DependencySpec(component=need) for need in needs], **more)

    chain = [needing("db"), needing("api", "db", drain=30.0), needing("web", "api", "elsewhere"), needing("beside")]
    circle = [needing("a", "b"), needing("b", "a", drain=3.0)]

    # Each takes its drain, its stop_timeout of 5 s, and at most 10 s until nothing is left.
    assert stop_time({one.name: one for one in chain}) == 15 + (30 + 15) + 15
    assert stop_time({one.name: one for one in (*chain, *circle)}) == 75 + (3 + 15)
    assert stop_time({}) == 0


class TestAdd:
    async def test_a_component_that_was_added_can_be_started_and_is_supervised(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec())
        assert made.registry.find("web") is None

        await made.supervisor.replicas.start("web")
        os.kill(made.pid("web"), signal.SIGKILL)

        assert (await made.reaches("web", FAILED)).reason == "killed by signal 9 (SIGKILL)"
        assert list(made.supervisor.specs) == ["web"]

    async def test_what_is_supervised_already_is_not_added(self, plane: MakePlane) -> None:
        made = await plane(web={"command": ["/bin/sleep", "600"]})
        with pytest.raises(ComponentError, match="it is supervised already"):
            await made.supervisor.add(spec())

    async def test_a_component_becomes_a_one_shot_when_one_is_added_that_waits_for_its_completion(
        self, plane: MakePlane
    ) -> None:
        made = await plane(migrate={"command": ["/bin/true"]})
        await made.supervisor.add(spec(dependencies=[DependencySpec(component="migrate", condition="completed")]))

        results = await made.coordinator.start_components()

        assert {name: result.error for name, result in results.items()} == {"migrate": None, "web": None}


class TestRemove:
    async def test_nothing_is_left_of_a_component_that_was_removed(self, plane: MakePlane, running: Any) -> None:
        made = await plane(web={"command": ["/bin/sleep", "600"]}, api={"command": ["/bin/sleep", "600"]})
        await made.start_all()
        pid = made.pid("web")

        await made.supervisor.remove("web")

        assert not running(pid)
        assert (list(made.supervisor.specs), made.registry.instances("web")) == (["api"], [])
        assert not made.coordinator.has_handler("web")
        assert made.supervisor.view("web") is None
        assert [child.name for child in made.guard.children] == ["api"]
        with pytest.raises(ComponentError, match="no start function is known"):
            await made.coordinator.start_component("web")

    async def test_its_dependents_go_on(self, plane: MakePlane) -> None:
        made = await plane(
            db={"command": ["/bin/sleep", "600"]}, api={"command": ["/bin/sleep", "600"], "dependencies": ["db"]}
        )
        await made.start_all()
        pid = made.pid("api")
        await made.supervisor.remove("db")
        assert (made.state("api"), made.pid("api")) == (READY, pid)

    async def test_who_is_not_supervised_cannot_be_removed(self, plane: MakePlane) -> None:
        made = await plane()
        with pytest.raises(ComponentNotFoundError):
            await made.supervisor.remove("web")

    async def test_one_that_is_being_started_is_removed(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec(ready=NEVER))
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(outcome(made.supervisor.replicas.start("web")))
            await made.reaches("web", STARTING)
            await made.supervisor.remove("web")

        assert str(starting.result()) == "web: stopped"
        assert (alive(made), made.registry.instances("web")) == ([], [])

    async def test_one_that_is_being_stopped_is_removed(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec("web", "/bin/sh", "-c", SLOW_TO_STOP))
        await made.supervisor.replicas.start("web")
        async with asyncio.TaskGroup() as group:
            group.create_task(made.supervisor.replicas.stop("web"))
            await made.reaches("web", ComponentState.STOPPING)
            await made.supervisor.remove("web")
            assert (alive(made), made.registry.instances("web")) == ([], [])

    async def test_one_that_waits_for_its_restart_is_removed_with_that(self, plane: MakePlane) -> None:
        made = await plane(recover=True)
        await made.supervisor.add(spec(restart=RestartSpec(backoff=(60, 60))))
        await made.supervisor.replicas.start("web")
        os.kill(made.pid("web"), signal.SIGKILL)
        await made.reaches("web", FAILED)
        assert made.recovery.status("web").next_at is not None

        await made.supervisor.remove("web")

        status = made.recovery.status("web")
        assert (status.next_at, status.attempt) == (None, 0)
        assert (alive(made), made.registry.instances("web")) == ([], [])

    async def test_one_that_is_being_restarted_after_a_crash_is_removed(self, plane: MakePlane, tmp_path: Path) -> None:
        sign = tmp_path / "sign"
        sign.touch()
        made = await plane(recover=True)
        ready = ProbeSpec(exec=["test", "-e", str(sign)], interval=0.05)
        await made.supervisor.add(spec(ready=ready, restart=RestartSpec(backoff=(0.01, 0.01))))
        await made.supervisor.replicas.start("web")
        sign.unlink()
        os.kill(made.pid("web"), signal.SIGKILL)
        await made.reaches("web", FAILED)
        await made.reaches("web", STARTING)

        await made.supervisor.remove("web")

        assert (alive(made), made.registry.instances("web")) == ([], [])
        assert made.recovery.status("web").next_at is None

    async def test_one_that_was_removed_can_be_added_again_at_once(self, plane: MakePlane) -> None:
        made = await plane(web={"command": ["/bin/sleep", "600"]})
        await made.start_all()
        async with asyncio.TaskGroup() as group:
            group.create_task(made.supervisor.remove("web"))
            await asyncio.sleep(0)
            group.create_task(made.supervisor.add(with_seconds(601)))

        await made.supervisor.replicas.start("web")

        assert made.state("web") is READY
        assert len(alive(made)) == 1

    async def test_a_caller_that_is_cancelled_does_not_end_a_change(self, plane: MakePlane, until: Any) -> None:
        made = await plane(web={"command": ["/bin/sleep", "600"]})
        await made.start_all()
        removing = asyncio.ensure_future(made.supervisor.remove("web"))
        await asyncio.sleep(0)

        removing.cancel()

        await until(lambda: not made.registry.instances("web"))
        assert alive(made) == []


class TestReplace:
    async def test_what_does_not_concern_the_process_holds_without_a_restart(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec())
        await made.supervisor.replicas.start("web")
        pid = made.pid("web")

        await made.supervisor.replace(changed(spec(), restart=RestartSpec(max=9), drain=1.0))

        assert made.pid("web") == pid
        assert made.recovery.status("web").max == 9
        assert made.supervisor.specs["web"].drain == 1.0

    async def test_another_process_takes_the_place_of_what_runs(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(with_seconds(600))
        await made.supervisor.replicas.start("web")
        before = made.pid("web")

        await made.supervisor.replace(with_seconds(601))

        assert made.state("web") is READY
        assert alive(made) == [made.pid("web")] != [before]
        assert sleeps(made) == 601

    async def test_one_that_is_being_started_begins_anew(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec(ready=NEVER))
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(outcome(made.supervisor.replicas.start("web")))
            await made.reaches("web", STARTING)
            await made.supervisor.replace(with_seconds(601))

        assert made.state("web") is READY
        assert len(alive(made)) == 1
        assert str(starting.result()) == "web: restarting"

    async def test_those_that_wait_for_one_that_begins_anew_go_on_waiting(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec(ready=NEVER))
        await made.supervisor.add(spec("api", dependencies=[DependencySpec(component="web")]))
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(made.coordinator.start_components())
            await made.reaches("web", STARTING)
            await made.supervisor.replace(with_seconds(601))
        assert starting.result()["api"].success

    async def test_one_that_failed_is_started(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec("web", "/bin/false", ready=NEVER))
        assert await outcome(made.supervisor.replicas.start("web")) is not None
        await made.supervisor.replace(with_seconds(601))
        assert made.state("web") is READY

    async def test_one_that_waits_for_its_restart_is_started_at_once(self, plane: MakePlane) -> None:
        made = await plane(recover=True)
        await made.supervisor.add(spec("web", "/bin/false", ready=NEVER, restart=RestartSpec(backoff=(60, 60))))
        assert await outcome(made.supervisor.replicas.start("web")) is not None

        await made.supervisor.replace(with_seconds(601))

        assert made.state("web") is READY
        assert made.recovery.status("web").next_at is None

    async def test_what_is_stopped_stays_so(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec())
        await made.supervisor.replicas.start("web")
        await made.supervisor.replicas.stop("web")

        await made.supervisor.replace(with_seconds(601))

        assert (made.state("web"), alive(made)) == (ComponentState.STOPPED, [])
        await made.supervisor.replicas.start("web")
        assert sleeps(made) == 601

    async def test_a_new_version_that_does_not_come_up_is_told(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec())
        await made.supervisor.replicas.start("web")
        with pytest.raises(ComponentError, match="exit 1 before it was ready"):
            await made.supervisor.replace(spec("web", "/bin/false", ready=NEVER))
        assert made.supervisor.specs["web"].command == ["/bin/false"]

    async def test_the_last_of_several_changes_holds(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(with_seconds(600))
        await made.supervisor.replicas.start("web")

        await asyncio.gather(*(outcome(made.supervisor.replace(with_seconds(601 + n))) for n in range(5)))

        assert made.state("web") is READY
        assert sleeps(made) == 605
        assert len(alive(made)) == 1

    async def test_more_and_fewer_replicas_leave_the_others_alone(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec())
        await made.supervisor.replicas.start("web")
        pid = made.pid("web")

        await made.supervisor.replace(spec(replicas=3))
        three = replicas(made)
        await made.supervisor.replace(spec(replicas=2))
        two = replicas(made)
        await made.supervisor.replace(spec())

        assert list(three) == [0, 1, 2]
        assert two == {0: pid, 1: three[1]}
        assert alive(made) == [pid]
        assert [record.max_instances for record in made.registry.instances("web")] == [1]
        assert made.coordinator.units.of("web") == ("web",)

    async def test_a_changed_component_is_renewed_replica_by_replica(self, plane: MakePlane) -> None:
        made = await plane()
        await made.supervisor.add(spec(replicas=3))
        await made.supervisor.replicas.start("web")
        before, least = set(alive(made)), 3

        def count(_: object) -> None:
            nonlocal least
            least = min(least, sum(record.usable for record in made.registry.instances("web")))

        made.registry.feed.add_listener(count)
        await made.supervisor.replace(changed(with_seconds(601), replicas=3))

        assert least == 2
        assert len(alive(made)) == 3
        assert not before & set(alive(made))


class Sequence:
    """Random changes and crashes, none of which is waited for, and a model of them: who is there, how many times."""

    def __init__(self, made: Any, seed: int) -> None:
        self.made = made
        self.desired: dict[str, int] = {}
        self._rng = random.Random(seed)
        self._begun: list[asyncio.Future[Any]] = []

    async def step(self) -> None:
        name = self._rng.choice("abc")
        steps = (self._add, self._remove, self._replace, self._replace, self._crash, self._crash, self._roll)
        self._rng.choice(steps)(name)
        await asyncio.sleep(self._rng.choice((0, 0, 0.01, 0.1)))

    async def end(self) -> None:
        """Wait for all that was begun; what a crash has kept from starting is started."""
        await asyncio.gather(*self._begun)
        for name in self.desired:
            await outcome(self.made.supervisor.replicas.start(name))

    def holds(self) -> bool:
        """True when what can be used is what the model says."""
        usable = {name: sum(one.usable for one in self.made.registry.instances(name)) for name in "abc"}
        return usable == {name: self.desired.get(name, 0) for name in "abc"}

    def _add(self, name: str) -> None:
        if name not in self.desired:
            self._begin(self._add_and_start(self._described(name)))

    async def _add_and_start(self, added: ComponentSpec) -> None:
        await self.made.supervisor.add(added)
        await self.made.supervisor.replicas.start(added.name)

    def _remove(self, name: str) -> None:
        if self.desired.pop(name, 0):
            self._begin(self.made.supervisor.remove(name))

    def _replace(self, name: str) -> None:
        if name in self.desired:
            self._begin(self.made.supervisor.replace(self._described(name)))

    def _roll(self, name: str) -> None:
        if name in self.desired:
            self._begin(self.made.supervisor.replicas.roll(name))

    def _crash(self, _: str) -> None:
        if pids := alive(self.made):
            # It may have ended, and nobody has heard of that yet.
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(pids), signal.SIGKILL)

    def _begin(self, attempt: Awaitable[Any]) -> None:
        self._begun.append(asyncio.ensure_future(outcome(attempt)))

    def _described(self, name: str) -> ComponentSpec:
        self.desired[name] = self._rng.randrange(1, 4)
        delay, seconds = self._rng.randrange(1, 6), self._rng.choice((600, 601))
        return spec(
            name,
            *("/bin/sh", "-c", f"sleep 0.0{delay}; echo up; exec sleep {seconds}"),
            replicas=self.desired[name],
            restart=RestartSpec(backoff=(0.01, 0.02), max=1000),
            ready=ProbeSpec(log="up", interval=0.02),
        )


async def test_random_changes_and_crashes_end_with_what_was_asked_for_last(plane: MakePlane, until: Any) -> None:
    made = await plane(recover=True)
    sequence = Sequence(made, SEED)
    for _ in range(STEPS):
        await sequence.step()
    await sequence.end()

    await until(sequence.holds)
    assert {name: one.replicas for name, one in made.supervisor.specs.items()} == sequence.desired
    assert len(alive(made)) == sum(sequence.desired.values())
    children = {child.meta["instance_uuid"] for child in made.guard.children if child.exit is None}
    assert children == {record.instance_uuid for record in made.registry.all_instances() if record.usable}
    await made.supervisor.stop()
    assert made.guard.children == []
