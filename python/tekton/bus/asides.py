"""What is said between a request and its answer: how far it is, and what whoever works on it wants to know.

A request says in its metadata what whoever asks listens to: `{"hears": ["events", "questions"]}`. Then there are two
subjects beside the one for the answer, as private as that:

    <reply>.said     events of a tool: {"event": "progress", …}, {"event": "log", …}, {"event": "chunk", …}
    <reply>.asked    requests: {"tool", "text", "schema"}
                     and their answers: {"action": "accept" | "decline" | "cancel", "content"}

`Asides` is the side of the one who asks, `on_line` that of the one who answers. Nothing is said before the request has
come or after its answer, and questions have the time of the request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec

from tekton.background import BackgroundGroup, BackgroundTask
from tekton.bus.bus import INBOX
from tekton.bus.envelope import Envelope
from tekton.mcp.error_message import error_content, error_of
from tekton.mcp.message import Message, MessageType
from tekton.mcp.tool_context import BACKLOG, Answer, AnswerQuestion, Question, Tell, ToolEvent
from tekton.mcp.tool_line import LINE, ToolLine
from tekton.utils.tekton_errors import InvalidContentError, NobodyToAskError, NoRespondersError, TektonError

HEARS: Final = "hears"
EVENTS: Final = "events"
QUESTIONS: Final = "questions"
SAID: Final = "said"
ASKED: Final = "asked"

MOST_QUESTIONS: Final = 8
"""Questions of one request that may be open; what more is asked is put aside."""
LAST_WORDS: Final = 2.0
"""Seconds for which an answer waits for what was said before it, and who goes for it to be known that he does."""
_LONG: Final = 86400.0

_logger = logging.getLogger("tekton.bus")


class Speaking(Protocol):
    """What is needed of a bus."""

    async def publish(self, subject: str, message: Message, *, reply: str | None = None) -> object: ...

    async def request(self, subject: str, message: Message, *, timeout: float) -> Message: ...


class Asides:
    """What whoever makes a request hears: *tell* gets the events, *answer* the questions. Use it with `async with`."""

    def __init__(self, bus: Speaking, tell: Tell | None, answer: AnswerQuestion | None) -> None:
        self._bus = bus
        self._tell = tell
        self._answer = answer
        self._asked = 0
        self._over = False
        self._answering = BackgroundGroup("answers")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        await self._answering.stop()

    @property
    def hears(self) -> list[str]:
        """What is listened to."""
        return [name for name, one in ((EVENTS, self._tell), (QUESTIONS, self._answer)) if one is not None]

    def announced(self, message: Message) -> Message:
        """*message*, which says what is listened to."""
        if not (heard := self.hears):
            return message
        return Message(
            message.message_type,
            message.content,
            message.context,
            {**message.metadata, HEARS: heard},
            message_id=message.message_id,
            timestamp=message.timestamp,
        )

    def hear(self, envelope: Envelope) -> None:
        """Something has come beside the answer. Never raises."""
        what = envelope.subject.rpartition(".")[2]
        try:
            if what == SAID and self._tell is not None:
                self._tell(msgspec.convert(envelope.message.content, ToolEvent))
            elif what == ASKED and self._answer is not None and envelope.reply is not None:
                self._answering.spawn(self._reply(self._answer, envelope, envelope.reply), "answer")
        except Exception:
            _logger.exception("what was said beside an answer could not be heard")

    async def _reply(self, answer: AnswerQuestion, envelope: Envelope, reply: str) -> None:
        asked = envelope.message
        context = asked.follow(asked.context.recipient or asked.context.sender, asked.context.sender)
        kind, content = MessageType.RESPONSE, Answer("cancel")._asdict()
        self._asked += 1
        try:
            if self._asked <= MOST_QUESTIONS and not self._over:
                content = (await answer(_question(asked.content)))._asdict()
        except asyncio.CancelledError:
            with suppress(TimeoutError, TektonError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._bus.publish(reply, Message(kind, content, context))
            raise
        except Exception as error:
            if not isinstance(error, TektonError):
                _logger.exception("a question of a tool was not answered")
            kind, content = MessageType.ERROR, error_content(error)
        finally:
            self._asked -= 1
        await self._bus.publish(reply, Message(kind, content, context))


@asynccontextmanager
async def on_line(bus: Speaking, sender: str, envelope: Envelope) -> AsyncIterator[None]:
    """In here tools speak to whoever has made the request that *envelope* brings, as far as he listens.

    They do so as *sender*. Leaving it takes until what they have said is published, two seconds at most.
    """
    heard, reply = envelope.message.metadata.get(HEARS), envelope.reply or ""
    # Only what is beside an inbox is as private as the answer.
    if not isinstance(heard, list) or not reply.startswith(f"{INBOX}."):
        yield
        return
    caller = _Caller(bus, sender, envelope.message, reply)
    tell = caller.tell if EVENTS in heard else None
    answer = caller.ask if QUESTIONS in heard else None
    token = LINE.set(ToolLine(envelope.message.message_id, tell, answer))
    try:
        yield
    finally:
        LINE.reset(token)
        await caller.close()


class _Caller:
    """Whoever has made *request*, as those see him who work on it."""

    def __init__(self, bus: Speaking, sender: str, request: Message, reply: str) -> None:
        self._bus = bus
        self._context = request.follow(sender, request.context.sender)
        self._reply = reply
        self._said: deque[ToolEvent] = deque(maxlen=BACKLOG)
        self._saying = BackgroundTask("asides")

    def tell(self, event: ToolEvent) -> None:
        self._said.append(event)
        if not self._saying.running:
            self._saying.start(self._say())

    async def ask(self, question: Question) -> Answer:
        asked = Message(MessageType.REQUEST, _asked(question), self._context)
        try:
            reply = await self._bus.request(f"{self._reply}.{ASKED}", asked, timeout=_LONG)
        except NoRespondersError:
            raise NobodyToAskError(question.tool_id, question.text) from None
        if (error := error_of(reply)) is not None:
            raise error
        return _answer(reply.content)

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._saying.join()
        await self._saying.stop()

    async def _say(self) -> None:
        while self._said:
            event = self._said.popleft()
            try:
                message = Message(MessageType.EVENT, msgspec.to_builtins(event), self._context)
                await self._bus.publish(f"{self._reply}.{SAID}", message)
            except Exception as error:
                _logger.warning("what a tool has said was not passed on: %s", error)


def _asked(question: Question) -> dict[str, Any]:
    return {"tool": question.tool_id, "text": question.text, "schema": question.schema}


def _question(content: Any) -> Question:
    match content:
        case {"tool": str() as tool, "text": str() as text, "schema": dict() | None as schema}:
            return Question(tool, text, schema)
        case _:
            raise InvalidContentError("", "this is no question of a tool")


def _answer(content: Any) -> Answer:
    match content:
        case {"action": "accept" | "decline" | "cancel" as action}:
            return Answer(action, content.get("content"))
        case _:
            raise InvalidContentError("/action", "this is no answer to a question of a tool")
