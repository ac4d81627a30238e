"""What becomes of a message: its type and its content decide.

    processor = MessageProcessor(tool_registry=tools)
    answer = await processor.process_message(message)

A REQUEST or COMMAND that names a tool (in `metadata["tool"]`, the content being the arguments, or by a content
`{"tool": …, "arguments": {…}}`) is a call of it. For all else there are handlers (`processor.on`). The answer is a
RESPONSE, or an ERROR with the code, detail and hint of the catalogue. What asks for nothing gets no RESPONSE, and an
EVENT without a handler is no error. Of what goes wrong there is an ERROR nevertheless (a handler raises, it is too
late), unless the message is an answer itself.

The deadline of a message is kept: what comes after it is not begun, and what takes longer is ended; what ignores that
is given up, and runs on by itself. A request that comes again (the same sender, message_id, type, content and
metadata) within five minutes is carried out once and answered with the same answer, unless it was refused before
anything was done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar, overload

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.calls import bound
from tekton.core.degradation.deadline import time_left, within
from tekton.mcp.answers import Answered, Answers
from tekton.mcp.context import MessageContext
from tekton.mcp.course import fingerprint, in_course_of
from tekton.mcp.handler_calls import HandlerCalls
from tekton.mcp.message import Message, MessageType
from tekton.mcp.modality import Content, StructuredContent, parse_content
from tekton.mcp.modality.content import TAG
from tekton.mcp.sealed import refusal, response, sealed, written
from tekton.mcp.tool_context import AnswerQuestion, Tell, ToolContext
from tekton.mcp.tool_line import ToolLine, line_of
from tekton.mcp.tool_registry import ToolRegistry
from tekton.utils.tekton_errors import (
    InvalidArgumentsError,
    InvalidContentError,
    InvalidMessageError,
    MessageExpiredError,
    NoHandlerError,
    ToolBusyError,
    ToolError,
    ToolNotFoundError,
)
from tekton.utils.trace_context import CURRENT, TraceContext, new_span_id

__all__ = ["MessageHandler", "MessageProcessor", "Middleware", "Next"]

_SLACK = 0.5
"""Seconds that middleware has after the time of the message is over, and then once more after it was cancelled."""
_FOREVER = 1e9

MessageHandler = Callable[[Message], Any]
"""Takes a message, async or in a thread. Returns the answer, its content, or None."""
Next = Callable[[Message], Awaitable[Message | None]]
"""The rest of the way of a message."""
Middleware = Callable[[Message, Next], Awaitable[Message | None]]
"""Comes between: `await next(message)` goes on; what it returns or raises instead is the answer."""

_HandlerT = TypeVar("_HandlerT", bound=MessageHandler)
_MiddlewareT = TypeVar("_MiddlewareT", bound=Middleware)

_ASKS = (MessageType.REQUEST, MessageType.COMMAND)
_ANSWERS = (MessageType.RESPONSE, MessageType.ERROR)
_NOT_CALLED = (ToolNotFoundError, InvalidArgumentsError, ToolBusyError)

_logger = logging.getLogger("tekton.messages")


@dataclass(frozen=True, slots=True)
class _Rule:
    message_type: MessageType
    handler: MessageHandler
    when: Callable[[Message], bool] | None
    content: type[Content] | None

    def takes(self, message: Message, reading: "_Reading") -> bool:
        if message.message_type is not self.message_type:
            return False
        if self.content is not None and not isinstance(reading.parsed, self.content):
            return False
        return self.when is None or self.when(message)


class _Reading:
    """The *content* of a message, parsed when somebody wants to know what it is, and once."""

    def __init__(self, content: Any) -> None:
        self.content = content

    @cached_property
    def parsed(self) -> Content | InvalidContentError:
        """What it is. An error is a value: what is of no modality is none of those that a handler takes."""
        try:
            return parse_content(self.content)
        except InvalidContentError as error:
            return error

    def check(self) -> None:
        """Raise InvalidContentError for what says a modality and is not as that has to be."""
        if isinstance(self.content, dict) and TAG in self.content and isinstance(self.parsed, InvalidContentError):
            raise self.parsed


class MessageProcessor:
    """Routes messages to the tools of *tool_registry* and to handlers, and answers as *component_id*.

    Without a *component_id* it answers as the one to whom the message is addressed. *answers* keeps what was answered.
    """

    def __init__(
        self,
        tool_registry: ToolRegistry | None = None,
        *,
        component_id: str | None = None,
        answers: Answers | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.tool_registry = tool_registry if tool_registry is not None else ToolRegistry(clock=clock)
        self._component_id = component_id
        self._clock = clock
        self._answers = answers if answers is not None else Answers(clock=clock)
        self._rules: list[_Rule] = []
        self._middleware: list[Middleware] = []
        owner = component_id or "a message processor"
        self._handler_calls = HandlerCalls(owner)
        self._middleware_calls = HandlerCalls(owner, _SLACK)

    @overload
    def on(
        self,
        message_type: MessageType,
        handler: None = None,
        *,
        when: Callable[[Message], bool] | None = None,
        content: type[Content] | None = None,
    ) -> Callable[[_HandlerT], _HandlerT]: ...

    @overload
    def on(
        self,
        message_type: MessageType,
        handler: _HandlerT,
        *,
        when: Callable[[Message], bool] | None = None,
        content: type[Content] | None = None,
    ) -> _HandlerT: ...

    def on(
        self,
        message_type: MessageType,
        handler: Any = None,
        *,
        when: Callable[[Message], bool] | None = None,
        content: type[Content] | None = None,
    ) -> Any:
        """Have *handler* take the messages of that type for which *when* is true and whose content is a *content*.

        Of several handlers the first that takes a message gets it. What it returns is the content of the answer, unless
        it is a message itself; None is no answer, save to a REQUEST. Also a decorator.
        """

        def add(function: _HandlerT) -> _HandlerT:
            self._rules.append(_Rule(MessageType(message_type), function, when, content))
            return function

        return add if handler is None else add(handler)

    def use(self, middleware: _MiddlewareT) -> _MiddlewareT:
        """Have *middleware* come between, the one that was added first outermost. Also a decorator."""
        self._middleware.append(middleware)
        return middleware

    async def process_message(
        self, message: Message, *, tell: Tell | None = None, answer: AnswerQuestion | None = None
    ) -> Message | None:
        """Do what *message* asks for; returns the RESPONSE, the ERROR, or None when there is nothing to say.

        Meanwhile a tool that is called says to *tell* how far it is, and has *answer* find out what it asks. Default:
        whoever has sent the message over a bus, as far as he listens (`tekton.bus.asides`).

        Raises nothing for what the message, a tool, a handler or a middleware does. What is returned can be sent: it is
        JSON, and no larger than a message may be.
        """
        with within(self._time_of(message)), _in_trace(message.context.trace_id), in_course_of(message):
            line = line_of(message) if tell is None and answer is None else ToolLine(message.message_id, tell, answer)
            course = _Course(message, self._dispatch, self._middleware, self._middleware_calls, line)
            if message.message_type not in _ASKS:
                return (await self._answered(course)).message
            key = (message.context.sender, message.message_id, _what(message))
            try:
                return await self._answers.once(key, lambda: self._answered(course), time_left())
            except TimeoutError:
                return self._error(message, MessageExpiredError(message.message_id))

    async def _answered(self, course: "_Course") -> Answered:
        message = course.message
        try:
            answer = await course.run()
            # Of what is large it takes a while to look at it once more.
            return Answered(answer if answer is course.answer else answer and sealed(answer), course.begun)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return Answered(self._error(message, error), course.begun)

    async def _dispatch(self, course: "_Course", message: Message) -> Message | None:
        course.answer = await self._taken(course, message)
        return course.answer

    async def _taken(self, course: "_Course", message: Message) -> Message | None:
        asks = message.message_type in _ASKS
        reading = _Reading(message.content)
        if asks and (wanted := _tool_call(message, reading)) is not None:
            return await self._call_tool(course, message, wanted)
        rule = next((rule for rule in self._rules if rule.takes(message, reading)), None)
        if rule is not None:
            course.begun = True
            return self._answer(message, await self._value(rule.handler, message))
        if asks:
            reading.check()
            raise NoHandlerError(message.message_type, message.context.sender)
        return None

    async def _call_tool(self, course: "_Course", message: Message, wanted: "_ToolCall") -> Message:
        course.begun = True
        line = course.line
        context = ToolContext(message.context.sender, tell=line.tell, answer=line.answer, message=message)
        try:
            result = await self.tool_registry.execute(wanted.tool_id, wanted.arguments, context=context)
        except ToolError as error:
            # One of this id was not called; one of another id is a matter of the tool that was.
            course.begun = not (isinstance(error, _NOT_CALLED) and error.tool_id == wanted.tool_id)
            raise
        about = {"tool": wanted.tool_id}
        return written(Message(MessageType.RESPONSE, result.content, self._back(message), about))

    async def _value(self, handler: MessageHandler, message: Message) -> Any:
        what = f"handler of a {message.message_type}"
        return await self._handler_calls.value(bound(handler, message), message, time_left(), what)

    def _answer(self, message: Message, value: Any) -> Message | None:
        if isinstance(value, Message):
            return sealed(value)
        if message.message_type not in _ASKS or (value is None and message.message_type is MessageType.COMMAND):
            return None
        return response(value, self._back(message))

    def _error(self, message: Message, error: BaseException) -> Message | None:
        answer, to_log = refusal(error, self._back(message))
        unheard = message.message_type in _ANSWERS  # two would answer each other's errors without an end
        if to_log or unheard:
            _logger.error("the %s %s failed", message.message_type, message.message_id, exc_info=error)
        return None if unheard else answer

    def _back(self, message: Message) -> MessageContext:
        sender = self._component_id or message.context.recipient or "tekton"
        return message.follow(sender, message.context.sender)

    def _time_of(self, message: Message) -> float | None:
        """Seconds that are left for *message*: until its deadline, and no more than its `metadata["timeout"]`."""
        deadline = message.context.deadline
        limits = [] if deadline is None else [deadline - self._clock.time()]
        wanted = message.metadata.get("timeout")
        if isinstance(wanted, int | float) and not isinstance(wanted, bool) and wanted > 0:
            limits.append(float(min(wanted, _FOREVER)))
        return min(limits, default=None)


_Dispatch = Callable[["_Course", Message], Awaitable[Message | None]]


class _Course:
    """The way of one *message*, through the middleware to what takes it.

    *begun*: somebody has taken it; *answer* is what he has answered, as it will be sent.
    """

    __slots__ = ("_calls", "_way", "answer", "begun", "line", "message")

    def __init__(
        self, message: Message, dispatch: _Dispatch, middleware: list[Middleware], calls: HandlerCalls, line: ToolLine
    ) -> None:
        self.message = message
        self.line = line
        self.begun = False
        self.answer: Message | None = None
        self._calls = calls if middleware else None
        self._way: Next = partial(dispatch, self)
        for each in reversed(middleware):
            self._way = _behind(each, self._way)

    async def run(self) -> Message | None:
        """The answer. Raises MessageExpiredError, and what there is to raise."""
        left = time_left()
        if left is not None and left <= 0:
            raise MessageExpiredError(self.message.message_id)
        if self._calls is None:  # tools and handlers are ended in time by themselves
            return await self._way(self.message)
        way = bound(self._way, self.message)
        answer: Message | None = await self._calls.value(way, self.message, left and left + _SLACK, "middleware")
        return answer


def _what(message: Message) -> Hashable:
    """What *message* says, to tell it from another one of the same id."""
    try:
        return fingerprint(message)
    except Exception:  # something in it that is no JSON: it was never sent
        return message


def _behind(middleware: Middleware, way: Next) -> Next:
    async def go(message: Message) -> Message | None:
        return await middleware(message, way)

    return go


class _ToolCall(NamedTuple):
    tool_id: str
    arguments: Any


def _tool_call(message: Message, reading: _Reading) -> _ToolCall | None:
    """The call of a tool that *message* is, if it is one."""
    content = message.content
    if isinstance(content, dict) and TAG in content:
        if message.metadata.get("tool") is not None:
            reading.check()
        parsed = reading.parsed
        content = parsed.data if isinstance(parsed, StructuredContent) and parsed.reference is None else content
    if (tool_id := message.metadata.get("tool")) is not None:
        if not isinstance(tool_id, str):
            raise InvalidMessageError("/metadata/tool", "expected the id of a tool")
        return _ToolCall(tool_id, {} if content is None else content)
    if isinstance(content, dict) and isinstance(content.get("tool"), str) and content.keys() <= {"tool", "arguments"}:
        return _ToolCall(content["tool"], content.get("arguments", {}))
    return None


@contextmanager
def _in_trace(trace_id: str | None) -> Iterator[None]:
    """Whatever is done goes on in the trace of the message."""
    trace = (trace_id or "").replace("-", "")
    here = CURRENT.get()
    if not trace or (here is not None and here.trace_id == trace):
        yield
        return
    token = CURRENT.set(TraceContext(trace, new_span_id()))
    try:
        yield
    finally:
        CURRENT.reset(token)
