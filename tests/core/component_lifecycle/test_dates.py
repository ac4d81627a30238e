"""Dates far away and seconds that come twice: what was written is read back, in the order of the revisions."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.testing import ManualClock


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "wall",
    [
        at("1970-01-01T00:00:00"),
        at("2038-01-19T03:14:07.999999"),
        at("2038-01-19T03:14:08"),
        at("2100-02-28T23:59:59.5"),
        at("2106-02-07T06:28:16"),
        at("9999-12-31T23:59:59"),
    ],
    ids=lambda wall: datetime.fromtimestamp(wall, UTC).isoformat(),
)
async def test_any_date_is_read_back_from_the_disk_as_it_was(tmp_path: Path, wall: float) -> None:
    registration = ComponentRegistration(component_id="hermes")
    async with ComponentRegistry(tmp_path, clock=ManualClock(wall=wall)) as registry:
        await registry.register(registration)

    async with ComponentRegistry(tmp_path) as registry:
        record = registry.find("hermes")
        (entry,) = await registry.get_history("hermes")

    assert record is not None
    assert (record.registered_at, record.changed_at, entry.at) == (wall, wall, wall)


async def test_a_second_that_comes_twice_does_not_confuse_the_history(tmp_path: Path) -> None:
    """A leap second, or a clock that is set back: times repeat, revisions do not."""
    clock = ManualClock(wall=at("2016-12-31T23:59:59.9"))
    registration = ComponentRegistration(component_id="hermes")
    steps = [ComponentState.INITIALIZING, ComponentState.STARTING, ComponentState.READY, ComponentState.DEGRADED]
    async with ComponentRegistry(tmp_path, clock=clock) as registry:
        await registry.register(registration)
        for step in steps:
            clock.advance(0.5)
            clock.set_wall(clock.time() - 1.0)
            await registry.set_state("hermes", registration.instance_uuid, step)

    async with ComponentRegistry(tmp_path) as registry:
        entries = await registry.get_history("hermes")

    assert [entry.state for entry in entries] == [*reversed(steps), ComponentState.REGISTERING]
    assert [entry.revision for entry in entries] == sorted((entry.revision for entry in entries), reverse=True)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
