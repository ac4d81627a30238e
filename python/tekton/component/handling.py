"""Calls the handlers of a component, with all that a message brings along.

Its trace and deadline are those of the call, which is ended then; what is published in its course is caused by it; and
what a tool says that is called for it reaches whoever has asked. A request that comes again is carried out once by each
handler, and gets the same answer.
"""

import logging
import re
from functools import partial
from typing import Any, Final

import msgspec

from tekton.bus.asides import on_line
from tekton.bus.bus import Bus, Delivery
from tekton.bus.envelope import Envelope
from tekton.clock import Clock
from tekton.component.handlers import Subscriber, Worker
from tekton.core.calls import call
from tekton.core.degradation.deadline import within
from tekton.core.tracing.tracer import Tracer, why
from tekton.mcp.answers import Answered, Answers
from tekton.mcp.course import caused, ending, fingerprint, in_course_of, undated
from tekton.mcp.error_message import error_content
from tekton.mcp.message import Message, MessageType
from tekton.utils.tekton_errors import MessageExpiredError, TektonError
from tekton.utils.trace_context import TraceContext, new_span_id

__all__ = ["Calls"]

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")

_logger = logging.getLogger("tekton.component")


class Calls:
    """Calls the handlers of *component_id*."""

    def __init__(self, component_id: str, tracer: Tracer, clock: Clock) -> None:
        self._component_id = component_id
        self._tracer = tracer
        self._clock = clock
        self._answers = Answers(clock=clock)

    async def handle(self, handler: Subscriber | Worker, item: Envelope | Delivery) -> Any:
        """What the handler returns to *item*; raises what it raises."""
        envelope = item if isinstance(item, Envelope) else item.envelope
        argument = envelope.message if handler.takes is Message else envelope if handler.takes is Envelope else item
        left = self._time_left(envelope.message)
        trace = self._trace(envelope.message.context.trace_id)
        span = self._tracer.begin(f"handle {envelope.subject}", "consumer", trace)
        with span, within(left, ends=True), in_course_of(envelope.message):
            async with ending(envelope.message, left):
                outcome = await call(partial(handler.handler, argument))
            if outcome.error is not None:
                span.fail(why(outcome.error))
                raise outcome.error
            return outcome.value

    async def answer(self, bus: Bus, subscriber: Subscriber, envelope: Envelope) -> Message | None:
        """The answer of *subscriber* to a request; the same one to the same request. Never raises."""
        message = envelope.message
        # Each handler answers for itself; and an id is no promise of what is in a message.
        key = (id(subscriber), envelope.subject, message.context.sender, message.message_id, fingerprint(message))
        return await self._answers.once(key, partial(self._answered, bus, subscriber, envelope))

    async def _answered(self, bus: Bus, subscriber: Subscriber, envelope: Envelope) -> Answered:
        begun = False
        try:
            self._time_left(envelope.message)
            begun = True
            async with on_line(bus, self._component_id, envelope):
                value = await self.handle(subscriber, envelope)
            if isinstance(value, Message):
                with in_course_of(envelope.message):
                    return Answered(undated(caused(value)))
            return Answered(self._reply(envelope.message, MessageType.RESPONSE, msgspec.to_builtins(value)))
        except Exception as error:
            if not isinstance(error, TektonError):
                _logger.exception("%s has failed to answer %s", self._component_id, envelope.subject)
            return Answered(self._reply(envelope.message, MessageType.ERROR, error_content(error)), begun)

    def _reply(self, request: Message, kind: MessageType, content: Any) -> Message:
        return undated(Message(kind, content, request.follow(self._component_id, request.context.sender)))

    def _time_left(self, message: Message) -> float | None:
        """Seconds until the deadline of *message*. Raises MessageExpiredError when it has passed."""
        deadline = message.context.deadline
        left = None if deadline is None else deadline - self._clock.time()
        if left is not None and left <= 0:
            raise MessageExpiredError(message.message_id)
        return left

    def _trace(self, trace_id: str | None) -> TraceContext | None:
        """Where in the trace of a message its handling begins: it does not say which of its spans has sent it."""
        if trace_id is None or _TRACE_ID.fullmatch(trace_id) is None:
            return None
        return TraceContext(trace_id, new_span_id(), self._tracer.sampler.chooses(trace_id))
