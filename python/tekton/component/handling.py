"""Calls the handlers of a component, with all that a message brings along.

Its trace and deadline are those of the call, which is ended then; what is published in its course is caused by it; and
what a tool says that is called for it reaches whoever has asked. A request that comes again is carried out once by each
handler, and gets the same answer. Whatever becomes of it there is one: what cannot be sent is an ERROR, which says so.
"""

import asyncio
import logging
import re
from functools import partial
from typing import Any, Final

from tekton.bus.asides import on_line
from tekton.bus.bus import Bus, Delivery
from tekton.bus.envelope import Envelope
from tekton.clock import Clock
from tekton.component.handlers import Subscriber, Worker
from tekton.core.calls import bound
from tekton.core.degradation.bulkhead import Slot
from tekton.core.degradation.deadline import within
from tekton.core.tracing.tracer import Tracer
from tekton.mcp.answers import Answered, Answers
from tekton.mcp.context import MessageContext
from tekton.mcp.course import caused, fingerprint, in_course_of
from tekton.mcp.handler_calls import HandlerCalls
from tekton.mcp.message import Message, MessageType
from tekton.mcp.sealed import refusal, response, sealed
from tekton.utils.tekton_errors import MessageExpiredError
from tekton.utils.trace_context import TraceContext, new_span_id

__all__ = ["Calls"]

CANCEL_GRACE: Final = 0.5
"""Seconds that a handler gets to end after it was cancelled: more than the tools and processors that it may call."""

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_ANSWERS: Final = (MessageType.RESPONSE, MessageType.ERROR)

_logger = logging.getLogger("tekton.component")


class Calls:
    """Calls the handlers of *component_id*."""

    def __init__(self, component_id: str, tracer: Tracer, clock: Clock) -> None:
        self._component_id = component_id
        self._tracer = tracer
        self._clock = clock
        self._answers = Answers(clock=clock)
        self._handler_calls = HandlerCalls(component_id, CANCEL_GRACE)

    async def handle(self, handler: Subscriber | Worker, item: Envelope | Delivery, slot: Slot) -> Any:
        """What the handler returns to *item*; a thread of it keeps *slot* until it has ended.

        Raises what the handler raises, and MessageExpiredError at the deadline; see `HandlerCalls`.
        """
        envelope = item if isinstance(item, Envelope) else item.envelope
        argument = envelope.message if handler.takes is Message else envelope if handler.takes is Envelope else item
        left = self._time_left(envelope.message)
        trace = self._trace(envelope.message.context.trace_id)
        function, what = bound(handler.handler, argument), f"handler of {envelope.subject}"
        span = self._tracer.begin(f"handle {envelope.subject}", "consumer", trace)
        with span, within(left, ends=True), in_course_of(envelope.message):
            return await self._handler_calls.value(function, envelope.message, left, what, slot)

    async def answer(self, bus: Bus, subscriber: Subscriber, envelope: Envelope, slot: Slot) -> Message | None:
        """The answer of *subscriber* to a request; the same one to the same request. Never raises."""
        message = envelope.message
        # Each handler answers for itself; and an id is no promise of what is in a message.
        key = (id(subscriber), envelope.subject, message.context.sender, message.message_id, fingerprint(message))
        work = partial(self._answered, bus, subscriber, envelope, slot)
        try:
            return await self._answers.once(key, work, self._left(message))
        except TimeoutError:  # another call works on the same request
            return refusal(MessageExpiredError(message.message_id), self._back(message)).message

    async def _answered(self, bus: Bus, subscriber: Subscriber, envelope: Envelope, slot: Slot) -> Answered:
        begun = False
        try:
            self._time_left(envelope.message)
            begun = True
            async with on_line(bus, self._component_id, envelope):
                value = await self.handle(subscriber, envelope, slot)
            return Answered(self._answer(envelope.message, value))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            answer, to_log = refusal(error, self._back(envelope.message))
            if to_log:
                _logger.error("%s has failed to answer %s", self._component_id, envelope.subject, exc_info=error)
            return Answered(answer, begun)

    def _answer(self, request: Message, value: Any) -> Message:
        if not isinstance(value, Message):
            return response(value, self._back(request))
        if value.context.sender == self._component_id and value.message_id != request.message_id:
            with in_course_of(request):
                return sealed(caused(value))
        # Nobody speaks for somebody else: what another has said, or the request itself, is passed on as said by us.
        kind, about = MessageType.RESPONSE, None
        if value.message_type in _ANSWERS:
            kind, about = value.message_type, value.metadata
        return sealed(Message(kind, value.content, self._back(request), about))

    def _back(self, request: Message) -> MessageContext:
        return request.follow(self._component_id, request.context.sender)

    def _time_left(self, message: Message) -> float | None:
        """Seconds until the deadline of *message*. Raises MessageExpiredError when it has passed."""
        left = self._left(message)
        if left is not None and left <= 0:
            raise MessageExpiredError(message.message_id)
        return left

    def _left(self, message: Message) -> float | None:
        deadline = message.context.deadline
        return None if deadline is None else deadline - self._clock.time()

    def _trace(self, trace_id: str | None) -> TraceContext | None:
        """Where in the trace of a message its handling begins: it does not say which of its spans has sent it."""
        if trace_id is None or _TRACE_ID.fullmatch(trace_id) is None:
            return None
        return TraceContext(trace_id, new_span_id(), self._tracer.sampler.chooses(trace_id))
