"""A replay: what a stream has, read page by page, and what comes."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from tekton._native import covers
from tekton.bus.envelope import Envelope
from tekton.bus.streams.store import Page
from tekton.bus.streams.view import StreamView
from tekton.bus.turn import Turn

PAGE_MESSAGES: Final = 256
PAGE_BYTES: Final = 1024 * 1024

Read = Callable[[str, int, str, int, int], Awaitable[Page]]
"""`StreamStore.read`, awaited."""


class Replay:
    """A Subscription to a stream. It holds one page, and who does not read costs nothing.

    `gap` is exact for all subjects of a stream that is no work queue, else the most that it can have been.
    """

    def __init__(
        self,
        view: StreamView,
        pattern: str,
        read: Read,
        turn: Turn,
        *,
        after: int,
        begin: Callable[[], Awaitable[int]] | None = None,
        at: float | None = None,
    ) -> None:
        """It begins behind *after*; or, with what was stored from *at* on, behind what *begin* finds."""
        self.pattern = pattern
        self.lost = self.gap = 0
        self.began: int | None = None
        self._view = view
        self._read = read
        self._turn = turn
        self._after = after
        self._begin = begin
        self._at = at
        self._untold = 0
        self._rest: deque[Envelope] = deque()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        async for envelopes in self.batches():
            # Who breaks off here and iterates anew goes on with the rest of them.
            self._rest.extend(envelopes)
            while self._rest:
                yield self._rest.popleft()
                self.gap = 0

    async def batches(self) -> AsyncGenerator[list[Envelope], None]:
        """See Subscription. A page at most."""
        if self._begin is not None:
            self._after = await self._begin()
            self._begin = None
        if self._rest and not self._is_over():
            rest = list(self._rest)
            self._rest.clear()
            # It was told with the first of them.
            self.gap = 0
            yield rest
        while not self._is_over():
            if self._view.error is not None:
                raise self._view.error
            envelopes = self._chosen(await self._page())
            if envelopes:
                self.gap, self._untold = self._untold, 0
                yield envelopes
            elif self._after >= self._view.state.last and not self._is_over() and self._view.error is None:
                await self._view.news()

    async def close(self) -> None:
        """See Subscription."""
        self._closed = True
        self._view.stir()

    def _is_over(self) -> bool:
        return self._closed or self._view.closed

    async def _page(self) -> Page:
        page = None
        if not self._view.settings.work_queue and self._after >= self._view.state.dropped:
            page = self._view.page(self._after, PAGE_MESSAGES, PAGE_BYTES)
        if page is not None:
            if not self._turn.has_room(len(page.envelopes), 0):
                await self._turn.wait(len(page.envelopes), 0)
        else:
            page = await self._read(self._view.name, self._after, self.pattern, PAGE_MESSAGES, PAGE_BYTES)
        missed = max(0, page.dropped - self._after)
        self.lost += missed
        self._untold += missed
        self._after = max(self._after, page.through)
        return page

    def _chosen(self, page: Page) -> list[Envelope]:
        done, envelopes = self._view.removing, page.envelopes
        if self._at is not None:
            envelopes = self._not_before(self._at, envelopes)
        if self.pattern == ">" and not done:
            return envelopes
        return [one for one in envelopes if one.sequence not in done and covers(self.pattern, one.subject)]

    def _not_before(self, at: float, envelopes: list[Envelope]) -> list[Envelope]:
        """What comes from that instant on, which may lie ahead: it begins with the first one that is not older."""
        for place, one in enumerate(envelopes):
            if round(one.time * 1e6) >= round(at * 1e6):
                self._at = None
                return envelopes[place:]
        return []
