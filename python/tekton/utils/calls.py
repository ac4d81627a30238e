"""Calling a component: one of its instances, and another one when that fails.

A call has one deadline for all that it tries. It is tried again when an instance could not be reached, so that it has
certainly not seen the request; and when it failed in any other way, or answered 502, 503 or 504, if the request is
idempotent. What is not idempotent and may have arrived is never sent twice, nor what was answered in part to somebody
who heard it. Another instance is tried at once; when all have been, a jittered delay comes first. The instances are
looked up anew each time: one that has come up in the meantime is called. What comes back as the failure of a call
further down is not tried again: whoever made that call has tried as often as makes sense, and each layer that tried
again would multiply the load of the last one.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import msgspec

from tekton.core.degradation.deadline import time_left
from tekton.core.lifecycle import ComponentRecord
from tekton.core.tracing.tracer import span
from tekton.utils.balancing import Balancer
from tekton.utils.call_tokens import CallTokens
from tekton.utils.http_problems import error_from_answer
from tekton.utils.retries import PASSING, Retries, is_harmless
from tekton.utils.server_sent_events import ServerSentEvent
from tekton.utils.tekton_errors import (
    AllInstancesFailedError,
    CallTimeoutError,
    DegradationError,
    NoUsableInstanceError,
    TektonError,
    TransportError,
)
from tekton.utils.tekton_http import Answer, HttpClient, NotConnectedError, decoded

__all__ = ["TIMEOUT_HEADER", "Call", "CallHook", "Caller", "described", "patience"]

_REFUSED = 401
_SERVER_ERROR = 500

_RELAYED = (TransportError, DegradationError)
"""What an instance answers when it is a call of its own that has failed."""

CALL_TIMEOUT = 10.0
"""Seconds for a call, unless it has a timeout of its own."""

TIMEOUT_HEADER = "Tekton-Timeout"
"""Seconds for which the caller will wait for the answer: what is called for it on the way need not take longer."""

Instances = Callable[[], Sequence[ComponentRecord]]
"""All instances of a component as they are known at the moment, also those that cannot be called."""


Heard = Callable[[ServerSentEvent], Awaitable[bool]]
"""Is told of the events that come before an answer; while it waits nothing more is read.

True: this was a part of the answer, so that the call must not begin anew.
"""


class Sender(Protocol):
    """A client of one server."""

    async def send(
        self,
        method: str,
        path: str,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        *,
        query: Mapping[str, str | int | float] | None = None,
    ) -> Answer:
        """See `HttpClient.send`. For calls that are `heard` it takes that too: see `GuardedClient`."""
        ...


class Transport(Protocol):
    """How instances are reached: `HttpClient`, or what is more careful."""

    def at(self, base_url: str) -> Sender:
        """A client of the server at *base_url*."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class CallHook(Protocol):
    """What is asked before each attempt and told after it, in the same task: the place for a circuit breaker."""

    def before(self, instance: ComponentRecord) -> None:
        """Raise a TektonError to keep the attempt from being made; another instance is tried then."""
        ...

    def after(self, instance: ComponentRecord, error: BaseException | None) -> None:
        """The attempt is over. *error* is None when the instance answered with a status below 500."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a component."""

    method: str
    path: str
    data: object = None
    query: Mapping[str, str | int | float] | None = None
    headers: Mapping[str, str] | None = None
    harmless: bool = False
    """True when it does no harm that the request arrives twice."""
    heard: Heard | None = None
    """What is told of the events before the answer, where the transport can do that."""


class _Failure(NamedTuple):
    instance: ComponentRecord
    error: TektonError
    again: bool
    """True when the call may be tried again."""
    refused: bool = False
    """True when the hook has kept the attempt from being made."""

    def __str__(self) -> str:
        return f"{self.instance.endpoint} ({self.instance.instance_uuid[:8]}): {_cause(self.error)}"


class Caller:
    """Makes calls, balanced over the instances that it is given. Keeps connections open; close it.

    *hook* sees every attempt. A component that refuses a call with 401 is shown one of *tokens*, from then on in each
    call; Authorization headers that are *withheld* are sent to nobody. What is remembered of instances and of the
    budget of retries holds for all calls. *transport* is how they are reached; it is closed with the caller.
    """

    def __init__(
        self,
        *,
        hook: CallHook | None = None,
        retries: Retries | None = None,
        tokens: CallTokens | None = None,
        withheld: Callable[[str], bool] = lambda _: False,
        transport: Transport | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._hook = hook
        self._tokens = tokens
        self._withheld = withheld
        self._random = rng or random.Random()
        self._retries = retries or Retries(rng=self._random)
        self._balancer: Balancer | None = None
        self._http: Transport = transport or HttpClient()

    async def call(self, component_id: str, instances: Instances, call: Call, timeout: float | None = None) -> Any:
        """The decoded answer to *call*.

        It takes no longer than what is left to the call that it is a part of. Raises NoUsableInstanceError,
        AllInstancesFailedError (after several attempts), the TransportError or CircuitOpenError of the only attempt,
        CallTimeoutError when nothing is left, what the component reports, and what msgspec raises for data that is no
        JSON.
        """
        limit = timeout or CALL_TIMEOUT
        if (left := time_left()) is not None:
            if left <= 0:
                raise CallTimeoutError(component_id, limit)
            limit = min(limit, left)
        if call.data is not None:
            # Before any attempt: what cannot be sent is a mistake of whoever calls, and says nothing about an instance.
            call = replace(call, data=msgspec.Raw(msgspec.json.encode(call.data)))
        return await _Attempts(self, component_id, instances, call, limit).run()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    @property
    def balancer(self) -> Balancer:
        """How instances are chosen, and what is remembered of them."""
        if self._balancer is None:
            self._balancer = Balancer(self._random, asyncio.get_running_loop().time)
        return self._balancer

    async def attempt(self, instance: ComponentRecord, call: Call, timeout: float) -> Answer | _Failure:
        """Send *call* to *instance*, once."""
        if self._hook is not None:
            try:
                self._hook.before(instance)
            except TektonError as error:
                return _Failure(instance, error, again=True, refused=True)
        self.balancer.begin(instance)
        try:
            outcome = await self._send(instance, call, timeout)
        except BaseException as error:
            self.balancer.cancelled(instance)
            self._tell(instance, error)
            raise
        failed = isinstance(outcome, _Failure)
        self.balancer.end(instance, failed=failed)
        self._tell(instance, outcome.error if isinstance(outcome, _Failure) else _server_error(outcome))
        return outcome

    async def _send(self, instance: ComponentRecord, call: Call, timeout: float) -> Answer | _Failure:
        deadline = asyncio.get_running_loop().time() + timeout
        headers = {name: text for name, text in (call.headers or {}).items() if self._may_show(name, text)}
        hearing = None if call.heard is None else _Hearing(call.heard)
        try:
            answer = await self._show(instance, replace(call, headers=headers, heard=hearing), deadline)
        except TransportError as error:
            again = _may_repeat(call, hearing) or isinstance(error, NotConnectedError)
            return _Failure(instance, error, again)
        if answer.status not in PASSING:
            return answer
        reported = error_from_answer(answer.status, answer.body)
        again = _may_repeat(call, hearing) and not (reported.relayed or isinstance(reported, _RELAYED))
        reported.relayed = True
        return _Failure(instance, reported, again)

    async def _show(self, instance: ComponentRecord, call: Call, deadline: float) -> Answer:
        """Send *call*, with a token if the component asks for one and the call has none of its own."""
        if self._tokens is None or any(name.lower() == "authorization" for name in call.headers or {}):
            return await self._send_by(instance, call, deadline)
        token = await self._tokens.known(instance.component_id)
        answer = await self._send_by(instance, _with_token(call, token), deadline)
        if answer.status != _REFUSED:
            return answer
        another = await self._tokens.renewed(instance.component_id, refused=token)
        if another is None or another == token:
            return answer
        # It was refused before anything was done, so it may be sent again, whatever it is.
        return await self._send_by(instance, _with_token(call, another), deadline)

    async def _send_by(self, instance: ComponentRecord, call: Call, deadline: float) -> Answer:
        client = self._http.at(instance.endpoint or "")
        timeout = deadline - asyncio.get_running_loop().time()
        headers = {TIMEOUT_HEADER: f"{timeout:.3f}", **(call.headers or {})}
        more: dict[str, Any] = {} if call.heard is None else {"heard": call.heard}
        return await client.send(call.method, call.path, call.data, headers, timeout, query=call.query, **more)

    def _may_show(self, name: str, text: str) -> bool:
        return name.lower() != "authorization" or not self._withheld(text)

    def _tell(self, instance: ComponentRecord, error: BaseException | None) -> None:
        if self._hook is not None:
            self._hook.after(instance, error)

    def may_retry(self) -> bool:
        """Take one retry from the budget."""
        return self._retries.spend()

    def earn(self) -> None:
        """A call is made."""
        self._retries.earn()

    def delay(self, failures: int) -> float:
        """How long to wait before all instances are tried once more."""
        return self._retries.delay(failures)

    @property
    def most_attempts(self) -> int:
        """How often a call is tried at most."""
        return self._retries.attempts


class _Hearing:
    """Passes on what *heard* is told, and knows whether a part of the answer was among it."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self.begun = False

    async def __call__(self, event: ServerSentEvent) -> bool:
        part = await self._heard(event)
        self.begun = self.begun or part
        return part


class _Attempts:
    """One call, until it has an answer or must be given up."""

    def __init__(self, caller: Caller, component_id: str, instances: Instances, call: Call, timeout: float) -> None:
        self._caller = caller
        self._component_id = component_id
        self._instances = instances
        self._call = call
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + timeout
        self._failures: list[_Failure] = []
        self._sent = 0
        self._tried: set[str] = set()
        self._all_refused = True

    async def run(self) -> Any:
        with span(f"call {self._component_id}") as made:
            made.put({"tekton.component": self._component_id, "url.path": self._call.path})
            return await self._run()

    async def _run(self) -> Any:
        self._caller.earn()
        while True:
            instance = await self._next()
            self._tried.add(instance.instance_uuid)
            outcome = await self._caller.attempt(instance, self._call, self._deadline - self._now())
            if isinstance(outcome, Answer):
                return decoded(outcome, f"{instance.endpoint}{self._call.path}")
            self._failures.append(outcome)
            if outcome.refused:
                continue  # nothing was sent: that another one is asked is no retry
            self._all_refused = False
            self._sent += 1
            if not (outcome.again and self._sent < self._caller.most_attempts and self._caller.may_retry()):
                raise self._error() from outcome.error

    async def _next(self) -> ComponentRecord:
        """The instance to try now. Raises when there is none, or no time."""
        found = self._choose()
        if found is None and self._failures:
            if self._all_refused:
                raise self._error()
            delay = self._caller.delay(len(self._failures))
            if self._now() + delay >= self._deadline:
                raise self._error()
            await asyncio.sleep(delay)
            self._tried.clear()
            self._all_refused = True
            found = self._choose()
        if found is None or self._now() >= self._deadline:
            raise self._error()
        return found

    def _choose(self) -> ComponentRecord | None:
        callable_ones = [record for record in self._instances() if record.discoverable and record.endpoint]
        return self._caller.balancer.choose(callable_ones, self._tried)

    def _error(self) -> TektonError:
        match self._failures:
            case []:
                return NoUsableInstanceError(self._component_id, [_why_not(one) for one in self._instances()])
            case [failure]:
                return failure.error
        return AllInstancesFailedError(self._component_id, [str(failure) for failure in self._failures])


def _may_repeat(call: Call, hearing: _Hearing | None) -> bool:
    return call.harmless and not (hearing is not None and hearing.begun)


def _server_error(answer: Answer) -> TektonError | None:
    return error_from_answer(answer.status, answer.body) if answer.status >= _SERVER_ERROR else None


def _with_token(call: Call, token: str | None) -> Call:
    if token is None:
        return call
    return replace(call, headers={**(call.headers or {}), "Authorization": f"Bearer {token}"})


def _cause(error: TektonError) -> str:
    return error.reason if isinstance(error, TransportError) else str(error)


def _why_not(record: ComponentRecord) -> str:
    name = record.instance_uuid[:8]
    if not record.usable:
        return f"{name} is {record.state.value}" + (f": {record.reason}" if record.reason else "")
    return f"{name} takes no traffic" if not record.serving else f"{name} has registered without an endpoint"


def method_for(data: object) -> str:
    """The method of a call that names none."""
    return "GET" if data is None else "POST"


def described(
    path: str,
    method: str | None = None,
    data: object = None,
    *,
    query: Mapping[str, str | int | float] | None = None,
    headers: Mapping[str, str] | None = None,
    idempotent: bool | None = None,
) -> Call:
    """The call that is described as `ComponentClient.call_api` takes it."""
    method = method or method_for(data)
    harmless = is_harmless(method, headers) if idempotent is None else idempotent
    return Call(method, f"/{path.lstrip('/')}", data, query, headers, harmless)


def patience(text: str | None) -> float | None:
    """The seconds that a `TIMEOUT_HEADER` tells; None for no header, and for what is no number of seconds."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None
