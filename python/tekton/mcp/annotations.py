"""What somebody has written of the parameters of a function, behind any number of partials and wrappers.

An object is annotated at its `__call__`, a class at its `__init__` and itself.
"""

import inspect
import typing
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

__all__ = ["annotations_of", "bare", "given_by_name", "unbound"]


def annotations_of(handler: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of *handler*, resolved. One may be any text: raises whatever it raises."""
    *_, written = _behind(handler)
    is_function = inspect.isroutine(written) or isinstance(written, type)
    hints = typing.get_type_hints(written if is_function else type(written).__call__, include_extras=True)
    if isinstance(written, type):
        made = written.__init__  # type: ignore[misc]  # of this very class
        hints |= typing.get_type_hints(made, include_extras=True) | {"return": written}
    return hints


def bare(annotation: Any) -> Any:
    """*annotation* without what Annotated says beside it."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def given_by_name(handler: Callable[..., Any]) -> frozenset[str]:
    """The parameters that partials have bound by their names: a signature has them still."""
    return frozenset(name for each in _behind(handler) if isinstance(each, partial) for name in each.keywords)


def unbound(handler: Callable[..., Any]) -> "partial[Any]":
    """*handler* as one partial of what is none, whatever partials of partials it is."""
    args: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    while isinstance(handler, partial):
        args, keywords, handler = (*handler.args, *args), {**handler.keywords, **keywords}, handler.func
    return partial(handler, *args, **keywords)


def _behind(handler: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """*handler*, what it is a partial of or wraps, what that wraps, and so on to what somebody has written."""
    while True:
        yield handler
        if isinstance(handler, partial):
            handler = handler.func
        elif hasattr(handler, "__wrapped__") and not hasattr(handler, "__signature__"):
            handler = handler.__wrapped__
        else:
            return
