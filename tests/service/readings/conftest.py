"""What the readers read, as metrics have it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.metrics.metrics import Reader
from tekton.service.metering import Metering
from tekton.testing.clock import ManualClock
from tekton.testing.faults import FaultyStore

Read = Callable[..., Any]


@pytest.fixture
def read() -> Read:
    """`read(reader, name, *labels)`: the value that *reader* gives; without labels, the values by their labels."""

    def read(reader: Reader, name: str, *labels: str) -> Any:
        metering = Metering(ManualClock(), 10.0)
        metering.read(reader)
        for _ in metering.metrics.refresh():
            pass
        assert metering.metrics.reader_failures == 0
        found = {tuple(each.labels.values()): each.value for each in metering.metrics.get_metric_values(name)}
        return found[labels] if labels or () in found else found

    return read


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(MemoryStore())


@pytest.fixture
async def registry(store: FaultyStore) -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry(store=store) as registry:
        yield registry
