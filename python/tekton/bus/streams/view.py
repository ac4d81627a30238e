"""What the event loop knows of one stream: how it is, its newest messages, and who is interested."""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

from tekton.bus.bus import ConsumerInfo, StreamInfo, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams.store import Page, StreamState
from tekton.utils.tekton_errors import CursorExpiredError

TAIL_MESSAGES: Final = 2048
TAIL_BYTES: Final = 1024 * 1024


class Tail:
    """The newest messages of a stream, without a gap: who keeps up need not ask the disk.

    At least the newest half of TAIL_MESSAGES, as far as they take no more than half of TAIL_BYTES together. What was
    done with and is off the disk keeps its place here, and nobody sees it.
    """

    def __init__(self) -> None:
        self._envelopes: list[Envelope] = []
        self._sizes: list[int] = []
        self._size = 0
        self._gone: set[int] = set()

    def extend(self, envelopes: Sequence[Envelope], sizes: Sequence[int]) -> None:
        """Add *envelopes*, which follow upon those that are here."""
        self._envelopes += envelopes
        self._sizes += sizes
        self._size += sum(sizes)
        if len(self._envelopes) > TAIL_MESSAGES or self._size > TAIL_BYTES:
            self._trim()

    def forget(self, sequence: int) -> None:
        """It is off the disk."""
        if self._envelopes and sequence >= self._envelopes[0].sequence:
            self._gone.add(sequence)

    def behind(self, after: int, most: int, size: int) -> Page | None:
        """What is left of the next *most* behind *after*, of *size* bytes; None where the tail begins later."""
        start = after + 1 - self._envelopes[0].sequence if self._envelopes else -1
        if not 0 <= start < len(self._envelopes):
            return None
        end = min(start + most, len(self._envelopes))
        sizes = self._sizes[start:end]
        while len(sizes) > 1 and sum(sizes) > size:
            sizes = sizes[: len(sizes) // 2]
        envelopes = self._envelopes[start : start + len(sizes)]
        if self._gone:
            envelopes = [one for one in envelopes if one.sequence not in self._gone]
        return Page(envelopes, after + len(sizes), 0)

    def _trim(self) -> None:
        keep = 0
        size = 0
        for one in reversed(self._sizes[-TAIL_MESSAGES // 2 :]):
            size += one
            if size > TAIL_BYTES // 2:
                break
            keep += 1
        del self._envelopes[: len(self._envelopes) - keep]
        del self._sizes[: len(self._sizes) - keep]
        self._size = sum(self._sizes)
        if self._gone:
            first = self._envelopes[0].sequence if self._envelopes else math.inf
            self._gone = {one for one in self._gone if one >= first}


class StreamView:
    """The stream *name*. `removing` are messages that are done with, and on the disk yet."""

    def __init__(self, name: str, settings: StreamSettings, state: StreamState) -> None:
        self.name = name
        self.settings = settings
        self.state = state
        self.tail = Tail()
        self.removing: dict[int, None] = {}
        self.error: Exception | None = None
        """Why there is nothing more to come, if anything has happened to it."""
        self.lost = 0
        """How many were dropped since the start, at most."""
        self.closed = False
        """The whole bus has ended."""
        self._news: asyncio.Event | None = None
        self._listeners: dict[Callable[[], None], None] = {}

    def page(self, after: int, most: int, size: int) -> Page | None:
        """What is known of the stream behind *after* without asking the store; None when that has to be asked."""
        if after >= self.state.last:
            return Page([], self.state.last, self.state.dropped)
        return self.tail.behind(after, most, size)

    def info(self, first: int | None, consumers: tuple[ConsumerInfo, ...] = ()) -> StreamInfo:
        """How it is; *first* is its oldest message, if it has one."""
        state = self.state
        return StreamInfo(
            self.name,
            self.settings,
            state.messages - len(self.removing),
            state.size,
            state.last + 1 if first is None else first,
            state.last,
            consumers,
            self.lost,
        )

    def check_since(self, since: int) -> None:
        """Raise CursorExpiredError for a sequence that was not given out yet, or is not known any more."""
        if not self.state.dropped <= since <= self.state.last:
            known = f"{self.state.dropped} to {self.state.last}"
            raise CursorExpiredError(f"the stream {self.name} knows the positions {known}, not {since}")

    def show(self, state: StreamState, new: Sequence[tuple[Envelope, int]] = ()) -> None:
        """It is so by now, with the messages *new* (with their sizes) behind those before."""
        self.lost += max(0, state.dropped - self.state.dropped)
        self.state = state
        if new:
            self.tail.extend([envelope for envelope, _ in new], [size for _, size in new])
        self.stir()

    def removed(self, sequence: int) -> None:
        """It was done with, and is off the disk by now."""
        self.removing.pop(sequence, None)
        self.tail.forget(sequence)

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* when there is something new: messages, other limits, the end."""
        self._listeners[listener] = None

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call it no more."""
        self._listeners.pop(listener, None)

    async def news(self) -> None:
        """Wait until there is something new, or somebody wants to have it looked for."""
        if self._news is None:
            self._news = asyncio.Event()
        await self._news.wait()

    def stir(self) -> None:
        """Wake whoever waits for news."""
        news, self._news = self._news, None
        if news is not None:
            news.set()
        for listener in list(self._listeners):
            listener()

    def close(self) -> None:
        """Let those who read come to an end."""
        self.closed = True
        self.stir()

    def end(self, error: Exception) -> None:
        """There is nothing more to come, because of *error*."""
        self.error = error
        self.stir()
