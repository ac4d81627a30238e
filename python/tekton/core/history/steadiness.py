"""Whether the wall clock can be trusted with the age of things."""

from typing import Final

from tekton.clock import Clock

STEADY: Final = 600.0
"""For so many seconds the clocks must have run evenly before what is old is dropped."""

_EVENLY: Final = 5.0


class Steadiness:
    """Whether the wall clock runs as the monotonic one does, and for how long it has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = clock.time() - clock.monotonic()
        self._since = clock.monotonic()

    def look(self) -> None:
        """Notice a jump, if there was one."""
        offset = self._clock.time() - self._clock.monotonic()
        if abs(offset - self._offset) > _EVENLY:
            self._since = self._clock.monotonic()
        self._offset = offset

    def lasts(self) -> bool:
        """True when there has been none for long enough."""
        self.look()
        return self._clock.monotonic() - self._since >= STEADY
