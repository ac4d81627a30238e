"""Tests of tekton.testing.fault_injection on real components, over HTTP."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tekton.component import Component, Request
from tekton.core.lifecycle import ComponentState
from tekton.testing import Faults
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_errors import ProblemError, TektonError, TransportError
from tekton.utils.tekton_http import HttpClient


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane(interval=0.1, timeout=0.5) as plane:
        yield plane


@pytest.fixture
async def greeter(plane: InMemoryControlPlane) -> AsyncIterator[Component]:
    component = Component("greeter", control_plane=plane.address, stop_timeout=2)

    @component.get("/api/greet")
    async def greet(_: Request) -> str:
        return "Hello."

    async with asyncio.timeout(20), component:
        await component.wait_ready()
        await until(plane, ComponentState.READY)
        yield component


async def until(plane: InMemoryControlPlane, state: ComponentState) -> str:
    record = await plane.registry.wait_until("greeter", lambda known: known is not None and known.state is state)
    assert record is not None
    return record.instance_uuid


def client_of(component: Component) -> HttpClient:
    assert component.endpoint is not None
    return HttpClient(component.endpoint, timeout=5.0)


async def test_a_killed_component_says_nothing_and_is_missed_and_can_come_back(
    plane: InMemoryControlPlane, greeter: Component
) -> None:
    stopped: list[str] = []
    greeter.on_stop(lambda: asyncio.sleep(0, stopped.append("a hook ran")))
    first = await until(plane, ComponentState.READY)
    async with client_of(greeter) as client:
        await client.request("GET", "/api/greet")
        await Faults().kill(greeter)
        with pytest.raises(TektonError):
            await client.request("GET", "/api/greet")
    await until(plane, ComponentState.FAILED)
    history = await plane.registry.get_history("greeter")

    assert "no heartbeat" in (history[0].reason or "")
    assert not stopped
    await greeter.start()
    assert await until(plane, ComponentState.READY) != first


async def test_a_paused_component_neither_answers_nor_beats_until_it_is_resumed(
    plane: InMemoryControlPlane, greeter: Component
) -> None:
    faults = Faults()
    faults.pause(greeter)
    await until(plane, ComponentState.FAILED)
    async with client_of(greeter) as client:
        with pytest.raises(TransportError):
            await client.request("GET", "/api/health", timeout=0.3)
        faults.resume(greeter)

        assert await client.request("GET", "/api/greet") == "Hello."
    await until(plane, ComponentState.READY)


async def test_an_error_is_a_500_and_a_heartbeat_goes_on(plane: InMemoryControlPlane, greeter: Component) -> None:
    faults = Faults()
    faults.errors(greeter, 1)
    async with client_of(greeter) as client:
        with pytest.raises(ProblemError) as caught:
            await client.request("GET", "/api/greet")
        faults.heal()

        assert caught.value.status == 500
        assert await client.request("GET", "/api/greet") == "Hello."


async def test_a_slow_component_outlasts_the_patience_of_its_caller(greeter: Component) -> None:
    faults = Faults()
    faults.slow(greeter, 60)
    async with client_of(greeter) as client:
        with pytest.raises(TransportError):
            await client.request("GET", "/api/greet", timeout=0.2)
        faults.slow(greeter, 0)

        assert await client.request("GET", "/api/greet") == "Hello."


async def test_what_does_not_run_cannot_be_harmed() -> None:
    with pytest.raises(RuntimeError, match="greeter does not run"):
        await Faults().kill(Component("greeter", register=False))


async def test_a_name_needs_a_system() -> None:
    with pytest.raises(ValueError, match="belong to no system"):
        Faults().pause("greeter")
