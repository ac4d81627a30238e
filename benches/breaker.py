"""A call through a closed circuit breaker, and 1,000 callers at the moment when an open one may be tried again.

    python benches/breaker.py [--full]

pybreaker and purgatory have the same settings and the same function, which does nothing: what is measured is what they
put around it. purgatory is used as its documentation says, where the breaker is fetched for every call, and besides
with one that is held. Async calls are run to their end without a loop. At the half-open moment the callers are tasks on
one loop, and the component answers when all have come; pybreaker is used by its context manager, as its async form
needs Tornado. `--full` measures what windows and slow calls cost.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pybreaker
from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

from _measure import Gate, Outcome, compare, gate, parser, report, section, verdict
from tekton.core.degradation.breaker_settings import BreakerSettings
from tekton.core.degradation.circuit_breaker import CircuitBreaker
from tekton.testing import ManualClock

CALLERS = 1000
BATCH = 1000
PROBES = 2
THRESHOLD = 5
MOST_MICROSECONDS = 2.0
TIMES_FASTER = 5.0


def nothing() -> None:
    """What a component does."""


async def nothing_async() -> None:
    """What a component does, awaited."""


def repeated(ask: Callable[[], Awaitable[Any]]) -> Callable[[], None]:
    """Await *ask* BATCH times in one coroutine, which waits for nothing."""

    async def run() -> None:
        for _ in range(BATCH):
            await ask()

    def finish() -> None:
        with suppress(StopIteration):
            run().send(None)
            raise AssertionError("it waits")

    return finish


def bound(what: str, outcome: Outcome) -> None:
    gate(what, outcome.seconds * 1e6, MOST_MICROSECONDS, unit="us", better="lower")


def measure_plain() -> None:
    breaker, peer = CircuitBreaker("a"), pybreaker.CircuitBreaker(fail_max=THRESHOLD, reset_timeout=60)
    factory = SyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=60)
    decorated, held = factory("a")(nothing), factory.get_breaker("a")

    def permit() -> None:
        permit = breaker.acquire()
        nothing()
        permit.succeeded()

    def with_held() -> None:
        with held:
            nothing()

    outcomes = compare(
        {
            "call_sync": lambda: breaker.call_sync(nothing),
            "acquire, succeeded": permit,
            "pybreaker": lambda: peer.call(nothing),
            "purgatory, decorated": decorated,
            "purgatory, a breaker that is held": with_held,
            "no breaker": nothing,
        },
        "call_sync",
    )
    gates = (Gate("pybreaker", TIMES_FASTER), Gate("purgatory, decorated", TIMES_FASTER))
    report("a call through a closed breaker", outcomes, gates)
    bound("call_sync", outcomes["call_sync"])
    bound("acquire, succeeded", outcomes["acquire, succeeded"])


def measure_async() -> None:
    breaker = CircuitBreaker("a")
    factory = AsyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=60)
    held = asyncio.run(factory.get_breaker("a"))

    async def with_held() -> None:
        async with held:
            await nothing_async()

    outcomes = compare(
        {
            "call": repeated(lambda: breaker.call(nothing_async)),
            "purgatory, decorated": repeated(factory("a")(nothing_async)),
            "purgatory, a breaker that is held": repeated(with_held),
            "no breaker": repeated(nothing_async),
        },
        "call",
    )
    each = {name: Outcome(one.seconds / BATCH, one.ratio, one.spread) for name, one in outcomes.items()}
    report("an async call through a closed breaker", each, (Gate("purgatory, decorated", TIMES_FASTER),))
    bound("call", each["call"])


def measure_conditions() -> None:
    kinds = {
        "failures in a row": BreakerSettings(),
        "and a window of calls": BreakerSettings(failure_rate=0.5),
        "and a window of time": BreakerSettings(failure_rate=0.5, window_seconds=60.0),
        "and slow calls": BreakerSettings(failure_rate=0.5, window_seconds=60.0, slow_call_seconds=1.0),
    }

    def through(breaker: CircuitBreaker) -> Callable[[], None]:
        return lambda: breaker.acquire().succeeded()

    report(
        "what is looked at besides",
        compare({name: through(CircuitBreaker("a", kind)) for name, kind in kinds.items()}, "failures in a row"),
    )


Call = Callable[[Callable[[], Awaitable[None]]], Awaitable[Any]]


async def that_pass(call: Call) -> int:
    """How many of the callers reach the component before it has answered any of them."""
    reached, answer = 0, asyncio.Event()

    async def component() -> None:
        nonlocal reached
        reached += 1
        await answer.wait()

    async def caller() -> None:
        with suppress(Exception):
            await call(component)

    tasks = [asyncio.ensure_future(caller()) for _ in range(CALLERS)]
    for _ in range(20):
        await asyncio.sleep(0)
    answer.set()
    await asyncio.gather(*tasks)
    return reached


async def with_tekton() -> int:
    clock = ManualClock()
    breaker = CircuitBreaker("a", BreakerSettings(THRESHOLD, half_open_requests=PROBES), clock)
    for _ in range(THRESHOLD):
        breaker.acquire().failed()
    clock.advance(60)
    return await that_pass(breaker.call)


async def with_pybreaker() -> int:
    breaker = pybreaker.CircuitBreaker(fail_max=THRESHOLD, reset_timeout=60, success_threshold=PROBES)
    breaker.half_open()

    async def call(component: Callable[[], Awaitable[None]]) -> None:
        with breaker.calling():
            await component()

    return await that_pass(call)


async def with_purgatory() -> int:
    breaker = await AsyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=0.001).get_breaker("a")
    for _ in range(THRESHOLD):
        with suppress(ConnectionError):
            async with breaker:
                raise ConnectionError
    await asyncio.sleep(0.01)

    async def call(component: Callable[[], Awaitable[None]]) -> None:
        async with breaker:
            await component()

    return await that_pass(call)


def measure_half_open() -> None:
    section(f"{CALLERS:,} callers when an open breaker may be tried again: how many reach the component at once")
    passed = asyncio.run(with_tekton())
    assert passed >= PROBES, "too few"
    gate("tekton", passed, PROBES, unit="calls", better="lower", detail=f"half_open_requests = {PROBES}")
    gate("pybreaker", asyncio.run(with_pybreaker()), unit="calls")
    gate("purgatory", asyncio.run(with_purgatory()), unit="calls")


def main() -> int:
    options = parser(__doc__).parse_args()
    measure_plain()
    measure_async()
    measure_half_open()
    if options.full:
        measure_conditions()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
