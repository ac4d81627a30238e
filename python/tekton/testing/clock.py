"""Time under the control of a test.

`ManualClock` stands still until it is moved. `VirtualTimeLoop` is an event loop on such a clock: when it has nothing
to do, it moves the clock to its next timer at once, so that an hour of timers runs in milliseconds, and the same
way every time. `@virtual_time` runs a test on one:

    @virtual_time
    async def test_an_hour_passes() -> None:
        await asyncio.sleep(3600)

`clock.advance()` inside such a test moves time while nothing else runs: that is what a stopped process looks like.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")


class ManualClock:
    """A `Clock` that moves only when it is told to."""

    __slots__ = ("_asleep", "_monotonic", "_wall")

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._asleep = 0.0

    def time(self) -> float:
        """Wall-clock time, in seconds since the Unix epoch."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds on the clock that never goes back."""
        return self._monotonic

    def boottime(self) -> float:
        """Seconds on the clock that never goes back, those included for which the machine has been suspended."""
        return self._monotonic + self._asleep

    def asleep(self) -> float:
        """Seconds for which the machine has been suspended."""
        return self._asleep

    def suspend(self, seconds: float) -> None:
        """Suspend the machine for *seconds*: the wall clock goes on, the monotonic one stands still."""
        self._wall += seconds
        self._asleep += seconds

    def advance(self, seconds: float) -> float:
        """Let *seconds* pass on both clocks; returns the new monotonic time. Raises ValueError when negative."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._monotonic += seconds
        self._wall += seconds
        return self._monotonic

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, back or forth, as an administrator or NTP would. The monotonic clock does not notice."""
        self._wall = wall


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose idle time is skipped.

    Time stands still while work handed to `run_in_executor` is unfinished, so a thread is never raced against a
    timer. A thread that hangs therefore hangs the loop; tests of that need a real loop. An executor that works on
    virtual time itself says so by an attribute `virtual`. Sockets work, but their peers see no virtual time.
    """

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self._jobs = 0
        super().__init__(_IdleSelector(self.clock, lambda: self._jobs > 0))

    def time(self) -> float:
        """The monotonic time of `clock`."""
        return self.clock.monotonic()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> "asyncio.Future[_T]":
        """As in asyncio; stops time until the returned future is done or cancelled."""
        future = cast("asyncio.Future[_T]", super().run_in_executor(executor, func, *args))
        if not getattr(executor, "virtual", False):
            self._jobs += 1
            future.add_done_callback(self._job_ended)
        return future

    def _job_ended(self, _: "asyncio.Future[Any]") -> None:
        self._jobs -= 1


class _IdleSelector(selectors.DefaultSelector):
    """A selector that moves the clock where others wait."""

    def __init__(self, clock: ManualClock, busy: Callable[[], bool]) -> None:
        super().__init__()
        self._clock = clock
        self._busy = busy

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._busy():
            return super().select(None)
        self._clock.advance(timeout)
        return ready


def virtual_time(test: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, _T]:
    """Make an async function a plain one that runs on a new `VirtualTimeLoop`."""

    @functools.wraps(test)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            return runner.run(test(*args, **kwargs))

    return run


def current_clock() -> ManualClock:
    """The clock of the running `VirtualTimeLoop`. Raises RuntimeError on any other loop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError("this loop runs on real time; use @virtual_time")
    return loop.clock
