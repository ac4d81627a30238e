"""On whose behalf something is done.

The gateway enters the attribution of a request; the commands of the registry and the audit log read it.

An attribution holds in the task that entered it, and in no other: what a caller has set off (a restart, a probe, a
timer) goes on long after his request and is not done by him. Who carries a caller's work into another task takes
`current()` along and enters it there.
"""

from asyncio import current_task
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    import asyncio


class Attribution(NamedTuple):
    """Who it is: the subject, how that was proved, the address of the peer, and the id of the request, if any."""

    actor: str
    via: str = "none"
    address: str = ""
    request: str = ""


TEKTON = Attribution("tekton", "internal")
"""The control plane itself."""

_Source = Attribution | Callable[[], Attribution]
# Weakly: the task has the context in which this is, and what refers to itself lies about until it is collected.
_Entered = tuple[_Source, "ref[asyncio.Task[Any]] | None"]

_entered: ContextVar[_Entered | None] = ContextVar("attribution", default=None)


def current() -> Attribution | None:
    """The attribution that was entered in the task that runs now; None where nobody's was."""
    entered = _entered.get()
    if entered is None:
        return None
    # A task begins with a copy of its parent's context, and a callback runs in that of whoever scheduled it.
    source, task = entered
    running = _running()
    if (running is not None) if task is None else (running is None or task() is not running):
        return None
    return source if isinstance(source, Attribution) else source()


def act_for(source: Callable[[], Attribution]) -> None:
    """Let what *source* gives hold in the running task until that ends.

    For a task that does one thing on behalf of somebody, as a request does. *source* is asked only if somebody wants to
    know: most requests are heartbeats, which nobody enters.
    """
    _entered.set(_here(source))


class attributed:  # noqa: N801 (used like a function)
    """Let an attribution hold in the running task: `with attributed(attribution):`. None: nobody's."""

    __slots__ = ("_attribution", "_before")

    def __init__(self, attribution: Attribution | None) -> None:
        self._attribution = attribution

    def __enter__(self) -> None:
        self._before = _entered.set(None if self._attribution is None else _here(self._attribution))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _entered.reset(self._before)


def _here(source: _Source) -> _Entered:
    task = _running()
    return source, None if task is None else ref(task)


def _running() -> "asyncio.Task[Any] | None":
    try:
        return current_task()
    except RuntimeError:  # no event loop
        return None
