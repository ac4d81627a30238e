"""What was called of the tools of components, counted. Nobody can make more series than there is room for."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from tekton.clock import Clock
from tekton.core.metrics.metrics import Reading
from tekton.core.metrics.parts.tools import CALL_SECONDS
from tekton.core.metrics.tally import Tally
from tekton.gateway.problems import status_of
from tekton.utils.tekton_errors import TektonError, ToolBusyError, ToolTimeoutError

Outcome = Literal["ok", "refused", "failed", "timeout", "busy", "cancelled"]

MOST_TOOLS: Final = 300
"""So many tools have numbers of their own; those that are called for the first time after that share `other`."""
OTHER: Final = "other"


class ToolMeter:
    """Counts calls; `read` is a reader of metrics."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: Counter[tuple[str, Outcome]] = Counter()
        self._seconds: dict[str, Tally] = {}
        self.in_progress = 0

    @contextmanager
    def call(self, tool_id: str) -> Iterator[None]:
        """A call of *tool_id* for the length of the block, which it ends as the block does."""
        began = self._clock.monotonic()
        self.in_progress += 1
        outcome: Outcome = "failed"
        try:
            yield
            outcome = "ok"
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            self.in_progress -= 1
            name = tool_id if tool_id in self._seconds or len(self._seconds) < MOST_TOOLS else OTHER
            self._calls[name, outcome] += 1
            self._seconds.setdefault(name, Tally(CALL_SECONDS)).observe(self._clock.monotonic() - began)

    def read(self) -> Iterator[Reading]:
        """What was counted so far."""
        for (tool_id, outcome), count in list(self._calls.items()):
            yield Reading("tekton_tool_calls", count, (tool_id, outcome))
        for tool_id, tally in list(self._seconds.items()):
            yield Reading("tekton_tool_call_duration", tally.read(), (tool_id,))
        yield Reading("tekton_tool_calls_in_progress", self.in_progress)


def _outcome(error: BaseException) -> Outcome:
    match error:
        case asyncio.CancelledError():
            return "cancelled"
        case ToolTimeoutError():
            return "timeout"
        case ToolBusyError():
            return "busy"
        case TektonError() if status_of(error) < 500:
            return "refused"
    return "failed"
