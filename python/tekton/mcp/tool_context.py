"""What a tool knows about its call, and what it can say and ask while it runs.

    async def build(target: str, context: ToolContext) -> str:
        context.progress(1, 3, "compiling")
        answer = await context.ask("Deploy it as well?", Confirmation)

A tool gets it by a parameter with this annotation. Whoever calls makes one (`ToolContext("ada", tell=…, answer=…)`)
and hears through `tell` what the tool says; a tool that calls another one passes on its own. What is said after the
call is over is heard by nobody.
"""

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from tekton.core.degradation.deadline import time_left
from tekton.mcp.message import Message
from tekton.utils.misfits import misfit
from tekton.utils.tekton_errors import InvalidContentError, NobodyToAskError
from tekton.utils.trace_context import CURRENT, TraceContext

__all__ = [
    "Answer",
    "AnswerQuestion",
    "Chunk",
    "LogLine",
    "Progress",
    "Question",
    "Tell",
    "ToolContext",
    "ToolEvent",
]

BACKLOG = 1000
"""How many events of a thread wait for the event loop. The oldest is dropped for another one."""

Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final = get_args(Level)

_logger = logging.getLogger("tekton.tools")


class Progress(msgspec.Struct, frozen=True, tag_field="event", tag="progress"):
    """How far a call is: *done* of *total*, where that is known."""

    done: float
    total: float | None = None
    text: str | None = None


class LogLine(msgspec.Struct, frozen=True, tag_field="event", tag="log"):
    """Something that whoever calls may want to know."""

    level: Level
    text: str
    fields: dict[str, Any] = {}


class Chunk(msgspec.Struct, frozen=True, tag_field="event", tag="chunk"):
    """What a streaming tool has yielded, as a JSON value."""

    value: Any


ToolEvent = Progress | LogLine | Chunk


class Question(NamedTuple):
    """What the tool *tool_id* wants to know; *schema* is the JSON schema of the answer, if it is not just a text."""

    tool_id: str
    text: str
    schema: dict[str, Any] | None


class Answer(NamedTuple):
    """What came of a question: it was answered, declined, or put aside. *content* is there when it was accepted."""

    action: Literal["accept", "decline", "cancel"]
    content: Any = None

    @property
    def accepted(self) -> bool:
        """True when there is content."""
        return self.action == "accept"


Tell = Callable[[ToolEvent], object]
"""Gets what a tool says, on the event loop. Must return at once."""
AnswerQuestion = Callable[[Question], Awaitable[Answer]]
"""Finds out what a tool asks."""


class ToolContext:
    """The call that a tool is in. *caller* is who called, *message* the message that asked for it, if one did.

    *tell* gets the events, on the event loop. It must return at once, and has itself to limit what it keeps; what it
    raises is logged. *answer* is awaited with questions; without it none can be asked.
    """

    __slots__ = ("_answer", "_loop", "_said", "_tell", "_thread", "_waking", "caller", "message", "over", "tool_id")

    def __init__(
        self,
        caller: str | None = None,
        *,
        tell: Tell | None = None,
        answer: AnswerQuestion | None = None,
        message: Message | None = None,
    ) -> None:
        self.tool_id = ""
        self.caller = caller
        self.message = message
        self.over = False
        self._tell = tell
        self._answer = answer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._waking = False
        self._said: deque[ToolEvent] = deque(maxlen=BACKLOG)

    def bound(self, tool_id: str, caller: str | None) -> "ToolContext":
        """The context of a call of *tool_id* on the running event loop, by *caller* or whoever is known to call."""
        context = ToolContext(caller or self.caller, tell=self._tell, answer=self._answer, message=self.message)
        context.tool_id = tool_id
        context._loop = asyncio.get_running_loop()
        context._thread = threading.get_ident()
        return context

    @property
    def trace(self) -> TraceContext | None:
        """The place in the trace at which the running code is."""
        return CURRENT.get()

    def time_left(self) -> float | None:
        """Seconds until the call has to be over (negative: it should be); None: no limit."""
        return time_left()

    def progress(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Say how far it is. May be called in any thread; never waits. Raises ValueError for what is not finite."""
        if not (math.isfinite(done) and (total is None or math.isfinite(total))):
            raise ValueError(f"progress is told in finite numbers, not {done} of {total}")
        self.say(Progress(done, total, text))

    def log(self, level: Level, text: str, **fields: Any) -> None:
        """Tell whoever calls something. May be called in any thread; never waits.

        Raises ValueError for a level that is not one of "debug", "info", "warning" and "error".
        """
        if level not in _LEVELS:
            raise ValueError(f"unknown level {level!r}; use one of {', '.join(_LEVELS)}")
        self.say(LogLine(level, text, fields))

    def say(self, event: ToolEvent) -> None:
        """Tell *event* to whoever calls."""
        if self._tell is None or self.over:
            return
        if threading.get_ident() == self._thread:
            self._drain()
            self._pass_on(event)
            return
        self._said.append(event)
        if self._loop is not None and not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._flush)
            except RuntimeError:
                pass  # the loop is closed, and with it whoever listened

    async def ask(self, text: str, kind: Any = str) -> Answer:
        """Ask whoever calls; the answer is of the type *kind*, a str or a flat struct.

        The time that it takes is time of the call. A plain function cannot ask. Raises NobodyToAskError, and
        InvalidContentError for an answer that is of another type.
        """
        if self._answer is None or self.over:
            raise NobodyToAskError(self.tool_id, text)
        answer = await self._answer(Question(self.tool_id, text, None if kind is str else msgspec.json.schema(kind)))
        if not answer.accepted:
            return Answer(answer.action)
        try:
            return Answer("accept", msgspec.convert(answer.content, kind))
        except msgspec.ValidationError as error:
            found = misfit(kind, str(error))
            raise InvalidContentError(found.pointer, f"in the answer: {found.problem}") from None

    def close(self) -> None:
        """The call is over: tell what was said so far, and no more."""
        self.over = True  # first, so that a thread that goes on says nothing more
        self._drain()
        self._said.clear()

    def _flush(self) -> None:
        self._waking = False  # before any is taken: what comes now wakes again
        if self.over:
            return
        self._drain()
        if self._said and self._loop is not None and not self._waking:
            self._waking = True
            self._loop.call_soon(self._flush)

    def _drain(self) -> None:
        """Tell what waits now, and not what is said meanwhile: a thread may say more than anybody can hear."""
        for event in [self._said.popleft() for _ in range(len(self._said))]:
            self._pass_on(event)

    def _pass_on(self, event: ToolEvent) -> None:
        if self._tell is None:
            return
        try:
            self._tell(event)
        except Exception:
            _logger.exception("who called %s failed at what it says", self.tool_id)
