"""What start functions wait for while they run.

A start function may need other components that are not among the declared dependencies: it starts them, or waits in
the registry until they are usable. The start that it belongs to has to know that. Meanwhile it lends its place among
the simultaneous starts, and who waits for whom shows when nobody can go on.

Whoever lets others wait for a component wraps that in `waiting_for`. Which start the running code belongs to is in
its context, so code that a start function calls, in tasks or threads of its own too, is found.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from typing import Protocol


class Waiter(Protocol):
    """The start of *component_id*, whose code may wait; `is_over` once it has returned."""

    component_id: str

    @property
    def is_over(self) -> bool:
        """True when nobody waits for what its code still does."""
        ...

    def waiting(self, names: Iterable[str], *, starting: bool) -> AbstractAsyncContextManager[None]:
        """The time in which its code waits for *names*; *starting*: until they have been started."""
        ...


_waiter: ContextVar[Waiter | None] = ContextVar("tekton_start", default=None)


def run_for(waiter: Waiter) -> None:
    """From here on, the code of this context belongs to *waiter*."""
    _waiter.set(waiter)


def starting() -> str | None:
    """The component whose start the running code belongs to; None outside of starts."""
    waiter = _waiter.get()
    return None if waiter is None or waiter.is_over else waiter.component_id


def waiting_for(names: Iterable[str], *, starting: bool = False) -> AbstractAsyncContextManager[None]:
    """The time in which the running code waits for the components *names*; nothing unless it belongs to a start."""
    waiter = _waiter.get()
    return nullcontext() if waiter is None else waiter.waiting(names, starting=starting)
