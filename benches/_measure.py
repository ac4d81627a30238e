"""Measure contenders side by side, and report what was seen beside its gate.

`compare`: interleaved in shuffled order, CPU time of the thread, ratios per round. A ratio is the median over the
rounds of (contender / base) within the same round, so that what slows the machine down for a while slows both. The
collector runs as it does for any caller, but sees only what the contenders make: who makes many objects pays for it.
Caches are warm. Absolute times are medians too, and depend on the machine; ratios are what gates check.

`gate` prints one line and, under `run.py`, hands it on as a row of the page. A bench looks like this:

    options = parser(__doc__).parse_args()
    section("durable registrations, 64 clients")
    gate("acknowledged", median, 10_000, unit="/s", spread=(min(rates), max(rates)))
    gate("the raw store", base, unit="/s")                      # no gate: only to look at
    gate("CPU", ratio, 0.8, against="bare Granian")             # a ratio: peer / Tekton
    gate("kill to FAILED", worst, 100, unit="ms", better="lower")
    sys.exit(verdict())
"""

import argparse
import gc
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contender that uses up what it is called with: *make* makes one for each call, before the clock runs."""

    make: Callable[[], Any]
    call: Callable[[Any], object]

    def __call__(self) -> object:
        return self.call(self.make())


Contender = Callable[[], object] | Prepared
Better = Literal["higher", "lower"]

ROWS = "TEKTON_BENCH_ROWS"
"""The environment variable that names the file to which rows are appended, one JSON object a line."""

MISSED = 3
"""The exit status of a bench that ran to its end and missed a gate."""

SKIPPED = 77
"""The exit status of a bench that lacks what it needs. Any other than these and 0: it crashed."""

_BYTECODE = Path(__file__).resolve().parents[1] / "target" / "bytecode"
_LEAST_NS = 1_000_000  # shorter runs than this say more about the clock than about the contender
_LONG_NS = 50_000_000  # longer ones fill the caches themselves


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: *what* of Tekton was *seen*, against which peer, and the gate, if it has one.

    With unit `x` it is a ratio, peer / Tekton, unless *what* says otherwise. *spread* is the lowest and the highest
    of the rounds. *detail* is for absolute figures beside a ratio.
    """

    section: str
    what: str
    seen: float
    gate: float | None = None
    unit: str = "x"
    against: str = ""
    better: Better = "higher"
    spread: tuple[float, float] | None = None
    detail: str = ""

    @property
    def holds(self) -> bool:
        """True without a gate, too."""
        if self.gate is None:
            return True
        return self.seen >= self.gate if self.better == "higher" else self.seen <= self.gate

    @property
    def bound(self) -> str:
        """The gate in words; empty without one."""
        return (
            "" if self.gate is None else f"{'≥' if self.better == 'higher' else '≤'} {quantity(self.gate, self.unit)}"
        )


_section = ""
_rows: list[Row] = []


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a bench: *doc* as its help, and `--full`, which every bench takes."""
    _have_bytecode()
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--full", action="store_true", help="the large sizes too")
    return made


def _have_bytecode() -> None:
    # An installed package has its bytecode beside it. Where the environment forbids to write any, every process that a
    # bench starts would compile what it imports, and that would be most of what is measured.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        os.environ["PYTHONPYCACHEPREFIX"] = str(_BYTECODE)


def section(title: str) -> None:
    """Begin a group of rows."""
    global _section  # noqa: PLW0603 - a bench is one script, and this its output
    _section = title
    print(f"\n{title}", flush=True)


def gate(
    what: str,
    seen: float,
    gate: float | None = None,
    *,
    unit: str = "x",
    against: str = "",
    better: Better = "higher",
    spread: tuple[float, float] | None = None,
    detail: str = "",
) -> bool:
    """Print a row, and hand it on when `run.py` asks for it. True when the gate holds, or there is none."""
    row = Row(_section, what, seen, gate, unit, against, better, spread, detail)
    _rows.append(row)
    print(line(row), flush=True)
    if path := os.environ.get(ROWS):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
    return row.holds


def verdict() -> int:
    """The exit status of a bench: 0 when every gate held, else MISSED."""
    return 0 if all(row.holds for row in _rows) else MISSED


def skip(reason: str) -> int:
    """The exit status of a bench that cannot run here. The last line that it prints says why."""
    print(f"skipped: {reason}", flush=True)
    return SKIPPED


def line(row: Row) -> str:
    """A row as text, in columns."""
    name = f"{row.what} / {row.against}" if row.against else row.what
    verdict = f"gate {row.bound} {'ok' if row.holds else 'MISSED'}" if row.gate is not None else ""
    spread = f"({number(row.spread[0])} to {number(row.spread[1])})" if row.spread else ""
    return f"  {name:<52} {quantity(row.seen, row.unit):>12}  {spread:<20} {verdict:<22} {row.detail}".rstrip()


def quantity(value: float, unit: str) -> str:
    """`1.31x`, `4,120 /s`, `0.6 %`."""
    return f"{number(value)}x" if unit == "x" else f"{number(value)} {unit}"


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contender took: `seconds` per call (median), `ratio` to the base (median of rounds).

    `spread` is the lowest and the highest ratio of the rounds.
    """

    seconds: float
    ratio: float
    spread: tuple[float, float] | None = None


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
        if isinstance(call, Prepared):
            things, consume = [call.make() for _ in times], call.call
            start = time.thread_time_ns()
            while things:
                consume(things.pop())
            return time.thread_time_ns() - start
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
    return Outcome(statistics.median(runner.times), statistics.median(ratios), (min(ratios), max(ratios)))


@dataclass(frozen=True, slots=True)
class Gate:
    """*peer* must take at least *least* times as long as Tekton."""

    peer: str
    least: float


def report(title: str, outcomes: Mapping[str, Outcome], gates: tuple[Gate, ...] = (), base: str | None = None) -> bool:
    """Report the outcomes as ratios to *base* (the first one that is 1), fastest first; True when the gates hold."""
    least = {gate.peer: gate.least for gate in gates}
    base = base or next(name for name, outcome in outcomes.items() if outcome.ratio == 1)
    section(title)
    print(f"  {base:<52} {duration(outcomes[base].seconds):>12}")
    peers = sorted((item for item in outcomes.items() if item[0] != base), key=lambda item: item[1].ratio)
    took = duration(outcomes[base].seconds)
    verdicts = [
        gate(
            base,
            peer.ratio,
            least.get(name),
            against=name,
            spread=peer.spread,
            detail=f"{duration(peer.seconds)} / {took}",
        )
        for name, peer in peers
    ]
    return all(verdicts)


def duration(seconds: float) -> str:
    """`28 us`, three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
