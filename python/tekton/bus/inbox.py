"""Where the answers to requests come: one pattern for all of them, a subject for each.

    inbox = Inbox("tekton")                       # subscribe to inbox.pattern, give what comes to inbox.receive
    with inbox.ask() as question:
        await bus.publish("engram.requests.search", message, reply=question.reply)
        return await question.answer

Nobody can guess the subject: who knows it was asked.
"""

import asyncio
import secrets
from types import TracebackType
from typing import Self

from tekton.bus.bus import INBOX
from tekton.bus.envelope import Envelope
from tekton.mcp.message import Message


class Inbox:
    """The requests of one owner that wait for an answer."""

    __slots__ = ("_last", "_prefix", "_waiting", "pattern")

    def __init__(self, owner: str) -> None:
        """*owner* is one token of a subject."""
        self._prefix = f"{INBOX}.{owner}.{secrets.token_hex(16)}."
        self.pattern = f"{self._prefix}>"
        """All that comes here."""
        self._last = 0
        self._waiting: dict[str, asyncio.Future[Message]] = {}

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def ask(self) -> "Question":
        """A request that begins now; it waits until the `with` block ends."""
        self._last += 1
        reply = f"{self._prefix}{self._last}"
        answer = self._waiting[reply] = asyncio.get_running_loop().create_future()
        return Question(self, reply, answer)

    def receive(self, envelope: Envelope) -> bool:
        """Hand an answer to who waits for it. False for a second one, and for one that comes too late."""
        answer = self._waiting.pop(envelope.subject, None)
        if answer is None or answer.done():
            return False
        answer.set_result(envelope.message)
        return True

    def forget(self, reply: str) -> None:
        """Wait no more for what comes to *reply*."""
        self._waiting.pop(reply, None)


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
