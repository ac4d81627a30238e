"""Fixtures that more than one folder uses."""

from collections.abc import AsyncIterator

import pytest

from tekton.core.component_lifecycle import ComponentRegistry


@pytest.fixture
async def registry() -> AsyncIterator[ComponentRegistry]:
    """A registry in memory."""
    async with ComponentRegistry() as registry:
        yield registry
