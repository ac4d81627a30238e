"""Registration against a control plane with the real registry, monitor and HTTP interface."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import tekton_registration
from tekton.utils.component_client import ControlPlane
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    InvalidIdError,
    InvalidRegistrationError,
    TransportError,
)
from tekton.utils.tekton_registration import Registration, deregister_component, register_component

GREETER = ComponentRegistration(component_id="greeter", capabilities=("greet",))


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tekton_registration, "BACKOFF", (0.01, 0.02))


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane(interval=0.02) as plane:
        yield plane


def in_state(state: ComponentState, *, generation: int = 1) -> Callable[[ComponentRecord | None], bool]:
    return lambda record: record is not None and record.state is state and record.generation == generation


async def reaches(registry: ComponentRegistry, state: ComponentState, *, generation: int = 1) -> ComponentRecord | None:
    async with asyncio.timeout(5):
        return await registry.wait_until("greeter", in_state(state, generation=generation))


async def test_registers_and_waits_with_readiness_until_it_is_told(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        record = await reaches(plane.registry, ComponentState.REGISTERING)
        assert record is not None
        assert record.capabilities == ("greet",)

        registration.mark_ready()

        await reaches(plane.registry, ComponentState.READY)


async def test_shows_that_it_lives_while_it_becomes_ready(plane: InMemoryControlPlane) -> None:
    asked = asyncio.Event()

    def metrics() -> dict[str, float]:
        if plane.monitor.last_beat("greeter") is not None:
            asked.set()
        return {}

    async with Registration(GREETER, plane.address, metrics=metrics), asyncio.timeout(5):
        await asked.wait()

        assert plane.monitor.leased("greeter", GREETER.instance_uuid)
        assert plane.registry.find("greeter").state is ComponentState.REGISTERING  # type: ignore[union-attr]


async def test_heartbeats_carry_metrics_that_are_numbers(plane: InMemoryControlPlane) -> None:
    asked = asyncio.Event()

    def metrics() -> dict[str, float]:
        if plane.monitor.last_beat("greeter") is not None:
            asked.set()
        return {"queue": 3.0, "nonsense": float("nan")}

    async with Registration(GREETER, plane.address, metrics=metrics) as registration, asyncio.timeout(5):
        registration.mark_ready()
        await asked.wait()

    assert plane.monitor.metrics("greeter") == {"queue": 3.0}


async def test_heartbeats_are_numbered_so_that_one_that_was_overtaken_does_not_count(
    plane: InMemoryControlPlane,
) -> None:
    async with Registration(GREETER, plane.address) as registration:
        await registration.register()
        for _ in range(3):
            assert (await registration.heartbeat()).known
        plane.monitor.beat("greeter", GREETER.instance_uuid, {"queue": 1.0}, sequence=1)

    assert plane.monitor.metrics("greeter") == {}


def test_those_who_are_told_to_register_at_the_same_moment_do_not_come_at_the_same_moment() -> None:
    forgotten = ComponentNotFoundError("greeter")

    delays = sorted(
        Registration(GREETER, ControlPlane(), rng=random.Random(seed))._after_failure(forgotten) for seed in range(1000)
    )

    shortest = tekton_registration.BACKOFF[0]
    assert shortest / 2 <= delays[0] < delays[-1] <= shortest
    # No tenth of the time gets much more than a tenth of them.
    for tenth in range(10):
        start = shortest / 2 * (1 + tenth / 10)
        assert sum(start <= delay < start + shortest / 20 for delay in delays) < 150


async def test_registers_anew_when_it_was_declared_failed(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)

        plane.registry.observe("greeter", GREETER.instance_uuid, ComponentState.FAILED, "no heartbeat for 30 s")

        await reaches(plane.registry, ComponentState.READY, generation=2)


async def test_registers_anew_when_it_is_no_longer_known(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)

        await plane.registry.deregister("greeter", GREETER.instance_uuid)

        await reaches(plane.registry, ComponentState.READY)


async def test_waits_while_another_live_instance_holds_the_id(plane: InMemoryControlPlane) -> None:
    other = ComponentRegistration(component_id="greeter")
    await plane.registry.register(other)

    async with Registration(GREETER, plane.address) as registration:
        registration.mark_ready()
        with pytest.raises(ComponentExistsError):
            await registration.register()
        await plane.registry.deregister("greeter", other.instance_uuid)

        record = await reaches(plane.registry, ComponentState.READY)

    assert record is not None
    assert record.instance_uuid == GREETER.instance_uuid


async def test_survives_a_control_plane_that_loses_everything() -> None:
    port = free_port()
    async with InMemoryControlPlane(port=port, interval=0.02) as first:
        registration = Registration(GREETER, first.address)
        registration.start()
        registration.mark_ready()
        await reaches(first.registry, ComponentState.READY)
    with pytest.raises(TransportError):
        await registration.heartbeat()

    async with InMemoryControlPlane(port=port, interval=0.02) as second:
        await reaches(second.registry, ComponentState.READY)
        await registration.leave()
        await registration.close()

        assert second.record("greeter").state is ComponentState.STOPPED


async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    registration = Registration(GREETER, ControlPlane("http://127.0.0.1:1"))
    tries = asyncio.Queue[float]()
    step = registration._step

    async def counted() -> float | None:
        delay = await step()
        tries.put_nowait(0.0)
        return delay

    registration._step = counted  # type: ignore[method-assign]
    async with registration, asyncio.timeout(5):
        for _ in range(3):
            await tries.get()

    assert len([record for record in caplog.records if "trying again" in record.message]) == 1


async def test_tells_that_it_is_stopping_and_has_stopped(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)

        await registration.leave()

        assert plane.record("greeter").state is ComponentState.STOPPING
    assert plane.record("greeter").state is ComponentState.STOPPED


async def test_one_that_stops_before_it_is_ready_asks_not_to_be_restarted(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        await reaches(plane.registry, ComponentState.REGISTERING)

        await registration.leave()
        await registration.close()

    entries = await plane.registry.get_history("greeter")
    assert [(entry.state, entry.reason) for entry in reversed(entries)] == [
        (ComponentState.REGISTERING, None),
        (ComponentState.FAILED, "stopped"),
        (ComponentState.STOPPING, None),
        (ComponentState.STOPPED, None),
    ]


async def test_a_failure_is_told_with_its_reason(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address) as registration:
        await reaches(plane.registry, ComponentState.REGISTERING)
        await registration.leave("start failed: no model")

    record = plane.record("greeter")
    assert (record.state, record.reason) == (ComponentState.FAILED, "start failed: no model")


async def test_a_supervised_one_leaves_its_end_to_the_supervisor(plane: InMemoryControlPlane) -> None:
    await plane.registry.register(GREETER, supervised=True)

    async with Registration(GREETER, plane.address, supervised=True) as registration:
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)

    assert plane.record("greeter").state is ComponentState.READY


async def test_a_supervised_one_that_hangs_as_soon_as_it_is_ready_is_found(plane: InMemoryControlPlane) -> None:
    await plane.registry.register(GREETER, supervised=True)

    async with Registration(GREETER, plane.address, supervised=True) as registration, asyncio.timeout(5):
        registration.mark_ready()
        await registration.wait_registered(ready=True)

        assert plane.monitor.leased(GREETER.component_id, GREETER.instance_uuid)


async def test_what_only_the_supervisor_has_said_stays(plane: InMemoryControlPlane) -> None:
    said = msgspec.structs.replace(GREETER, dependencies=("hermes",), metadata={"team": "a", "language": "Python"})
    await plane.registry.register(said, supervised=True)
    own = msgspec.structs.replace(GREETER, version="2.0.0", capabilities=("greet", "part"), metadata={"team": "b"})

    async with Registration(own, plane.address, supervised=True) as registration:
        registration.mark_ready()
        record = await reaches(plane.registry, ComponentState.READY)

    assert record is not None
    assert (record.version, record.capabilities) == ("2.0.0", ("greet", "part"))
    assert (record.dependencies, record.metadata) == (("hermes",), {"team": "b", "language": "Python"})


async def test_of_several_replicas_each_is_completed_by_what_was_said_of_it(plane: InMemoryControlPlane) -> None:
    replicas = [
        ComponentRegistration(
            component_id="greeter", max_instances=3, dependencies=("hermes",), metadata={"replica": number}
        )
        for number in range(3)
    ]
    for replica in replicas:
        await plane.registry.register(replica, supervised=True)
    await plane.registry.make_ready("greeter", replicas[0].instance_uuid)  # the best one is another

    own = ComponentRegistration(
        component_id="greeter", capabilities=("greet",), instance_uuid=replicas[2].instance_uuid
    )
    registration = Registration(own, plane.address, supervised=True)
    record = await registration.register()
    await registration.close()

    assert (record.max_instances, record.dependencies, record.metadata) == (3, ("hermes",), {"replica": 2})
    assert record.capabilities == ("greet",)


async def test_one_that_is_being_stopped_goes_on_beating(plane: InMemoryControlPlane) -> None:
    async with Registration(GREETER, plane.address, supervised=True) as registration, asyncio.timeout(5):
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)
        await plane.registry.set_state("greeter", GREETER.instance_uuid, ComponentState.STOPPING)

        reply = await registration.heartbeat()

        assert reply.known
        assert reply.state is ComponentState.STOPPING
        assert registration.state is ComponentState.STOPPING


async def test_deregister_leaves_nothing_behind(plane: InMemoryControlPlane) -> None:
    registration = Registration(GREETER, plane.address)
    await registration.register()

    gone = await registration.deregister()
    await registration.close()

    assert gone.instance_uuid == GREETER.instance_uuid
    assert plane.registry.find("greeter") is None


async def test_leaving_does_not_mind_that_nobody_answers() -> None:
    async with InMemoryControlPlane(interval=0.02) as plane:
        registration = Registration(GREETER, plane.address)
        registration.start()
        registration.mark_ready()
        await reaches(plane.registry, ComponentState.READY)

    await registration.leave()
    await registration.close()


def test_a_wrong_registration_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidIdError) as refused:
        Registration(ComponentRegistration(component_id="Greeter"), ControlPlane())

    assert refused.value.nearest == "greeter"


class TestServing:
    async def test_taking_no_traffic_is_told_at_once_and_the_state_stays(self, plane: InMemoryControlPlane) -> None:
        async with Registration(GREETER, plane.address) as registration:
            registration.mark_ready()
            await becomes(plane, lambda record: record.state is ComponentState.READY)
            registration.set_serving(False, "the cache is cold")
            taken = await becomes(plane, lambda record: not record.serving)
            registration.set_serving(True)
            given = await becomes(plane, lambda record: record.serving)

        assert (taken.state, given.state) == (ComponentState.READY, ComponentState.READY)

    async def test_who_registers_anew_takes_no_traffic_either(self, plane: InMemoryControlPlane) -> None:
        async with Registration(GREETER, plane.address) as registration:
            registration.mark_ready()
            registration.set_serving(False, "the cache is cold")
            await becomes(plane, lambda record: record.usable and not record.serving)
            await plane.registry.deregister("greeter", GREETER.instance_uuid)
            await becomes(plane, lambda record: record.usable and not record.serving)


class TestImpaired:
    async def test_what_does_not_work_as_it_should_is_degraded_until_it_does(self, plane: InMemoryControlPlane) -> None:
        async with Registration(GREETER, plane.address) as registration:
            registration.mark_ready()
            registration.set_impaired("there is no stream orders")
            impaired = await becomes(plane, lambda record: record.state is ComponentState.DEGRADED)
            registration.set_impaired("")
            healed = await becomes(plane, lambda record: record.state is ComponentState.READY)

        assert impaired.reason == "there is no stream orders"
        assert healed.usable

    async def test_who_registers_anew_is_still_impaired(self, plane: InMemoryControlPlane) -> None:
        async with Registration(GREETER, plane.address) as registration:
            registration.mark_ready()
            registration.set_impaired("there is no stream orders")
            await becomes(plane, lambda record: record.state is ComponentState.DEGRADED)
            await plane.registry.deregister("greeter", GREETER.instance_uuid)
            await becomes(plane, lambda record: record.state is ComponentState.DEGRADED)

    async def test_who_is_degraded_for_another_reason_stays_so(self, plane: InMemoryControlPlane) -> None:
        async with Registration(GREETER, plane.address) as registration:
            registration.mark_ready()
            await becomes(plane, lambda record: record.state is ComponentState.READY)
            key = "greeter", GREETER.instance_uuid
            plane.registry.observe(*key, ComponentState.DEGRADED, "without hermes")
            await registration.heartbeat()
            registration.set_impaired("there is no stream orders")
            registration.set_impaired("")
            await registration.heartbeat()

            assert plane.record("greeter").reason == "without hermes"


class TestSimpleCalls:
    async def test_a_component_is_registered_and_ready_until_it_is_deregistered(
        self, plane: InMemoryControlPlane
    ) -> None:
        registration = await register_component("greeter", capabilities=["greet"], control_plane=plane.address)
        during = plane.record("greeter")
        await deregister_component(registration)

        assert (during.state, during.capabilities) == (ComponentState.READY, ("greet",))
        assert plane.record("greeter").state is ComponentState.STOPPED

    async def test_it_can_be_made_ready_later(self, plane: InMemoryControlPlane) -> None:
        registration = await register_component("greeter", ready=False, control_plane=plane.address)
        before = plane.record("greeter").state
        registration.mark_ready()
        await registration.wait_registered(ready=True)
        await deregister_component(registration)

        assert before is ComponentState.REGISTERING

    async def test_without_a_control_plane_it_is_an_error_and_nothing_goes_on(self) -> None:
        with pytest.raises(TransportError, match=r"not registered within 0.05 s"):
            await register_component("greeter", control_plane=ControlPlane("http://127.0.0.1:1"), timeout=0.05)

    async def test_what_cannot_be_registered_is_refused(self) -> None:
        with pytest.raises(InvalidRegistrationError):
            await register_component("Greeter", control_plane=ControlPlane())


async def becomes(plane: InMemoryControlPlane, holds: Callable[[ComponentRecord], bool]) -> ComponentRecord:
    async with asyncio.timeout(5):
        record = await plane.registry.wait_until("greeter", lambda known: known is not None and holds(known))
    assert record is not None
    return record
