"""How a task becomes a call of the function that does the work of an agent.

Its parameters are the inputs of that name, as their annotations say, but for those that a partial has bound; one
annotated TaskContext is the context. An input that is of another type, or missing, is refused before the function is
called. So is one without a parameter, unless there is a `**` parameter, or the context: `context.inputs` has all of
them, as they came. A function without parameters has nothing to do with inputs, and is called whatever they are: a
message of Agent2Agent is never without. Nor is an input refused of which a part has no use: parts are given all those
of the whole.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from tekton.a2a.task_steps import TaskContext
from tekton.core.calls import UserFunction, bound
from tekton.mcp.annotations import annotations_of, bare, given_by_name
from tekton.mcp.signature import Signature, struct_of
from tekton.utils.misfits import misfit
from tekton.utils.tekton_errors import InvalidTaskError

__all__ = ["prepared"]

_UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class _Shape(NamedTuple):
    """What a handler takes.

    *mine* are the names of parameters for the context, *bound* of those that a partial has bound; if *open_ended*, it
    takes any other input.

    *inputs* is the struct that inputs with a parameter are decoded into; if *strict*, there must be no others.
    """

    signature: inspect.Signature
    mine: tuple[str, ...]
    bound: frozenset[str]
    open_ended: bool
    inputs: type[msgspec.Struct]
    strict: bool


def prepared(handler: Callable[..., Any], context: TaskContext) -> UserFunction:
    """*handler* with the inputs of the task. Raises InvalidTaskError for one that is missing, unknown, or no such."""
    try:
        shape = _shape(handler)
    except TypeError:  # it cannot be a key
        shape = _shape.__wrapped__(handler)
    is_part = context.task.parent_id is not None
    given = _decoded(shape, context.inputs, strict=shape.strict and not is_part) | dict.fromkeys(shape.mine, context)
    try:
        shape.signature.bind(**given)
    except TypeError as error:
        raise InvalidTaskError("/inputs", f"agent {context.agent_id} cannot be called with them: {error}") from None
    return bound(handler, **given)


def _decoded(shape: _Shape, inputs: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """*inputs* as the handler gets them."""
    names = shape.inputs.__struct_fields__
    named = {name: value for name, value in inputs.items() if name in names}
    decoded = _converted(shape.inputs, inputs if strict else named)
    given = {name: getattr(decoded, name) for name in named}
    if not shape.open_ended:
        return given
    return {name: value for name, value in inputs.items() if name not in shape.bound} | given


def _converted(kind: type[msgspec.Struct], inputs: Mapping[str, Any]) -> msgspec.Struct:
    try:
        return msgspec.convert(inputs, kind, str_keys=True)
    except msgspec.ValidationError as error:
        found = misfit(kind, str(error))
        # What was meant is part of the reason: of an attempt that has failed nothing else is kept.
        meant = f"; did you mean {found.nearest!r}?" if found.nearest else ""
        raise InvalidTaskError(f"/inputs{found.pointer}", f"{found.problem}{meant}") from None
    except RecursionError:
        raise InvalidTaskError("/inputs", "nested too deep") from None


@lru_cache(maxsize=256)
def _shape(handler: Callable[..., Any]) -> _Shape:
    signature, given = inspect.signature(handler), given_by_name(handler)
    parameters = {name: one for name, one in signature.parameters.items() if name not in given}
    hints = _hints(handler)
    mine = tuple(name for name in parameters if bare(hints.get(name)) is TaskContext)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    named = {
        name: _field(one, hints.get(name, Any))
        for name, one in parameters.items()
        if name not in mine and one.kind not in _UNNAMED
    }
    inputs = struct_of(Signature(named, None, None, Any), "task", {})
    return _Shape(signature, mine, given, open_ended, inputs, strict=bool(named) and not mine and not open_ended)


def _field(parameter: inspect.Parameter, kind: Any) -> inspect.Parameter:
    """*parameter*, for the struct. Its default stays with the handler: here it only says that there is one."""
    default = parameter.empty if parameter.default is parameter.empty else None
    return parameter.replace(annotation=kind if _comes_from_json(kind) else Any, default=default)


def _comes_from_json(kind: Any) -> bool:
    """False for what JSON cannot be decoded as; such a parameter gets its input as it came."""
    try:
        msgspec.json.schema(kind)
    except Exception:  # what somebody wrote as an annotation may be anything
        return False
    return True


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    try:
        return annotations_of(handler)
    except Exception:  # one that cannot be resolved; the others may say enough
        return {name: one.annotation for name, one in inspect.signature(handler).parameters.items()}
