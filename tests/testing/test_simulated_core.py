import asyncio

import pytest

from tekton.core.lifecycle import Change, ComponentRegistration, ComponentState
from tekton.testing import current_clock, virtual_time
from tekton.testing.simulated_core import SimulatedCore
from tekton.utils.tekton_errors import StorageFullError, StorageUnknownError

INSTANCE = "00000000-0000-4000-8000-000000000001"


def registration(name: str = "rhetor") -> ComponentRegistration:
    return ComponentRegistration(component_id=name, instance_uuid=INSTANCE)


def state(core: SimulatedCore, name: str = "rhetor") -> ComponentState | None:
    record = core.registry.find(name)
    return record.state if record else None


@virtual_time
async def test_a_silent_component_fails_and_a_beating_one_does_not() -> None:
    async with SimulatedCore(timeout=30) as core:
        await core.registry.register(registration())
        await core.registry.make_ready("rhetor", INSTANCE)
        for _ in range(360):
            await asyncio.sleep(10)
            core.monitor.beat("rhetor", INSTANCE)
        alive = state(core)
        await asyncio.sleep(31)

        assert (alive, state(core)) == (ComponentState.READY, ComponentState.FAILED)


@virtual_time
async def test_a_component_that_fails_is_started_again() -> None:
    starts: list[float] = []

    async def start() -> None:
        starts.append(current_clock().monotonic())

    async with SimulatedCore() as core:
        await core.coordinator.register_component_handler("rhetor", start, supervised=True)
        await core.coordinator.start_component("rhetor")
        record = core.registry.find("rhetor")
        assert record is not None
        core.registry.observe("rhetor", record.instance_uuid, ComponentState.FAILED, "exit 1")
        await asyncio.sleep(60)

        assert state(core) is ComponentState.READY
        assert len(starts) == 2
        assert 1 <= starts[1] - starts[0] <= 2


@virtual_time
async def test_what_was_acknowledged_is_there_after_a_kill() -> None:
    async with SimulatedCore() as core:
        await core.registry.register(registration())
        before = core.registry.revision
        await core.restart()

        assert state(core) is ComponentState.REGISTERING
        assert core.registry.revision > before
        assert core.registry.incarnation == 2


@pytest.mark.parametrize("applied", [False, True])
def test_a_kill_in_the_middle_of_a_commit_leaves_its_outcome_open(applied: bool) -> None:
    async def register(core: SimulatedCore) -> None:
        with pytest.raises(StorageUnknownError):
            await core.registry.register(registration())

    @virtual_time
    async def run() -> None:
        async with SimulatedCore() as core:
            core.disk_delay = 5.0
            async with asyncio.TaskGroup() as group:
                group.create_task(register(core))
                await asyncio.sleep(0.001)
                await core.restart(applied=applied)

            assert (state(core) is not None) == applied

    run()


@virtual_time
async def test_a_full_disk_refuses_and_is_forgiven() -> None:
    async with SimulatedCore() as core:
        core.store.full = True
        with pytest.raises(StorageFullError):
            await core.registry.register(registration())
        core.store.full = False
        await core.registry.register(registration())

        assert core.store.refused == 1


@virtual_time
async def test_a_disk_that_fails_stops_the_registry() -> None:
    async with SimulatedCore() as core:
        core.store.fail_next = "lost"
        with pytest.raises(StorageUnknownError):
            await core.registry.register(registration())

        assert core.registry.failure is not None
        await core.restart()
        assert state(core) is None


@virtual_time
async def test_time_in_which_nothing_ran_counts_against_nobody() -> None:
    async with SimulatedCore(timeout=30) as core:
        await core.registry.register(registration())
        await core.registry.make_ready("rhetor", INSTANCE)
        await asyncio.sleep(5)
        core.pause(300)
        await asyncio.sleep(1)

        assert state(core) is ComponentState.READY


@virtual_time
async def test_a_listener_hears_every_incarnation() -> None:
    heard: list[Change] = []
    async with SimulatedCore() as core:
        core.add_listener(heard.append)
        await core.registry.register(registration())
        await core.restart(killed=False)
        await core.registry.deregister("rhetor", INSTANCE)

    assert [change.kind for change in heard] == ["registered", "deregistered"]
    assert heard[0].revision < heard[1].revision


@virtual_time
async def test_the_order_of_a_slow_disk_is_that_of_the_commands() -> None:
    async with SimulatedCore() as core:
        core.disk_delay = 2.0
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(core.registry.register(registration(f"c{number}")))
                await asyncio.sleep(0.2)
        history = await core.registry.get_history("c7")

        revisions = [record.revision for number in range(20) if (record := core.registry.find(f"c{number}"))]
        assert revisions == sorted(revisions)
        assert len(history) == 1
