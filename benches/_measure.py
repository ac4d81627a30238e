"""Measure contenders side by side: interleaved in shuffled order, CPU time of the thread, ratios per round.

A ratio is the median over the rounds of (contender / base) within the same round, so that what slows the machine
down for a while slows both. The collector runs as it does for any caller, but sees only what the contenders make: who
makes many objects pays for it. Caches are warm. Absolute times are medians too, and depend on the machine; ratios are
what gates check.
"""

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Contender = Callable[[], object]

_LEAST_NS = 1_000_000  # shorter runs than this say more about the clock than about the contender
_LONG_NS = 50_000_000  # longer ones fill the caches themselves


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contender took: `seconds` per call (median), `ratio` to the base (median of rounds)."""

    seconds: float
    ratio: float


@dataclass(slots=True)
class _Runner:
    call: Contender
    repeat: int = 1
    warm_up: bool = True
    times: list[float] = field(default_factory=list)

    def calibrate(self) -> None:
        while (taken := self._run()) < _LEAST_NS:
            self.repeat = max(self.repeat * 2, int(self.repeat * _LEAST_NS / max(taken, 1)))
        self.warm_up = taken < _LONG_NS

    def record(self) -> None:
        if self.warm_up:
            self.call()  # the others have filled the caches with their own data
        self.times.append(self._run() / self.repeat / 1e9)

    def _run(self) -> int:
        call, times = self.call, range(self.repeat)
        start = time.thread_time_ns()
        for _ in times:
            call()
        return time.thread_time_ns() - start


def compare(
    contenders: Mapping[str, Contender], base: str, *, seconds: float = 1.0, rounds: int = 31
) -> dict[str, Outcome]:
    """Run all contenders for about *seconds* of CPU time (at least 3, at most *rounds* rounds each)."""
    runners = {name: _Runner(call) for name, call in contenders.items()}
    gc.collect()
    gc.freeze()
    try:
        _measure(list(runners.values()), seconds, rounds)
    finally:
        gc.unfreeze()
    return {name: _outcome(runner, runners[base]) for name, runner in runners.items()}


def _measure(runners: list[_Runner], seconds: float, rounds: int) -> None:
    for runner in runners:
        runner.calibrate()
    shuffle = random.Random(0).shuffle
    start = time.thread_time()
    for done in range(rounds):
        if done >= 3 and time.thread_time() - start > seconds:
            break
        order = list(runners)
        shuffle(order)
        for runner in order:
            runner.record()


def _outcome(runner: _Runner, base: _Runner) -> Outcome:
    ratios = [mine / theirs for mine, theirs in zip(runner.times, base.times)]
    return Outcome(statistics.median(runner.times), statistics.median(ratios))


@dataclass(frozen=True, slots=True)
class Gate:
    """*peer* must take at least *least* times as long as Tekton."""

    peer: str
    least: float


def report(title: str, outcomes: Mapping[str, Outcome], gates: tuple[Gate, ...] = ()) -> bool:
    """Print the outcomes, fastest first, with the gate and whether it holds in the last column."""
    least = {gate.peer: gate.least for gate in gates}
    print(f"\n{title}")
    passed = True
    for name, outcome in sorted(outcomes.items(), key=lambda item: item[1].ratio):
        verdict = ""
        if name in least:
            holds = outcome.ratio >= least[name]
            passed &= holds
            verdict = f"gate {least[name]:g}x {'ok' if holds else 'MISSED'}"
        print(f"  {name:<40} {_time(outcome.seconds):>9}  {outcome.ratio:>8.2f}x  {verdict}".rstrip())
    return passed


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
