"""What a circuit breaker hands out: the right to make one call, which takes its result.

A permit is part of its breaker and works on its inside. The ones of a closed breaker know only the generation in which
their calls began; a probe is known to the breaker one by one.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tekton.core.degradation.circuit_breaker import CircuitBreaker


class Permit(Protocol):
    """The right to make one call. Exactly one of the methods is called when it is over."""

    def succeeded(self) -> None:
        """The call was answered."""
        ...

    def failed(self, error: BaseException | None = None) -> None:
        """The call failed. An *error* that is about the request, by the breaker's classification, is an answer."""
        ...

    def cancelled(self) -> None:
        """The call was given up by its caller, which says nothing about the component."""
        ...


class SharedPermit:
    """What all calls of one generation share that began while the breaker was closed and kept no window."""

    __slots__ = ("_breaker", "_generation")

    def __init__(self, breaker: "CircuitBreaker", generation: int) -> None:
        self._breaker = breaker
        self._generation = generation

    def succeeded(self) -> None:
        breaker = self._breaker
        if breaker._generation == self._generation:
            breaker._in_a_row = 0
            breaker.successes += 1

    def failed(self, error: BaseException | None = None) -> None:
        breaker = self._breaker
        breaker._end_call(self._generation, 0.0, breaker.counts(error), error)

    def cancelled(self) -> None:
        pass


class WindowPermit:
    """The permit of one call that *began* while the breaker was closed, where a window is kept."""

    __slots__ = ("_began", "_breaker", "_generation")

    def __init__(self, breaker: "CircuitBreaker", generation: int, began: float) -> None:
        self._breaker = breaker
        self._generation = generation
        self._began = began

    def succeeded(self) -> None:
        self._breaker._end_call(self._generation, self._began, False, None)

    def failed(self, error: BaseException | None = None) -> None:
        self._breaker._end_call(self._generation, self._began, self._breaker.counts(error), error)

    def cancelled(self) -> None:
        pass


class Probe:
    """One call that finds out whether the component works again."""

    __slots__ = ("_began", "_breaker")

    def __init__(self, breaker: "CircuitBreaker", began: float) -> None:
        self._breaker = breaker
        self._began = began

    def succeeded(self) -> None:
        self._breaker._end_probe(self, self._began, False, None)

    def failed(self, error: BaseException | None = None) -> None:
        self._breaker._end_probe(self, self._began, self._breaker.counts(error), error)

    def cancelled(self) -> None:
        self._breaker._cancel_probe(self)
