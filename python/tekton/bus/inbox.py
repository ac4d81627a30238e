"""Where the answers to requests come: one pattern for all of them, a subject for each.

    inbox = Inbox("tekton")                       # subscribe to inbox.pattern, give what comes to inbox.receive
    with inbox.ask() as question:
        await bus.publish("engram.requests.search", message, reply=question.reply)
        return await question.answer

Nobody can guess the subject: who knows it was asked. What comes to subjects under it is said beside the answer.
"""

import asyncio
import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tekton.bus.bus import INBOX
from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message


class Inbox:
    """The requests of one owner that wait for an answer."""

    __slots__ = ("_beside", "_last", "_prefix", "_waiting", "pattern")

    def __init__(self, owner: str) -> None:
        """*owner* is one token of a subject."""
        self._prefix = f"{INBOX}.{owner}.{secrets.token_hex(16)}."
        self.pattern = f"{self._prefix}>"
        """All that comes here."""
        self._last = 0
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._beside: dict[str, Callable[[Envelope], object]] = {}

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def ask(self, beside: Callable[[Envelope], object] | None = None) -> "Question":
        """A request that begins now; it waits until the `with` block ends.

        *beside* gets what comes to `<reply>.<token>` meanwhile. It has to be quick, and may not raise.
        """
        self._last += 1
        reply = f"{self._prefix}{self._last}"
        if beside is not None:
            self._beside[reply] = beside
        answer = self._waiting[reply] = asyncio.get_running_loop().create_future()
        return Question(self, reply, answer)

    def receive(self, envelope: Envelope) -> bool:
        """Hand an answer to who waits for it. False for a second one, and for one that comes too late."""
        answer = self._waiting.pop(envelope.subject, None)
        if answer is None:
            return self._hear(envelope)
        if answer.done():
            return False
        answer.set_result(envelope.message)
        return True

    def listens(self, subject: str) -> bool:
        """Whether what comes to *subject*, beside an answer, is heard."""
        return subject.rpartition(".")[0] in self._beside

    def forget(self, reply: str) -> None:
        """Wait no more for what comes to *reply*."""
        self._waiting.pop(reply, None)
        self._beside.pop(reply, None)

    def _hear(self, envelope: Envelope) -> bool:
        beside = self._beside.get(envelope.subject.rpartition(".")[0])
        if beside is not None:
            beside(envelope)
        return beside is not None


class Question:
    """A request on its way."""

    __slots__ = ("_inbox", "answer", "reply")

    def __init__(self, inbox: Inbox, reply: str, answer: "asyncio.Future[Message]") -> None:
        self._inbox = inbox
        self.reply = reply
        """Where the answer is to be published."""
        self.answer = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inbox.forget(self.reply)
