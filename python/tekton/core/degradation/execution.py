"""One call with its fallbacks, until it has an answer or must be given up."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from tekton.core.calls import UserFunction, bound, call, describe, is_async
from tekton.core.degradation.bulkhead import Bulkhead, InThread, Slot
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.core.degradation.deadline import time_left, within
from tekton.core.degradation.retrying import retried
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    ComponentError,
    FallbackCycleError,
    NoFallbackAvailableError,
)

_FAIR = 0.5
"""A component that had this part of its share of the time, and was not done, has failed."""

_TICK = 0.002
"""Timers are early by up to a millisecond on some loops."""

_NOT_SENT = (BulkheadFullError, CircuitOpenError, FallbackCycleError)
_OURS = (*_NOT_SENT, CallTimeoutError)


class _Replacement(NamedTuple):
    """*component* is being called in the place of *primary*."""

    capability: str
    primary: str
    component: str


_replacements: ContextVar[tuple[_Replacement, ...]] = ContextVar("tekton_replacements", default=())


@dataclass(slots=True)
class Target:
    """A component, and all that guards its calls."""

    component: str
    breaker: CircuitBreaker
    bulkhead: Bulkhead
    usable: Callable[[str], bool]
    retries: Retries | None = None
    call_timeout: float | None = None

    def is_answer(self, error: Exception) -> bool:
        """True when *error* is about what was asked, so that nobody else is to be asked it."""
        return not isinstance(error, _OURS) and not self.breaker.counts(error)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one component is called."""

    target: Target
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


async def execute(capability: str, attempts: Sequence[Attempt], timeout: float | None) -> Any:
    """Make *attempts* in turn until one succeeds, within *timeout* seconds. Raises NoFallbackAvailableError."""
    share = None if timeout is None else timeout / len(attempts)
    with within(timeout):
        return await _Course(capability, attempts, share).run()


class _Course:
    """The attempts of one call; the first is at the component that was meant.

    Each gets an equal share of the time that is left, which is *share* unless the call is part of one that has less.
    """

    def __init__(self, capability: str, attempts: Sequence[Attempt], share: float | None) -> None:
        self._capability = capability
        self._attempts = attempts
        self._share = share

    async def run(self) -> Any:
        causes: dict[str, BaseException] = {}
        for place, attempt in enumerate(self._attempts):
            left = time_left()
            try:
                with within(None if left is None else left / (len(self._attempts) - place)):
                    return await self._try(attempt)
            except Exception as error:
                if attempt.target.is_answer(error):
                    raise
                causes[attempt.target.component] = error
        reasons = {component: _reason(component, error) for component, error in causes.items()}
        raise NoFallbackAvailableError(self._capability, reasons, causes) from next(reversed(causes.values()), None)

    async def _try(self, attempt: Attempt) -> Any:
        target = attempt.target
        self._refuse_cycle(target.component)
        if not target.usable(target.component):
            raise ComponentError(target.component, "cannot be used now")
        with self._replacing(attempt):
            if target.retries is None:
                return await self._once(attempt)
            return await retried(
                partial(self._once, attempt),
                target.retries,
                lambda error: not isinstance(error, _NOT_SENT) and not target.is_answer(error),
            )

    async def _once(self, attempt: Attempt) -> Any:
        target = attempt.target
        left = time_left()
        if left is not None and left <= 0:
            raise CallTimeoutError(target.component, 0.0)
        target.breaker.check()
        slot = await _enter(target.bulkhead, left)
        try:
            return await self._call(attempt, slot)
        finally:
            slot.release()

    async def _call(self, attempt: Attempt, slot: Slot) -> Any:
        target = attempt.target
        function, outlive = _prepared(attempt, slot)
        permit = target.breaker.acquire()
        with within(target.call_timeout):
            timeout = time_left()
            try:
                async with asyncio.timeout(timeout):
                    value, error = await call(function)
            except BaseException as ended:
                outlive()
                late = CallTimeoutError(target.component, timeout or 0.0)
                if _is_late(ended) and self._is_fair(target, timeout):
                    permit.failed(late)
                else:
                    permit.cancelled()
                if isinstance(ended, TimeoutError):
                    raise late from None
                raise
        if error is None:
            permit.succeeded()
            return value
        failure = error if isinstance(error, Exception) else ComponentError(target.component, describe(error))
        permit.failed(failure)
        raise failure

    def _is_fair(self, target: Target, timeout: float | None) -> bool:
        """True when it is the component's fault that *timeout* was not enough."""
        wanted = [seconds for seconds in (self._share, target.call_timeout) if seconds is not None]
        return timeout is None or not wanted or timeout >= min(wanted) * _FAIR

    def _refuse_cycle(self, component: str) -> None:
        underway = _replacements.get()
        for place, one in enumerate(underway):
            if one.capability == self._capability and component in (one.primary, one.component):
                way = [name for each in underway[place:] for name in (each.primary, each.component)]
                way = way[way.index(component) :]
                raise FallbackCycleError(self._capability, [*dict.fromkeys(way), component])

    @contextmanager
    def _replacing(self, attempt: Attempt) -> Iterator[None]:
        primary, component = self._attempts[0].target.component, attempt.target.component
        if component == primary:
            yield
            return
        token = _replacements.set((*_replacements.get(), _Replacement(self._capability, primary, component)))
        try:
            yield
        finally:
            _replacements.reset(token)


def _is_late(ended: BaseException) -> bool:
    """True when a call was cut off by its own deadline, or by that of the call that it is a part of."""
    left = time_left()
    return isinstance(ended, TimeoutError) or (left is not None and left <= _TICK)


async def _enter(bulkhead: Bulkhead, timeout: float | None) -> Slot:
    try:
        async with asyncio.timeout(timeout):
            return await bulkhead.enter()
    except TimeoutError:
        raise BulkheadFullError(bulkhead.component_id, bulkhead.max_concurrent or 0, bulkhead.waiting) from None


def _prepared(attempt: Attempt, slot: Slot) -> tuple[UserFunction, Callable[[], None]]:
    """What is to be called, and what to do if it may live on after its call."""
    function = bound(attempt.function, *attempt.args, **attempt.kwargs)
    if is_async(attempt.function):
        return function, _nothing
    in_thread = InThread(function, slot)
    return in_thread, in_thread.outlive


def _nothing() -> None:
    """An async function has ended when its call has."""


def _reason(component: str, error: BaseException) -> str:
    text = describe(error)
    return text if text.startswith(f"{component}:") else f"{component}: {text}"
