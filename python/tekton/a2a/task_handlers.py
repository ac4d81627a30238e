"""How a task becomes a call of the function that does the work of an agent.

Its parameters are the inputs of that name; one annotated TaskContext is the context. Inputs without a parameter are
left out, unless there is a `**` parameter: `context.inputs` has all of them.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from tekton.a2a.task_steps import TaskContext
from tekton.core.calls import UserFunction, bound
from tekton.utils.tekton_errors import InvalidTaskError

__all__ = ["prepared"]


def prepared(handler: Callable[..., Any], context: TaskContext) -> UserFunction:
    """*handler* with the inputs of the task. Raises InvalidTaskError, if one is missing."""
    parameters = inspect.signature(handler).parameters
    hints = _hints(handler)
    inputs = dict(context.inputs)
    mine = [name for name in parameters if hints.get(name) is TaskContext]
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    given = {name: value for name, value in inputs.items() if open_ended or name in parameters}
    given |= dict.fromkeys(mine, context)
    try:
        inspect.signature(handler).bind(**given)
    except TypeError as error:
        raise InvalidTaskError("/inputs", f"agent {context.agent_id} cannot be called with them: {error}") from None
    return bound(handler, **given)


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(function, "__annotations__", {}))
