"""The tools that there are, and the one place where every call of one ends.

    tools = ToolRegistry()
    tools.register_tool("code_search", "Search for code in the repository", search)
    result = await tools.execute("code_search", {"query": "def main"}, caller="ergon", timeout=5.0)

Whatever a tool does (raise, hang, return something odd or a gigabyte), whoever calls gets a ToolResult or an error of
Tekton, in time: what ignores that it was cancelled is given up, and counted for as long as it runs. Arguments are
checked before, results after the call. Only one thing hurts everybody: an async function that blocks the event loop.
What blocks has to be a plain function, which gets a thread.

A registry is used on one event loop; tools may be registered before there is one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import msgspec

from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.calls import Outcome, UserCalls, describe
from tekton.core.degradation.bulkhead import Bulkhead, Slot, call_in_place
from tekton.core.degradation.deadline import time_left, within
from tekton.core.observable import Observable
from tekton.core.tracing.tracer import span
from tekton.mcp.tool import Tool, ToolLimits
from tekton.mcp.tool_context import ToolContext
from tekton.mcp.tool_result import GarbageError, JsonValue, ToolResult, as_json
from tekton.utils.tekton_errors import (
    BulkheadFullError,
    TektonError,
    ToolBusyError,
    ToolExistsError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from tekton.utils.tekton_ids import nearest_name

__all__ = ["ToolChange", "ToolRegistry", "ToolResult"]

CANCEL_GRACE = 0.25
"""Seconds that a call gets to end after its time is over; whoever called has his answer after them."""

_NO_ARGUMENTS: Mapping[str, Any] = {}

_logger = logging.getLogger("tekton.tools")


class ToolChange(NamedTuple):
    """A tool came, went, or has become another."""

    action: Literal["added", "replaced", "removed"]
    tool: Tool


@dataclass(slots=True)
class _Entry:
    tool: Tool
    places: Bulkhead = field(init=False)

    def __post_init__(self) -> None:
        limits = self.tool.limits
        self.places = Bulkhead(self.tool.name, limits.max_concurrent, limits.max_waiting)


class ToolRegistry(Observable[ToolChange]):
    """Tools by id. Ends what still runs at `close()`, also as an async context manager."""

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(_logger)
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._calls = UserCalls("tools")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def register_tool(
        self,
        tool_id: str,
        description: str | None,
        handler: Callable[..., Any],
        *,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        limits: ToolLimits | None = None,
        annotations: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> Tool:
        """Offer *handler* as the tool *tool_id*; returns the tool.

        Its schemas come from the annotations, unless they are given; without a *description* the docstring has it.
        Raises ToolExistsError unless it may *replace* the one that there is, and as `Tool.from_function`.
        """
        tool = Tool.from_function(
            handler,
            name=tool_id,
            description=description,
            input_schema=input_schema,
            output_schema=output_schema,
            limits=limits or ToolLimits(),
            annotations=annotations or {},
        )
        return self.add(tool, replace=replace)

    def add(self, tool: Tool, *, replace: bool = False) -> Tool:
        """Offer *tool*. Raises ToolExistsError unless it may *replace* the one that there is.

        Calls of the one that is replaced go on.
        """
        known = tool.name in self._entries
        if known and not replace:
            raise ToolExistsError(tool.name)
        self._entries[tool.name] = _Entry(tool)
        self._tell(ToolChange("replaced" if known else "added", tool), tool.name)
        return tool

    def unregister_tool(self, tool_id: str) -> Tool:
        """Offer *tool_id* no more; returns what it was. Calls go on. Raises ToolNotFoundError."""
        tool = self._entry(tool_id).tool
        del self._entries[tool_id]
        self._tell(ToolChange("removed", tool), tool.name)
        return tool

    def unregister_source(self, source: str) -> list[Tool]:
        """Offer no remote tools of the component *source* any more; returns those that there were."""
        return [self.unregister_tool(tool.name) for tool in self.tools(source)]

    def get(self, tool_id: str) -> Tool:
        """The tool of that id. Raises ToolNotFoundError, which names the nearest."""
        return self._entry(tool_id).tool

    def find(self, tool_id: str) -> Tool | None:
        """The tool of that id, or None."""
        entry = self._entries.get(tool_id)
        return None if entry is None else entry.tool

    def tools(self, source: str | None = None) -> list[Tool]:
        """All tools, or those of one component, by id."""
        found = sorted(self._entries.items())
        return [entry.tool for _, entry in found if source is None or entry.tool.source == source]

    def __contains__(self, tool_id: object) -> bool:
        return tool_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    async def execute(
        self,
        tool_id: str,
        arguments: Mapping[str, Any] | msgspec.Struct = _NO_ARGUMENTS,
        *,
        caller: str | None = None,
        timeout: float | None = None,
        context: ToolContext | None = None,
    ) -> ToolResult:
        """Call *tool_id* with *arguments*, within *timeout* seconds, or the time that the tool has if that is less.

        *context* is that of whoever calls: he hears what the tool says, and is asked what it asks. Being cancelled
        cancels the call.

        Raises ToolNotFoundError, InvalidArgumentsError, ToolBusyError and ToolTimeoutError, the errors of Tekton that
        the tool raises, and ToolFailedError for all others and for results that cannot be passed on.
        """
        entry = self._entry(tool_id)
        tool = entry.tool
        given = tool.decode(arguments)
        begun = self._clock.monotonic()
        with span(f"tool {tool_id}"), within(_shorter(timeout, tool.limits.timeout)):
            slot = await _enter(entry)
            value = await self._run(tool, given, (context or ToolContext()).bound(tool_id, caller), slot)
        result = _passed_on(tool, value)
        return ToolResult(tool_id, value, result.content, result.json, self._clock.monotonic() - begun)

    def running(self, tool_id: str) -> int:
        """How many calls of the tool run, those that were given up included. Raises ToolNotFoundError."""
        return self._entry(tool_id).places.running

    def abandoned(self, tool_id: str) -> int:
        """How many calls of the tool were given up and still run."""
        return len(self._calls.leaked(tool_id))

    async def close(self) -> None:
        """End all calls that still run; those that ignore it are given up."""
        await self._calls.close()

    def _entry(self, tool_id: str) -> _Entry:
        entry = self._entries.get(tool_id)
        if entry is None:
            raise ToolNotFoundError(tool_id, nearest_name(tool_id[:255], self._entries))
        return entry

    async def _run(self, tool: Tool, given: Any, context: ToolContext, slot: Slot) -> Any:
        timeout = time_left() or 0.0
        task = self._calls.spawn(_attempt(tool, given, context, slot), "call", tool.name)
        task.add_done_callback(lambda _: slot.release())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait({task})
        except TimeoutError:
            raise ToolTimeoutError(tool.name, timeout) from None
        finally:
            await self._calls.end(task, CANCEL_GRACE)
            context.close()
        if task.cancelled():
            raise ToolFailedError(tool.name, "it was cancelled")
        return _value(tool, task.result())


async def _attempt(tool: Tool, given: Any, context: ToolContext, slot: Slot) -> Outcome:
    function = tool.prepared(given, context)
    return await tool.settled(await call_in_place(function, slot), context)


async def _enter(entry: _Entry) -> Slot:
    """A place for a call, within the time that it has."""
    limits = entry.tool.limits
    timeout = time_left() or 0.0
    if timeout <= 0:
        raise ToolTimeoutError(entry.tool.name, 0.0)
    try:
        async with asyncio.timeout(timeout):
            return await entry.places.enter()
    except (BulkheadFullError, TimeoutError):
        raise ToolBusyError(entry.tool.name, limits.max_concurrent, entry.places.waiting) from None


def _value(tool: Tool, outcome: Outcome) -> Any:
    error = outcome.error
    if error is None:
        return outcome.value
    if isinstance(error, TektonError):
        raise error
    _logger.warning("the tool %s has failed", tool.name, exc_info=error)
    raise ToolFailedError(tool.name, describe(error)) from error


def _passed_on(tool: Tool, value: Any) -> JsonValue:
    try:
        result = as_json(value, tool.limits.max_result)
    except GarbageError as error:
        raise ToolFailedError(tool.name, f"what it has returned cannot be passed on: {error}") from None
    tool.check_result(result.content)
    return result


def _shorter(timeout: float | None, other: float) -> float:
    return timeout if timeout is not None and timeout < other else other
