"""A reading that may fail or hang, and must not take the others with it.

    gpus = Sensor("GPUs", read_gpus, clock, deadline=1.0, absent=NoGpuError)
    gpus.read()         # the value, or None: gpus.problem says why

* What fails is asked again after a pause, which doubles up to a minute. The log says when it began and when it ended,
  and nothing in between, so that a sensor that fails for a day costs two lines.
* With a *deadline* the reading is made in a thread of its own. One that has not come back in time is left alone: nobody
  asks again before it has returned, be it never.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from tekton.clock import Clock

_T = TypeVar("_T")

LONGEST_PAUSE: Final = 60.0
_FIRST_PAUSE: Final = 1.0

_logger = logging.getLogger("tekton.resources")


class SensorHungError(Exception):
    """A reading has not come back in time."""


class Sensor(Generic[_T]):
    """See the module. *absent*: an error that means that there is nothing to read, which is not worth a line."""

    def __init__(
        self,
        name: str,
        read: Callable[[], _T],
        clock: Clock,
        *,
        deadline: float | None = None,
        absent: type[Exception] | tuple[type[Exception], ...] = (),
    ) -> None:
        self.problem: str | None = None
        """Why there is no value; None when there is one, and before anybody has asked."""
        self.is_absent = False
        """True when that is because there is nothing to read."""
        self._name = name
        self._read = read
        self._clock = clock
        self._deadline = deadline
        self._absent = absent
        self._turn = threading.Lock()
        self._value: _T | None = None
        self._read_at: float | None = None
        self._retry_at: float | None = None
        self._pause = _FIRST_PAUSE
        self._said = False
        self._reading: _Reading[_T] | None = None

    def read(self, max_age: float = 0.0) -> _T | None:
        """The value, one that is at most *max_age* seconds old if there is one; None when it cannot be had now."""
        with self._turn:
            now = self._clock.monotonic()
            if max_age > 0 and self._read_at is not None and now - self._read_at <= max_age:
                return self._value
            self._value, self._read_at = None, None
            if self._retry_at is not None and now < self._retry_at:
                return None
            try:
                self._value = self._read() if self._deadline is None else self._read_in_time(self._deadline)
            except Exception as error:  # whatever a driver or a file system comes up with
                self._failed(error)
                return None
            self._works()
            return self._value

    def _read_in_time(self, deadline: float) -> _T:
        if self._reading is not None and not self._reading.done.is_set():
            raise SensorHungError("it still has not answered")
        reading = _Reading(self._read)
        threading.Thread(target=reading.run, name=f"reading {self._name}", daemon=True).start()
        self._reading = reading
        if not reading.done.wait(deadline):
            raise SensorHungError(f"no answer within {deadline:g} s")
        return reading.result()

    def _works(self) -> None:
        self._read_at = self._clock.monotonic()
        if self._said:
            _logger.info("%s can be read again", self._name)
        self.problem, self.is_absent, self._said = None, False, False
        self._retry_at, self._pause = None, _FIRST_PAUSE

    def _failed(self, error: Exception) -> None:
        self.problem = str(error) or type(error).__name__
        self.is_absent = isinstance(error, self._absent)
        if not self.is_absent and not self._said:
            _logger.warning("%s cannot be read: %s", self._name, self.problem)
            self._said = True
        self._retry_at = self._clock.monotonic() + (LONGEST_PAUSE if self.is_absent else self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)


class _Reading(Generic[_T]):
    """One call, in whatever thread."""

    def __init__(self, read: Callable[[], _T]) -> None:
        self.done = threading.Event()
        self._read = read
        self._value: list[_T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            self._value.append(self._read())
        except Exception as error:  # raised again where it is waited for
            self._error = error
        finally:
            self.done.set()

    def result(self) -> _T:
        if self._error is not None:
            raise self._error
        return self._value[0]
