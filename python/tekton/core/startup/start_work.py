"""The part of a start that is the user's code: the start function, then the readiness conditions.

While it runs it may wait for other components (`waiting.py`). That is remembered here, for whoever looks for
deadlocks or wants to know what a start is doing. A wait of the start function itself (its own task) *blocks* the
start; one of a task or thread that it has begun may or may not, so it is told, but nothing is concluded from it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tekton.core import waiting
from tekton.core.calls import call, describe
from tekton.core.component_lifecycle.readiness import Findings, NotReadyError
from tekton.core.startup.places import Place
from tekton.core.startup.start_plan import Handler
from tekton.core.tracing.tracer import span


class Wait(NamedTuple):
    """Code of a start waits for *names*; *blocks*: the start does not go on before."""

    names: tuple[str, ...]
    blocks: bool


class StartWork:
    """See the module. *enter* is told the phase, *may_begin* asked at the moment of the call.

    `begun` is true once the start function has been called, `returned` once something may run.
    """

    def __init__(
        self, handler: Handler, place: Place, enter: Callable[[str], None], may_begin: Callable[[], bool]
    ) -> None:
        self.component_id = handler.unit
        self.begun = False
        self.returned = False
        self._handler = handler
        self._place = place
        self._enter = enter
        self._may_begin = may_begin
        self._task: asyncio.Task[Any] | None = None
        self._waits: list[Wait] = []

    async def run(self) -> str | None:
        """Call the start function, then wait for each readiness condition. The result is None, or why it failed.

        It is None, too, when it may not begin.
        """
        assert self._handler.start_func is not None
        if not self._may_begin():
            return None
        self.begun = True
        self._task = asyncio.current_task()
        waiting.run_for(self)
        self._enter("start function")
        with span("start function"):
            outcome = await call(self._handler.start_func)
        if outcome.error is not None:
            return describe(outcome.error)
        if outcome.value is False:
            return "the start function returned False"
        self.returned = True
        for condition in self._handler.readiness:
            self._enter(condition.name)
            findings = Findings()

            def report(
                name: str, finding: str | None, whole: str = condition.name, findings: Findings = findings
            ) -> None:
                findings.note(name, finding)
                self._enter("; ".join(findings.unmet()) or whole)

            try:
                with span(f"wait for {condition.name}"):
                    await condition.wait(report)
            except NotReadyError as error:
                return str(error)
        return None

    def waits(self) -> Iterator[Wait]:
        """What its code waits for now."""
        return iter(self._waits)

    @asynccontextmanager
    async def waiting(self, names: Iterable[str], *, starting: bool) -> AsyncIterator[None]:
        """The time in which its code waits for *names*. For its own component it may: others make that ready."""
        others = tuple(name for name in names if starting or name != self._handler.component_id)
        if not others or self.is_over:
            yield
            return
        wait = Wait(others, blocks=asyncio.current_task() is self._task)
        self._waits.append(wait)
        self._place.lend()
        try:
            yield
        except asyncio.CancelledError:
            self._end(wait)
            self._place.give_up()
            raise
        except BaseException:
            self._end(wait)
            await self._place.take_back()
            raise
        self._end(wait)
        await self._place.take_back()

    @property
    def is_over(self) -> bool:
        """True when the start goes on without its code."""
        # What a start function has left behind, such as a server in this process, keeps its context.
        return self._task is None or self._task.done()

    def _end(self, wait: Wait) -> None:
        # By identity: two waits may be equal.
        self._waits = [other for other in self._waits if other is not wait]
