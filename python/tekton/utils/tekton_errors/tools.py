"""Tools and the calls of them."""

from collections.abc import Sequence

from tekton.utils.tekton_errors.base import TektonError

__all__ = [
    "AmbiguousToolError",
    "InvalidArgumentsError",
    "NobodyToAskError",
    "ToolBusyError",
    "ToolError",
    "ToolExistsError",
    "ToolFailedError",
    "ToolNotFoundError",
    "ToolTimeoutError",
]


class ToolError(TektonError):
    """Base of what can go wrong with a tool. `tool_id` says with which."""

    code = "tool"

    def __init__(self, tool_id: str, problem: str) -> None:
        self.tool_id = tool_id
        super().__init__(problem)


class ToolNotFoundError(ToolError):
    """There is no tool of that id."""

    code = "tool_not_found"

    def __init__(self, tool_id: str, nearest: str | None = None) -> None:
        self.nearest = nearest
        if nearest:
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(tool_id[:255], f"there is no tool {tool_id[:255]!r}")


class ToolExistsError(ToolError):
    """There is a tool of that id already. It was left as it is."""

    code = "tool_exists"
    hint = "choose another id, or register it with replace=True"

    def __init__(self, tool_id: str) -> None:
        super().__init__(tool_id, f"there is a tool {tool_id} already")


class AmbiguousToolError(ToolError):
    """Several components have a tool of that name. `candidates` are the ids of those tools."""

    code = "ambiguous_tool"

    def __init__(self, tool_id: str, candidates: Sequence[str]) -> None:
        self.candidates = list(candidates[:20])
        self.hint = f"use one of {', '.join(self.candidates)}"
        super().__init__(tool_id, f"{len(candidates)} components have a tool {tool_id}")


class InvalidArgumentsError(ToolError):
    """The arguments are not those that the tool takes. It was not called. `pointer` leads to what is wrong."""

    code = "invalid_arguments"

    def __init__(self, tool_id: str, pointer: str, problem: str, nearest: str | None = None) -> None:
        self.pointer = pointer
        self.problem = problem
        if nearest:
            self.nearest = nearest
            self.hint = f"did you mean {nearest!r}?"
        super().__init__(tool_id, f"{pointer or 'the arguments'}: {problem}")


class ToolBusyError(ToolError):
    """As many calls of the tool run as may (`limit`), and no more may wait (`waiting` do). It was not called."""

    code = "tool_busy"
    hint = "call it less often at once, or allow more calls"

    def __init__(self, tool_id: str, limit: int, waiting: int) -> None:
        self.limit = limit
        self.waiting = waiting
        super().__init__(tool_id, f"{tool_id}: {limit} calls run and {waiting} wait")


class ToolTimeoutError(ToolError):
    """A call was not over in time (`timeout`, seconds). What it has done by then is not undone."""

    code = "tool_timeout"

    def __init__(self, tool_id: str, timeout: float) -> None:
        self.timeout = round(timeout, 3)
        super().__init__(tool_id, f"{tool_id} was not done within {timeout:.3g} s")


class NobodyToAskError(ToolError):
    """A tool has a question for its caller, and its caller cannot be asked."""

    code = "nobody_to_ask"
    hint = "call it where questions can be answered, or give it all that it needs"

    def __init__(self, tool_id: str, question: str) -> None:
        self.question = question[:500]
        super().__init__(tool_id, f"{tool_id} asks {question[:500]!r}, and nobody is there to answer")


class ToolFailedError(ToolError):
    """A call has raised, or returned what cannot be passed on."""

    code = "tool_failed"

    def __init__(self, tool_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(tool_id, f"{tool_id} failed: {reason}")
