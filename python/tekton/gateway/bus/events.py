"""What is published to a subject, as server-sent events.

    id: 1786000000000017                       the place on the bus, or `orders:17`: the place in a stream
    data: {"subject":"a.b","sequence":17,"time":1786000000.5,"message":{…}}

What one stream takes as a whole is read from it, and comes without a gap however long the client was away. Of the rest
the bus remembers the last while. A `Last-Event-ID` that means nothing here any more is answered by `reset`; what was
between is lost, except for what the stream has: that comes from the oldest on. `gap` tells of what was passed over.
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from tekton._native import covers, is_valid_pattern
from tekton.auth.subjects import Hearing
from tekton.bus.batches import parts
from tekton.bus.bus import Limits, Policy, StreamInfo, Subscription
from tekton.bus.envelope import Envelope
from tekton.bus.interest import share_subjects
from tekton.gateway.bus.letters import may_be_letters, readable
from tekton.gateway.bus.listener import Hears
from tekton.gateway.bus.port import MAX_PATTERNS, BusPort
from tekton.gateway.request import Request
from tekton.gateway.sse import EventStream, event, last_event_id
from tekton.utils.tekton_errors import CursorExpiredError, InvalidSubjectError, StorageError, TooManySubscriptionsError

_LIVE_ID: Final = re.compile(r"[0-9]{1,18}")
_STREAM_ID: Final = re.compile(r"([^:\s]{1,255}):([0-9]{1,18})")
_LIMITS: Final = Limits(policy=Policy.DROP_OLDEST)
_LISTENING: Final = b": listening\n\n"
_RESET: Final = event(b'{"reason":"position not known"}', "reset")
_FRAME: Final = len('{"id":0,"t":"msg",')
"""What the frame of a socket begins with, and an event does without."""


class SubjectEvents:
    """The event streams of the bus of *port*."""

    def __init__(self, port: BusPort) -> None:
        self._port = port

    async def stream(self, request: Request, pattern: str) -> EventStream:
        """What comes to *pattern*, from now on or behind the `Last-Event-ID`, as far as who asks may hear it.

        Raises InvalidSubjectError, CredentialRequiredError, PermissionDeniedError.
        """
        if not is_valid_pattern(pattern):
            raise InvalidSubjectError(pattern, "is no pattern of subjects")
        kept = await self._stream_of(pattern)
        hears = self._hears(pattern) if kept is None else self._hears_of(kept, pattern)
        last = last_event_id(request.headers)
        heard = _Heard(request, self._port, hears, letters=may_be_letters(pattern))
        self._check_room(heard.caller.principal.subject)
        return EventStream(self._events(heard, pattern, kept, last))

    async def _stream_of(self, pattern: str) -> StreamInfo | None:
        """The stream that takes all of *pattern*."""
        try:
            streams = await self._port.bus.streams(consumers=False)
        except StorageError:  # streams cannot be used; what is only published can be heard
            return None
        for stream in streams:
            # As for subscriptions, a pattern that does not name what is private takes none of it.
            if any(covers(taken, pattern) and share_subjects(taken, pattern) for taken in stream.settings.subjects):
                return stream
        return None

    def _check_room(self, name: str) -> None:
        # The place is taken when the stream begins, which some never do.
        if not self._port.patterns.enter(name):
            raise TooManySubscriptionsError(MAX_PATTERNS)
        self._port.patterns.leave(name)

    def _hears(self, pattern: str) -> Hears:
        return lambda caller: self._port.access.check_subscribe(caller, pattern)

    def _hears_of(self, stream: StreamInfo, pattern: str) -> Hears:
        return lambda caller: self._port.access.check_replay(caller, stream.name, stream.settings.subjects, pattern)

    async def _events(
        self, heard: "_Heard", pattern: str, kept: StreamInfo | None, last: str | None
    ) -> AsyncIterator[bytes]:
        name = heard.caller.principal.subject
        if not self._port.patterns.enter(name):
            raise TooManySubscriptionsError(MAX_PATTERNS)
        try:
            known, subscription = self._open(pattern, last) if kept is None else self._replay(kept, pattern, last)
            async with subscription:
                yield _LISTENING if known else _RESET + _LISTENING
                async for batch in subscription.batches():
                    if subscription.gap:
                        yield event(b'{"lost":%d}' % subscription.gap, "gap")
                    for part in parts(heard.audible(batch)):
                        yield b"".join(map(_event, part))
        finally:
            self._port.patterns.leave(name)

    def _open(self, pattern: str, last: str | None) -> tuple[bool, Subscription]:
        """Whether the position is known, and what comes behind it, or from now on."""
        subscribe = self._port.bus.subscribe
        if last is None or _LIVE_ID.fullmatch(last) is None:
            return last is None, subscribe(pattern, limits=_LIMITS)
        try:
            return True, subscribe(pattern, limits=_LIMITS, since=int(last))
        except CursorExpiredError:
            return False, subscribe(pattern, limits=_LIMITS)

    def _replay(self, stream: StreamInfo, pattern: str, last: str | None) -> tuple[bool, Subscription]:
        replay = self._port.bus.replay
        if last is None:
            return True, replay(stream.name, since=stream.last, pattern=pattern)
        found = _STREAM_ID.fullmatch(last)
        if found is None or found[1] != stream.name:
            return False, replay(stream.name, pattern=pattern)
        try:
            return True, replay(stream.name, since=int(found[2]), pattern=pattern)
        except CursorExpiredError:
            return False, replay(stream.name, pattern=pattern)


class _Heard:
    """What who makes the *request* may hear of a subscription. Whom that is, the policy says anew at each review."""

    def __init__(self, request: Request, port: BusPort, hears: Hears, *, letters: bool) -> None:
        self._letters = letters
        self._request = request
        self._port = port
        self._hears = hears
        self.caller = port.access.caller(request.principal, request.client)
        self._hearing = hears(self.caller)

    def audible(self, batch: Sequence[Envelope]) -> Sequence[Envelope]:
        """What of *batch* may be heard. Raises when that is nothing at all any more."""
        if self._request.principal is not self.caller.principal:
            self.caller = self._port.access.caller(self._request.principal, self._request.client)
            self._hearing = self._hears(self.caller)
        hears = self.caller.rights.hears
        if self._hearing is not Hearing.ALL:
            batch = [envelope for envelope in batch if hears(envelope.subject)]
        return readable(batch, hears) if self._letters else batch


def _event(envelope: Envelope) -> bytes:
    place = envelope.sequence if envelope.stream is None else f"{envelope.stream}:{envelope.sequence}"
    return event(b"{" + envelope.frame(0)[_FRAME:].encode(), None, place)
