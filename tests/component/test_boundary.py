"""The boundary of a component: what stands there comes between it and the world, and a crash is no farewell."""

import asyncio
from typing import Any

import pytest

from tekton.component import Component
from tekton.core.lifecycle import ComponentState
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_http import HttpClient


class Refusing:
    """Lets nothing pass, and counts what comes."""

    def __init__(self) -> None:
        self.requests = 0
        self.reported = asyncio.Event()

    async def pass_request(self) -> None:
        self.requests += 1
        raise ValueError("not today")

    async def moving(self) -> None:
        self.reported.set()


async def status_of(app: Component) -> int:
    assert app.endpoint is not None
    async with HttpClient(app.endpoint) as client:
        return (await client.send("GET", "/api/health")).status


async def test_what_an_interceptor_raises_is_the_answer() -> None:
    refusing = Refusing()
    async with asyncio.timeout(20), Component("greeter", register=False, port=0) as app:
        app.boundary.interceptor = refusing
        refused = await status_of(app)
        app.boundary.interceptor = None

        assert (refused, await status_of(app), refusing.requests) == (500, 200, 1)


async def test_an_interceptor_is_asked_before_each_report() -> None:
    refusing = Refusing()
    async with (
        asyncio.timeout(20),
        InMemoryControlPlane(interval=0.1, timeout=5) as plane,
        Component("greeter", control_plane=plane.address, port=0) as app,
    ):
        app.boundary.interceptor = refusing

        await refusing.reported.wait()


async def test_after_a_restart_nothing_stands_at_the_boundary() -> None:
    app = Component("greeter", register=False, port=0)
    async with asyncio.timeout(20):
        async with app:
            app.boundary.interceptor = Refusing()
        async with app:
            assert await status_of(app) == 200


async def test_a_crash_runs_no_hook_and_tells_nobody() -> None:
    ran: list[Any] = []
    async with asyncio.timeout(20), InMemoryControlPlane() as plane:
        app = Component("greeter", control_plane=plane.address, port=0)
        app.on_stop(lambda: ran.append("hook"))
        await app.start()
        await plane.registry.wait_until("greeter", lambda known: known is not None and known.usable)

        await app.crash()

        assert (ran, app.port, plane.record("greeter").state) == ([], None, ComponentState.READY)
        with pytest.raises(RuntimeError, match="greeter does not run"):
            await app.crash()
