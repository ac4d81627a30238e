"""Fixtures for tests of components. To have them, say in `conftest.py`:

    pytest_plugins = ["tekton.testing.pytest_plugin"]

It needs pytest, and pytest-asyncio for `control_plane`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tekton.testing.clock import VirtualTimeLoop
from tekton.testing.control_plane import InMemoryControlPlane


@pytest.fixture
def virtual_time() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """`virtual_time(coroutine)` runs it on a loop that skips idle time, and returns its result.

    For a whole test there is the decorator `tekton.testing.virtual_time`.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        yield runner.run


@pytest_asyncio.fixture
async def control_plane() -> AsyncIterator[InMemoryControlPlane]:
    """A control plane in memory on a free port; components are given its `address`."""
    async with InMemoryControlPlane() as plane:
        yield plane
