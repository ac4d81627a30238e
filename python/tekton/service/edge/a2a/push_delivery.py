"""Telling webhooks what happens to tasks: each of them everything, in order, at least once.

* What a webhook has got is on the disk (`PushStore`), so that a restart leaves nothing out.
* One request at a time goes to each configuration. One that fails is tried again, later and later, up to every five
  minutes; whoever has not taken an event for 24 hours of trying is told nothing any more: his configuration is deleted.
  So is that of a webhook that answers 410.
* Whoever does not answer keeps nobody else from being told (`push_places`).
* A request may take ten seconds. Redirects are not followed, and what is answered is not read.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from tekton._native import uuid7
from tekton.a2a.push_store import PushConfig
from tekton.a2a.task import fold
from tekton.a2a.task_event import TaskEvent
from tekton.a2a.task_journal import TaskChange
from tekton.background import BackgroundGroup, BackgroundTask
from tekton.clock import Clock
from tekton.service.edge.a2a.errors import MEDIA_TYPE
from tekton.service.edge.a2a.push_places import Key, Lane, PushPlaces, Turn
from tekton.service.edge.a2a.views import Follower
from tekton.service.edge.a2a.wire import StreamResponse, encode
from tekton.service.tasks import Tasks
from tekton.service.work import Work
from tekton.utils.strict_urls import InvalidUrlError, parse_url
from tekton.utils.tekton_errors import StorageError, TaskNotFoundError, TransportError
from tekton.utils.tekton_http import Answer

AT_ONCE: Final = 32
TIMEOUT: Final = 10.0
BACKOFF: Final = (1.0, 300.0)
"""Seconds before the second attempt, and between two at most; half of it, at random, is taken off."""
SCAN: Final = 0.5
"""Seconds between two looks for those who want to be told of tasks that were there before the start."""
GIVE_UP: Final = 86_400.0
"""Seconds for which an event is tried from its first failure on; then it is not any more, nor is anything behind it.

Those for which nobody has tried, because there was no control plane, do not count.
"""
_PAGE: Final = 100
_GONE: Final = 410

Send = Callable[[str, str, bytes, Mapping[str, str], float], Awaitable[Answer]]
"""Sends a request as `GuardedHttp.send` does: method, URL, body, headers, timeout."""

_logger = logging.getLogger("tekton.a2a")


class _NotTakenError(Exception):
    """The webhook has not taken it. The text says why."""


class _NotWantedError(Exception):
    """The webhook wants nothing any more."""


class _Failing(NamedTuple):
    """How often in a row something was not taken, and since when, by the clock that nobody sets."""

    attempts: int
    since: float


class PushDelivery:
    """Delivers what *tasks* tell to the webhooks in *work*, from `start` to `stop`, by *send*."""

    def __init__(self, tasks: Tasks, work: Work, send: Send, clock: Clock, rng: random.Random | None = None) -> None:
        self.delivered = self.failed = self.dropped = 0
        """Requests that a webhook has taken, and those that none has; configurations that were given up."""
        self._tasks = tasks
        self._work = work
        self._send = send
        self._clock = clock
        self._rng = rng or random.Random()
        self._known: dict[str, dict[str, Lane]] = {}
        self._since = ""
        self._rescan = True
        self._next_scan = 0.0
        self._places = PushPlaces(AT_ONCE)
        self._queued: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, Key]] = []
        self._failing: dict[Key, _Failing] = {}
        self._running: set[Key] = set()
        self._news = asyncio.Event()
        self._main = BackgroundTask("push notifications")
        self._group = BackgroundGroup("push")
        self._unlisten: Callable[[], None] | None = None

    def start(self) -> None:
        """Deliver from now on, and first what was left over. Starting twice does nothing more."""
        if self._unlisten is not None or not self._work.usable:
            return
        self._since = uuid7()
        self._unlisten = self._tasks.manager.listen(self._on_change)
        self._main.start(self._run())

    async def stop(self) -> None:
        """Deliver nothing any more; what was not delivered is after the next start. Stopping twice does nothing."""
        unlisten, self._unlisten = self._unlisten, None
        if unlisten is not None:
            unlisten()
        await self._main.stop()
        await self._group.stop()

    def added(self, config: PushConfig) -> None:
        """There is *config* from now on, or it is another than before."""
        self._failing.pop((config.task_id, config.config_id), None)  # where it is now, it may succeed
        self._learn(config)

    def _learn(self, config: PushConfig) -> None:
        self._known.setdefault(config.task_id, {})[config.config_id] = _lane(config)
        self._queue((config.task_id, config.config_id))

    @property
    def waiting(self) -> int:
        """How many configurations wait for another attempt."""
        return len(self._failing)

    def _on_change(self, change: TaskChange) -> None:
        task_id = change.task.task_id
        if task_id in self._known:
            for config_id in self._known[task_id]:
                self._queue((task_id, config_id))
        elif task_id < self._since and not self._rescan:
            # It was there before us, and so may be somebody who wants to be told of it.
            self._rescan = True
            self._news.set()

    def _queue(self, key: Key) -> None:
        """Deliver what there is for *key*, unless it waits for another attempt."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued and key not in self._failing:
            self._line_up(key)
            self._news.set()

    def _line_up(self, key: Key) -> None:
        lane = self._known.get(key[0], {}).get(key[1])
        if lane is not None:
            self._queued.add(key)
            self._places.wait(key, lane, failing=key in self._failing)

    async def _run(self) -> None:
        while True:
            self._news.clear()
            if self._rescan and self._next_scan <= self._clock.monotonic():
                self._scan()
            self._wake_up()
            self._begin()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _scan(self) -> None:
        """Learn of all who have something to be told."""
        self._rescan = False
        self._next_scan = self._clock.monotonic() + SCAN
        after = ("", "")
        while page := self._work.push.waiting(_PAGE, after):
            for config in page:
                self._learn(config)
            after = page[-1].task_id, page[-1].config_id

    def _pause(self) -> float | None:
        due = [self._later[0][0]] if self._later else []
        if self._rescan:
            due.append(self._next_scan)
        return max(min(due) - self._clock.monotonic(), 0.0) if due else None

    def _wake_up(self) -> None:
        now = self._clock.monotonic()
        while self._later and self._later[0][0] <= now:
            _, key = heapq.heappop(self._later)
            if key in self._failing and key not in self._queued and key not in self._running:
                self._line_up(key)

    def _begin(self) -> None:
        """Begin with as many as may be under way."""
        while (turn := self._places.take()) is not None:
            self._queued.discard(turn.key)
            self._running.add(turn.key)
            self._group.spawn(self._work_on(turn), turn.key[0])

    async def _work_on(self, turn: Turn) -> None:
        key, done = turn.key, True
        try:
            done = await self._deliver(key)
        except TaskNotFoundError:
            self._forget(key)
        except StorageError as error:
            done = False
            _logger.warning("the webhook of task %s will be told later: %s", key[0], error)
            self._wait(key)
        finally:
            self._running.discard(key)
            self._places.leave(turn)
            self._news.set()
        if done:
            self._failing.pop(key, None)
            if key in self._again:
                self._queue(key)
        self._again.discard(key)

    async def _deliver(self, key: Key) -> bool:
        """Deliver all that there is for *key*; False when it is to be tried again later."""
        config = self._work.push.get(*key)
        if config is None:
            self._forget(key)
            return True
        follower, number, lane = self._follower(config), config.delivered, _lane(config)
        while events := await self._tasks.read(config.task_id, number, _PAGE):
            for event in events:
                now = self._work.push.get(*key)
                if now is None:
                    self._forget(key)
                    return True
                if now != msgspec.structs.replace(config, delivered=number):
                    self._again.add(key)  # it is another one by now
                    return True
                if not await self._tell(config, follower.follow(event)):
                    self._places.note(lane, answers=False)
                    return self._work.push.get(*key) is None
                self._places.note(lane, answers=True)
                self._failing.pop(key, None)
                self._work.push.note_delivered(*key, event.number)
                number = event.number
        if follower.state.over:
            self._forget(key)
        return True

    async def _tell(self, config: PushConfig, updates: list[StreamResponse]) -> bool:
        """Tell of what an event is in the protocol; False when the webhook has not taken it."""
        try:
            for update in updates:
                await self._post(config, encode(update))
                self.delivered += 1
        except _NotWantedError:
            self._drop(config, "the webhook answers 410")
            return False
        except _NotTakenError as error:
            self.failed += 1
            self._put_off(config, str(error))
            return False
        return True

    async def _post(self, config: PushConfig, body: bytes) -> None:
        headers = {"Content-Type": MEDIA_TYPE}
        if config.token:
            headers["X-A2A-Notification-Token"] = config.token
        if config.scheme and config.credentials:
            headers["Authorization"] = f"{config.scheme} {config.credentials}"
        try:
            answer = await self._send("POST", config.url, body, headers, TIMEOUT)
        except TransportError as error:
            raise _NotTakenError(str(error)) from None
        if answer.status == _GONE:
            raise _NotWantedError
        if not 200 <= answer.status < 300:
            raise _NotTakenError(f"it answers {answer.status}")

    def _put_off(self, config: PushConfig, why: str) -> None:
        key = config.task_id, config.config_id
        failing = self._failing.get(key)
        if failing is not None and self._clock.monotonic() - failing.since >= GIVE_UP:
            self._drop(config, f"an event could not be delivered for {GIVE_UP / 3600:g} h: {why}")
            return
        delay = self._wait(key)
        _logger.info("the webhook of task %s was not told, and will be in %.1f s: %s", config.task_id, delay, why)

    def _wait(self, key: Key) -> float:
        """Try *key* again later; returns in how many seconds."""
        now = self._clock.monotonic()
        attempts, since = self._failing.get(key, _Failing(0, now))
        self._failing[key] = _Failing(attempts + 1, since)
        first, most = BACKOFF
        delay: float = min(first * 2 ** min(attempts, 30), most) * self._rng.uniform(0.5, 1.0)
        heapq.heappush(self._later, (now + delay, key))
        return delay

    def _drop(self, config: PushConfig, why: str) -> None:
        self.dropped += 1
        self._work.push.delete(config.task_id, config.config_id)
        self._forget((config.task_id, config.config_id))
        _logger.warning("the webhook of task %s is told nothing any more: %s", config.task_id, why)

    def _forget(self, key: Key) -> None:
        task_id, config_id = key
        self._failing.pop(key, None)
        if (lanes := self._known.get(task_id)) is not None:
            lanes.pop(config_id, None)
            if not lanes:
                del self._known[task_id]

    def _follower(self, config: PushConfig) -> Follower:
        """What tells of the events behind those that *config* has got."""
        return Follower(fold(self._delivered(config)))

    def _delivered(self, config: PushConfig) -> Iterator[TaskEvent]:
        number = 0
        while number < config.delivered:
            events = self._tasks.manager.events(config.task_id, number, min(_PAGE, config.delivered - number))
            if not events:
                raise TaskNotFoundError(config.task_id)
            yield from events
            number = events[-1].number


def _lane(config: PushConfig) -> Lane:
    try:
        return Lane(config.owner, parse_url(config.url).origin)
    except InvalidUrlError:
        return Lane(config.owner, config.url)
