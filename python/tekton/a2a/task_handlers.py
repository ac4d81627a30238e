"""How a task becomes a call of the function that does the work of an agent.

Its parameters are the inputs of that name; one annotated TaskContext is the context. Inputs without a parameter are
left out, unless there is a `**` parameter: `context.inputs` has all of them.
"""

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from tekton.a2a.task_steps import TaskContext
from tekton.core.calls import UserFunction, bound
from tekton.utils.tekton_errors import InvalidTaskError

__all__ = ["prepared"]


class _Shape(NamedTuple):
    """What a handler takes: *mine* are the names of parameters for the context, *open_ended*: it takes any input."""

    signature: inspect.Signature
    mine: tuple[str, ...]
    open_ended: bool


def prepared(handler: Callable[..., Any], context: TaskContext) -> UserFunction:
    """*handler* with the inputs of the task. Raises InvalidTaskError, if one is missing."""
    try:
        shape = _shape(handler)
    except TypeError:  # it cannot be a key
        shape = _shape.__wrapped__(handler)
    parameters = shape.signature.parameters
    given = {name: value for name, value in context.inputs.items() if shape.open_ended or name in parameters}
    given |= dict.fromkeys(shape.mine, context)
    try:
        shape.signature.bind(**given)
    except TypeError as error:
        raise InvalidTaskError("/inputs", f"agent {context.agent_id} cannot be called with them: {error}") from None
    return bound(handler, **given)


@lru_cache(maxsize=256)
def _shape(handler: Callable[..., Any]) -> _Shape:
    signature, hints = inspect.signature(handler), _hints(handler)
    parameters = signature.parameters
    mine = tuple(name for name in parameters if hints.get(name) is TaskContext)
    return _Shape(signature, mine, any(one.kind is one.VAR_KEYWORD for one in parameters.values()))


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    function = handler if inspect.isroutine(handler) else getattr(handler, "__call__", handler)  # noqa: B004
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(function, "__annotations__", {}))
