"""Keeps one source of a stream from pushing out what came from others: for the dead letters of all streams.

A stream that is full drops its oldest, whosever they are. One that is watched here is not let get full: when it is
nearly so, those go first whose subject has most in it, the oldest of them first. So what is there of a subject is safe
from others for as long as they have more in it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from tekton.bus.bus import StreamSettings
from tekton.bus.streams.office import Office
from tekton.bus.streams.store import Batch, Committed, Share, StreamState
from tekton.bus.streams.view import StreamView
from tekton.bus.streams.writer import StreamWriter
from tekton.clock import Clock

_logger = logging.getLogger("tekton.bus")

HIGH: Final = 0.75
"""How full the stream is when some of it has to go."""
LOW: Final = 0.625
"""How full it is afterwards."""
RETRY_AFTER: Final = 5.0
"""Seconds after which what could not be done is tried again, at the next occasion."""
MOST: Final = 4096
MOST_BYTES: Final = 8 * 1024 * 1024
"""So much goes with one commit."""


class FairShares:
    """Watches the stream that *view_of* shows. *changed* is told how it is when some of it has gone."""

    def __init__(
        self,
        view_of: Callable[[], StreamView | None],
        office: Office,
        writer: StreamWriter,
        clock: Clock,
        changed: Callable[[Mapping[str, StreamState]], None],
    ) -> None:
        self._view_of = view_of
        self._office = office
        self._writer = writer
        self._time = clock.time
        self._changed = changed
        self._busy = False
        self._not_before = 0.0

    def look(self) -> None:
        """Something was written: see whether there is room left. Returns at once."""
        view = self._view_of()
        if view is None or self._busy or _fullness(view) <= HIGH:
            return
        if asyncio.get_running_loop().time() >= self._not_before:
            self._busy = True
            counting = self._office.ask(lambda: self._office.store.shares(view.name))
            counting.add_done_callback(partial(self._counted, view))

    def _counted(self, view: StreamView, counting: "asyncio.Future[list[Share]]") -> None:
        if self._went_well(counting):
            self._go_on(_Round(view, counting.result()))

    def _go_on(self, one: "_Round") -> None:
        largest = one.largest() if _fullness(one.view) > LOW else None
        if largest is None:
            self._busy = False
            return
        after, most = one.reached.get(largest.subject, 0), min(MOST, -(-largest.messages // 2))
        oldest = self._office.store.oldest
        finding = self._office.ask(lambda: oldest(one.view.name, largest.subject, after, most))
        finding.add_done_callback(partial(self._found, one, largest))

    def _found(self, one: "_Round", share: Share, finding: "asyncio.Future[list[tuple[int, int]]]") -> None:
        if not self._went_well(finding):
            return
        gone = one.take(share, finding.result())
        batch, now, store = Batch(removed=[(one.view.name, each) for each in gone]), self._time(), self._office.store
        removing = self._writer.alone(lambda: store.commit(batch, now))
        removing.add_done_callback(partial(self._removed, one, len(gone)))

    def _removed(self, one: "_Round", count: int, removing: "asyncio.Future[Committed]") -> None:
        if self._went_well(removing):
            one.view.lost += count
            self._changed(removing.result().states)
            self._go_on(one)

    def _went_well(self, done: "asyncio.Future[Any]") -> bool:
        error = None if done.cancelled() else done.exception()
        if error is None and not done.cancelled():
            return True
        _logger.warning("no room could be made among the dead letters: %s", error or "it was cancelled")
        self._not_before = asyncio.get_running_loop().time() + RETRY_AFTER
        self._busy = False
        return False


class _Round:
    """Who has how much, once counted, while some of it goes."""

    def __init__(self, view: StreamView, shares: list[Share]) -> None:
        self.view = view
        self.reached: dict[str, int] = {}
        """Up to which sequence those of a subject are gone."""
        self._shares = {share.subject: share for share in shares}

    def largest(self) -> Share | None:
        settings = self.view.settings
        largest = max(self._shares.values(), key=lambda share: _part(share, settings), default=None)
        return None if largest is None or not largest.messages else largest

    def take(self, share: Share, oldest: list[tuple[int, int]]) -> list[int]:
        """Those of the *oldest*, pairs of a sequence and a size, that go now. Where there are none, none are left."""
        taken: list[int] = []
        size, view = 0, self.view
        for sequence, each in oldest:
            rest = view.state._replace(messages=view.state.messages - len(taken), size=view.state.size - size)
            if taken and (size + each > MOST_BYTES or _part(rest, view.settings) <= LOW):
                break
            taken.append(sequence)
            size += each
        left = Share(share.subject, share.messages - len(taken), share.size - size)
        self._shares[share.subject] = left if taken else Share(share.subject, 0, 0)
        if taken:
            self.reached[share.subject] = taken[-1]
        return taken


def _part(share: Share | StreamState, settings: StreamSettings) -> float:
    """How much of a stream it takes."""
    return max(share.messages / settings.max_messages, share.size / settings.max_bytes)


def _fullness(view: StreamView) -> float:
    return _part(view.state, view.settings)
