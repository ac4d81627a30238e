"""Two watchers of the change feed of a simulation: one that hears everything, and one that comes and goes."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from tekton.core.lifecycle import Change, ComponentRecord
from tekton.testing import watches
from tekton.testing.simulated_core import SimulatedCore
from tekton.testing.watches import Seen, Watch
from tekton.utils.tekton_errors import CursorExpiredError


class FeedWatchers:
    """See the module. *rng* decides when the second one goes."""

    def __init__(self, core: SimulatedCore, rng: Random) -> None:
        self._core = core
        self._rng = rng
        self._log = Watch("listener")
        self._watcher = Watch("subscriber")

    def hear(self, change: Change) -> None:
        """A change was published."""
        self._log.change(Seen.of(change))

    def restarted(self) -> None:
        """There is a new feed: the listener begins with what there is."""
        self._log.snapshot(self._core.registry.revision, _states(self._core.registry.all_instances()))

    async def watch(self) -> None:
        """Lose the connection now and then, and come back to where it was."""
        position: int | None = None
        while True:
            position = await self._follow(position)
            await asyncio.sleep(self._rng.uniform(0, 60))

    def check(self) -> list[str]:
        """What is wrong with what the two have seen since the last check."""
        wrong = watches.check([self._log, self._watcher])
        for watch in (self._log, self._watcher):
            del watch.stretches[:-1]
        return wrong

    async def _follow(self, position: int | None) -> int | None:
        await self._core.is_running()
        feed = self._core.registry.feed
        try:
            subscription = feed.subscribe(position)
        except CursorExpiredError:
            position = None
            subscription = feed.subscribe()
        if position is None:
            self._watcher.snapshot(feed.revision, _states(self._core.registry.all_instances()))
        else:
            self._watcher.resume(position)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rng.uniform(0, 600)), subscription:
                async for batch in subscription:
                    for change in batch:
                        self._watcher.change(Seen.of(change))
        return self._watcher.position


def _states(records: Sequence[ComponentRecord]) -> dict[tuple[str, str], str]:
    return {(record.component_id, record.instance_uuid): record.state.value for record in records}
