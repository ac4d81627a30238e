"""The change feed: one shared log of registry changes, read through cursors.

Publishing is one append. A subscriber is a position in the log, so a slow one costs no memory: when the log has
moved on past it, it is told so (`CursorExpiredError`) and starts again from a snapshot. Revisions are strictly
increasing and sparse: gaps between them mean nothing.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import msgspec

from tekton.core.lifecycle import Change
from tekton.utils.tekton_errors import CursorExpiredError

_encode = msgspec.json.Encoder().encode

Listener = Callable[[Change], None]

_ENCODED = 1024
"""How many changes are kept encoded: those that subscribers who keep up are sending."""

_LEAST_SIZE = 512
"""Bytes that a change is counted as, without what the component itself says."""

_logger = logging.getLogger("tekton.events")


def can_be_told(future: "asyncio.Future[Any]") -> bool:
    """True when somebody may still wait for *future*: neither was it cancelled nor its event loop closed."""
    return not future.done() and not future.get_loop().is_closed()


class ChangeFeed:
    """At least the last `capacity` changes in revision order, and at most a tenth more.

    Fewer are kept when what they say is large: together they never describe more than `capacity_bytes` (as JSON, by
    estimate), so that components with much metadata cannot fill the memory by registering again and again.
    Everything happens on one event loop; nothing here may be called from another thread.
    """

    def __init__(self, revision: int = 0, capacity: int = 100_000, capacity_bytes: int = 256 * 1024 * 1024) -> None:
        """*revision* is where the feed begins: positions before it are unknown to it."""
        self.fell_behind = 0
        """How often a subscriber was told that what it wants is gone."""
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._size = 0
        self._first = revision
        self._log: list[Change] = []
        self._dropped = 0
        self._encoded: dict[int, bytes] = {}
        self._listeners: list[Listener] = []
        self._undelivered: deque[Change] = deque()
        self._delivering = False
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._revision = revision

    @property
    def revision(self) -> int:
        """The revision of the last published change."""
        return self._revision

    @property
    def first(self) -> int:
        """The oldest position from which a subscriber can resume without a gap."""
        return self._first

    @property
    def published(self) -> int:
        """How many changes there were since the feed was made."""
        return self._dropped + len(self._log)

    @property
    def lags(self) -> list[int]:
        """Of each subscriber, how many changes it has not taken yet."""
        return [self.published - one.position for one in self._subscriptions]

    def publish(self, *changes: Change) -> None:
        """Append *changes*, call the listeners in the order in which they were added, wake the subscribers."""
        for change in changes:
            if change.revision <= self._revision:
                raise ValueError(f"revision {change.revision} published after {self._revision}")
            self._revision = change.revision
            self._log.append(change)
            self._size += _size(change)
        if len(self._log) >= self._capacity + self._capacity // 10 + 1 or self._size > self._capacity_bytes:
            self._trim()
        if self._listeners:
            self._undelivered.extend(changes)
            if not self._delivering:
                self._deliver()
        if self._waiting:
            self._wake()

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Call *listener* synchronously with every change from now on; returns the function that removes it.

        A listener must be quick: it runs between a commit and its acknowledgement. What it raises is logged. A change
        that it causes in turn is published at once, and told when all have heard the present ones.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def subscribe(self, since: int | None = None) -> "Subscription":
        """Every change after revision *since* (default: from now on), each exactly once.

        Raises CursorExpiredError when *since* is not a position this feed can resume from.
        """
        if since is None:
            since = self._revision
        if not self._first <= since <= self._revision:
            self.fell_behind += 1
            raise CursorExpiredError(f"position {since} is not known ({self._first} to {self._revision} are)")
        position = bisect_right(self._log, since, key=lambda change: change.revision)
        subscription = Subscription(self, self._dropped + position)
        self._subscriptions.add(subscription)
        return subscription

    def encoded(self, change: Change) -> bytes:
        """*change* as JSON, encoded once however many subscribers send it while it is news."""
        data = self._encoded.get(change.revision)
        if data is None:
            if len(self._encoded) >= _ENCODED:
                del self._encoded[next(iter(self._encoded))]
            data = self._encoded[change.revision] = _encode(change)
        return data

    def read(self, position: int) -> list[Change]:
        """What has been published from log *position* on. Raises CursorExpiredError when that part is gone."""
        if position < self._dropped:
            self.fell_behind += 1
            raise CursorExpiredError("the subscriber fell behind the change feed")
        return self._log[position - self._dropped :]

    def wait(self) -> "asyncio.Future[None]":
        """A future that is done at the next publish; to be given back by `stop_waiting`."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        return future

    def stop_waiting(self, future: "asyncio.Future[None]") -> None:
        """Forget *future*. Without an effect when it is done by a publish."""
        self._waiting.pop(future, None)

    def leave(self, subscription: "Subscription") -> None:
        """It reads no more."""
        self._subscriptions.discard(subscription)

    def _deliver(self) -> None:
        self._delivering = True
        try:
            while self._undelivered:
                self._tell(self._undelivered.popleft())
        finally:
            self._delivering = False

    def _tell(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(change)
            except Exception:
                _logger.exception("a listener failed at revision %d", change.revision)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if can_be_told(future):
                future.set_result(None)

    def _trim(self) -> None:
        gone = max(0, len(self._log) - self._capacity)
        size = self._size - sum(map(_size, self._log[:gone]))
        # A bit more than must be: the next one need not trim again.
        while size > self._capacity_bytes * 0.9 and gone < len(self._log):
            size -= _size(self._log[gone])
            gone += 1
        self._size = size
        self._first = self._log[gone - 1].revision
        del self._log[:gone]
        self._dropped += gone


def _size(change: Change) -> int:
    """What *change* adds to the memory, roughly: one of the state alone shares what the record says with others."""
    record = change.record
    if change.kind in ("state", "serving") or not (record.metadata or record.offered or record.offered_agents):
        return _LEAST_SIZE
    said = (record.metadata, record.offered, record.offered_agents)
    return _LEAST_SIZE + sum(len(_encode(part)) for part in said)


class Subscription:
    """A cursor on the feed: `async for batch in subscription` yields lists of changes, never empty.

    Iteration raises CursorExpiredError when the subscriber fell behind, and ends after `close()`.
    """

    def __init__(self, feed: ChangeFeed, position: int) -> None:
        self._feed = feed
        self._position = position
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def position(self) -> int:
        """How many changes of the feed lie before what comes next."""
        return self._position

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[list[Change]]:
        return self

    async def __anext__(self) -> list[Change]:
        while not self._closed:
            batch = self._feed.read(self._position)
            if batch:
                self._position += len(batch)
                return batch
            self._waiter = self._feed.wait()
            try:
                await self._waiter
            finally:
                self._feed.stop_waiting(self._waiter)
        raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration, also one that is waiting. Closing twice does nothing."""
        self._closed = True
        self._feed.leave(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
