"""Forgetting: instances that have ended and say for how long they want to be remembered (`forget_after`, in seconds).

An instance that is FAILED or STOPPED for as long leaves the registry by itself: a change `deregistered`, whose reason
says so. Its history stays. There is no least time; without `forget_after` nobody is ever forgotten. The rules:

* Whatever happens to the instance first (it registers again, is started, is removed) calls it off. Time counts from the
  last end: who is stopped after a failure stays for the full time once more.
* What Tekton runs is never forgotten, whether it waits for its restart, was given up, or was stopped by somebody: it is
  there as long as it is configured, so that nobody looks for it in vain. The same holds for whatever `startable` says
  of: a start function of this process may bring it back.
* Time counts while the machine is suspended, and while no control plane runs: then it is the wall clock that tells.
  While we run nothing follows the wall clock, whoever sets it. An end that lies in the future when we start, because
  the clock was set back meanwhile, is taken to be now, and is written down so: however often we are started again, the
  instance stays for `forget_after` once and no longer.
* What the store has no room for is tried again within `LOOK`. Many are forgotten a batch at a time, so that others get
  their turn.

Nobody is forgotten early, nor more than `TICK` late while the event loop runs; after the machine was suspended, `LOOK`.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self, cast

import msgspec

from tekton import _native
from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.steps import Key, Step
from tekton.core.lifecycle import ENDED, Change, ComponentRecord, ComponentState
from tekton.utils.tekton_errors import StorageError

TICK = 0.125
"""Seconds; timers are due at whole ticks."""
LOOK = 60.0
"""The longest sleep in seconds: timers of the event loop do not count time in which the machine is suspended.

Also, how soon what could not be forgotten is looked at again.
"""
BATCH = 256
"""So many at most are on their way to the store at once."""

SET_BACK = "its end lay in the future: the clock was set back"

_LEAST_SLEEP = 0.001
"""Clocks are sums of floats: one might never get to a tick that is as good as there."""
_SLACK = 1.0
"""An end may lie that many seconds in the future: a clock that is being steered does such things."""
_ENDED_BY: Final = {ComponentState.FAILED: "failed", ComponentState.STOPPED: "stopped"}

_logger = logging.getLogger("tekton.forgetting")


class _Timer(NamedTuple):
    """Where a timer is in the wheel, and when it is due."""

    handle: int
    tick: int


class Forgetting:
    """Takes out of *registry* what wants to be forgotten, from `start` on; see the module.

    *startable* tells of a component id whether something in this process could start it.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        startable: Callable[[str], bool] = lambda _component_id: False,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._startable = startable
        self._began = 0.0
        self._wheel = _native.TimerWheel()
        self._timers: dict[Key, _Timer] = {}
        self._wakes_at = math.inf
        self._earlier = asyncio.Event()
        self._task = BackgroundTask("forgetting")
        self._unlisten: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin; what has ended already is taken up in the background. O(instances). Starting twice does nothing."""
        if self._unlisten is not None:
            return
        self._began = self._clock.boottime()
        self._wheel = _native.TimerWheel()
        self._earlier = asyncio.Event()
        self._unlisten = self._registry.feed.add_listener(self._on_change)
        self._task.start(self._run([one for one in self._registry.all_instances() if _wants_to_be_forgotten(one)]))

    async def stop(self) -> None:
        """Forget nobody any more. Stopping twice does nothing."""
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        self._timers.clear()
        await self._task.stop()

    def due_in(self, record: ComponentRecord) -> float | None:
        """Seconds until the instance of *record* is forgotten; None when it is not going to be."""
        timer = self._timers.get(_key(record))
        if timer is None or self._startable(record.component_id):
            return None
        return max(0.0, timer.tick * TICK - self._elapsed())

    async def forget_due(self) -> None:
        """Forget everybody whose time has come. O(those)."""
        now = math.floor(self._elapsed() / TICK)
        due = cast(list[Key], self._wheel.advance(now))
        for start in range(0, len(due), BATCH):
            # While others were forgotten, one may have come back and ended anew.
            keys = [key for key in due[start : start + BATCH] if self._is_due(key, now)]
            await self._forget([record for key in keys if (record := self._registry.instance(*key)) is not None])

    async def _run(self, ended: Sequence[ComponentRecord]) -> None:
        for start in range(0, len(ended), BATCH):
            await self._take_up(ended[start : start + BATCH])
        while True:
            await self.forget_due()
            self._earlier.clear()
            pause = self._pause()
            self._wakes_at = self._clock.monotonic() + (math.inf if pause is None else pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._earlier.wait()

    def _pause(self) -> float | None:
        tick = self._wheel.next_due()
        return None if tick is None else max(_LEAST_SLEEP, min(LOOK, tick * TICK - self._elapsed()))

    async def _take_up(self, ended: Sequence[ComponentRecord]) -> None:
        """See to those of *ended* that are still so: they ended before we began."""
        same = [one for one in ended if self._registry.instance(*_key(one)) is one]
        for record in same:
            self._watch(record)
        latest = self._clock.time() + _SLACK
        with suppress(StorageError):
            await self._registry.amend([one for one in same if one.changed_at > latest], self._redated)
        await asyncio.sleep(0)

    async def _forget(self, records: Sequence[ComponentRecord]) -> None:
        for record in records:
            del self._timers[_key(record)]
        if not self._registry.storage_full:
            # What is refused is still there, and found below.
            with suppress(StorageError):
                due = [record for record in records if not self._startable(record.component_id)]
                await self._registry.amend(due, self._departure)
        for record in records:
            key = _key(record)
            if self._registry.instance(*key) is record and key not in self._timers:
                self._schedule(key, LOOK)

    def _departure(self, record: ComponentRecord) -> Step:
        return Step("deregistered", record.state, self._dated_now(record), _reason(record))

    def _redated(self, record: ComponentRecord) -> Step:
        return Step("updated", record.state, self._dated_now(record), SET_BACK)

    def _dated_now(self, record: ComponentRecord) -> ComponentRecord:
        return msgspec.structs.replace(record, changed_at=self._clock.time())

    def _on_change(self, change: Change) -> None:
        if self._timers and (timer := self._timers.pop((change.component_id, change.instance_uuid), None)):
            self._wheel.cancel(timer.handle)
        if not _wants_to_be_forgotten(change.record):
            return
        if change.kind != "deregistered":
            self._watch(change.record)
        elif change.reason == _reason(change.record):
            _logger.info("%s is %s", change.component_id, change.reason, extra={"component": change.component_id})

    def _watch(self, record: ComponentRecord) -> None:
        wanted = record.forget_after or 0.0
        left = record.changed_at + wanted - self._clock.time()
        self._schedule(_key(record), min(max(left, 0.0), wanted))

    def _schedule(self, key: Key, delay: float) -> None:
        tick = math.ceil((self._elapsed() + delay) / TICK)
        self._timers[key] = _Timer(self._wheel.schedule(tick, key), tick)
        if self._clock.monotonic() + delay < self._wakes_at:
            self._earlier.set()

    def _is_due(self, key: Key, now: int) -> bool:
        timer = self._timers.get(key)
        return timer is not None and timer.tick <= now

    def _elapsed(self) -> float:
        """Seconds since `start`, by a clock that nobody sets."""
        return self._clock.boottime() - self._began


def _reason(record: ComponentRecord) -> str:
    return f"forgotten {record.forget_after:.15g} s after it {_ENDED_BY[record.state]}"


def _wants_to_be_forgotten(record: ComponentRecord) -> bool:
    return record.forget_after is not None and record.state in ENDED and not record.supervised


def _key(record: ComponentRecord) -> Key:
    return record.component_id, record.instance_uuid
