"""A timer that is scheduled and cancelled before it is due, beside many that are pending: what most timers are.

    python benches/timers.py [--full]

The native wheel and `Timers` over it, against `call_later` and `cancel` of asyncio and of uvloop. The loops get a turn
after each thousand, in which asyncio throws cancelled timers away.
"""

import asyncio
import random
import sys
from collections.abc import Callable

import uvloop

from _measure import Gate, Outcome, compare, parser, report, verdict
from tekton._native import TimerWheel

BATCH = 1000
TICK = 0.01
LONGEST = 60.0


def nothing() -> None:
    """What a timer does."""


def delays(count: int) -> list[float]:
    rng = random.Random(count)
    return [rng.uniform(0.5, LONGEST) for _ in range(count)]


def wheel(pending: int) -> Callable[[], None]:
    timers = TimerWheel()
    for delay in delays(pending):
        timers.schedule(int((1e6 + delay) / TICK), nothing)
    batch = [int(delay / TICK) for delay in delays(BATCH)]
    schedule, cancel = timers.schedule, timers.cancel

    def run() -> None:
        for due in batch:
            cancel(schedule(due, nothing))

    return run


def loop_timers(loop: asyncio.AbstractEventLoop, pending: int) -> Callable[[], None]:
    for delay in delays(pending):
        loop.call_later(1e6 + delay, nothing)
    batch = delays(BATCH)
    call_later = loop.call_later

    def run() -> None:
        for delay in batch:
            call_later(delay, nothing).cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()

    return run


def measure(pending: int) -> None:
    contenders = {
        "tekton wheel": wheel(pending),
        "asyncio": loop_timers(asyncio.SelectorEventLoop(), pending),
        "uvloop": loop_timers(uvloop.new_event_loop(), pending),
    }
    outcomes = compare(contenders, "tekton wheel")
    each = {name: Outcome(outcome.seconds / BATCH, outcome.ratio, outcome.spread) for name, outcome in outcomes.items()}
    report(f"schedule and cancel a timer beside {pending:,} others", each, (Gate("asyncio", 15), Gate("uvloop", 8)))


def main() -> int:
    options = parser(__doc__).parse_args()
    for pending in (1_000, 10_000, *((100_000,) if options.full else ())):
        measure(pending)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
