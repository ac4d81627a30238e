"""A control plane with agents, and those who talk to it in Agent2Agent."""

from collections.abc import AsyncIterator

import pytest
from a2a_site import Site, serve


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """See `a2a_site.serve`."""
    async with serve() as site:
        yield site
