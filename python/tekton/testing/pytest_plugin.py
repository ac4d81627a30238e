"""Fixtures for tests of components; pytest finds them by itself where Tekton is installed.

    tekton_clock           the clock of an async test that runs in virtual time
    tekton_system          an `InMemorySystem` in virtual time, which has begun
    tekton_faults          faults for the components of `tekton_system`, or for `tekton.Component`s in this process
    tekton_control_plane   an `InMemoryControlPlane` on a free port, in real time; it needs pytest-asyncio

An async test that asks for one of the first two is run here, on a `VirtualTimeLoop` of its own, whatever other plugin
runs async tests. Async fixtures of others run elsewhere, in real time: such a test sets up what it needs by itself.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tekton.testing.clock import ManualClock
    from tekton.testing.control_plane import InMemoryControlPlane
    from tekton.testing.fault_injection import Faults
    from tekton.testing.memory_system import InMemorySystem

_ASYNCIO = find_spec("pytest_asyncio") is not None


@pytest.fixture
def tekton_clock(request: pytest.FixtureRequest) -> "ManualClock":
    """The clock of this test. Time passes when nothing is left to do: `await asyncio.sleep(3600)` takes none."""
    from tekton.testing.clock import ManualClock

    if not _is_async(request.function):
        pytest.fail("tekton_clock and tekton_system are for async tests", pytrace=False)
    return ManualClock()


@pytest.fixture
def tekton_system(tekton_clock: "ManualClock") -> "InMemorySystem":  # noqa: ARG001 - asked for, so that time is virtual
    """A system without components, in virtual time."""
    from tekton.testing.memory_system import InMemorySystem

    return InMemorySystem()


@pytest.fixture
def tekton_faults(request: pytest.FixtureRequest) -> "Iterator[Faults]":
    """What can be done to components; whatever can be taken back is, at the end of the test."""
    from tekton.testing.fault_injection import Faults

    named = "tekton_system" in request.fixturenames
    faults: Faults = request.getfixturevalue("tekton_system").faults if named else Faults()
    yield faults
    faults.heal()


if _ASYNCIO:
    import pytest_asyncio

    @pytest_asyncio.fixture
    async def tekton_control_plane() -> "AsyncIterator[InMemoryControlPlane]":
        """A control plane in memory on a free port; components are given its `address`."""
        from tekton.testing.control_plane import InMemoryControlPlane

        async with InMemoryControlPlane() as plane:
            yield plane

else:

    @pytest.fixture
    def tekton_control_plane() -> None:
        """It cannot be had here."""
        pytest.fail("tekton_control_plane needs pytest-asyncio: pip install pytest-asyncio", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run async tests that ask for virtual time."""
    function = inspect.unwrap(pyfuncitem.obj)
    if "tekton_clock" not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(function):
        return None
    from tekton.testing.clock import VirtualTimeLoop

    fixtures: dict[str, Any] = pyfuncitem.funcargs
    arguments = {name: fixtures[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def run() -> None:
        async with AsyncExitStack() as begun:
            if "tekton_system" in fixtures:
                await begun.enter_async_context(fixtures["tekton_system"])
            await function(**arguments)

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(fixtures["tekton_clock"])) as runner:
        runner.run(run())
    return True


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))
