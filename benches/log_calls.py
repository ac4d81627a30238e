"""What a log call costs its caller, beside the standard library with a handler that does nothing.

    python benches/log_calls.py [--full]

CPU time of the calling thread, in turns of 200 calls; between two turns the queue is emptied, outside of the
measurement. Both go through a logger of the standard library with the same arguments. Ours are kept until a thread has
put them into words, which it does meanwhile, beside the caller, and has written them to the null device. A field that
is a list or an object has to be copied at once: that is shown without a gate.
"""

import gc
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable

from _measure import gate, parser, section, verdict
from tekton.utils.log_format import JSONFormatter, TextFormatter
from tekton.utils.log_writer import QueueHandler
from tekton.utils.trace_context import CURRENT, new_trace

CALLS = 200
ROUNDS = 300
MOST = 1.5

Call = Callable[[logging.Logger], None]

IDS = {
    "request_id": "550e8400-e29b-41d4-a716-446655440000",
    "user_id": "user123",
    "component": "example_component",
}
CASES: tuple[tuple[str, Call, float | None], ...] = (
    ("a text", lambda logger: logger.info("component ready"), MOST),
    ("arguments", lambda logger: logger.info("component %s ready in %.2f s", "rhetor", 1.25), MOST),
    ("extra fields", lambda logger: logger.info("processing request", extra=IDS), MOST),
    ("a field that is a list", lambda logger: logger.info("chosen", extra={"candidates": ["a", "b", "c"]}), None),
)


def logger_of(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("app", logging.INFO)  # noqa: LOG001 - one that has no other handlers
    logger.addHandler(handler)
    return logger


def turn(call: Call, logger: logging.Logger) -> float:
    """Seconds of CPU that a call takes."""
    start = time.thread_time_ns()
    for _ in range(CALLS):
        call(logger)
    return (time.thread_time_ns() - start) / CALLS / 1e9


def measure(name: str, call: Call, most: float | None, ours: QueueHandler, rounds: int) -> None:
    null, kept = logger_of(logging.NullHandler()), logger_of(ours)
    base: list[float] = []
    times: list[float] = []
    for number in range(rounds):
        for mine in (True, False) if number % 2 else (False, True):
            (times if mine else base).append(turn(call, kept if mine else null))
            ours.written(10)
    ratios = [mine / theirs for mine, theirs in zip(times, base)]
    gate(
        f"{name}, tekton",
        statistics.median(ratios),
        most,
        against="stdlib with NullHandler",
        better="lower",
        spread=(min(ratios), max(ratios)),
        detail=f"{statistics.median(times) * 1e6:.2f} us / {statistics.median(base) * 1e6:.2f} us",
    )


def main() -> int:
    options = parser(__doc__).parse_args()
    CURRENT.set(new_trace())
    gc.collect()
    with open(os.devnull, "w") as nowhere:
        for form in (JSONFormatter(), TextFormatter()):
            section(f"a log call, written as {'JSON' if isinstance(form, JSONFormatter) else 'text'}")
            for name, call, most in CASES:
                handler = QueueHandler(nowhere, form)
                measure(name, call, most, handler, ROUNDS * (4 if options.full else 1))
                handler.close()
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
