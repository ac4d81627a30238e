"""What every record says that is logged in a context, without being told each time.

    with bound(component="rhetor", request_id=request.id):
        logger.info("starting")                 # … component=rhetor request_id=…

A context is that of `contextvars`: a task begins with that of the one which has started it, and a thread with none.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

from tekton.utils.log_record import frozen

_NONE: Final[Mapping[str, object]] = MappingProxyType({})

FIELDS: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_fields", default=_NONE)
"""The fields of the code that runs. Never changed, only replaced: a record keeps the mapping itself."""


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add *fields* to every record that is logged inside; an inner value replaces an outer one.

    What a record says in `extra` is kept beside them, and wins.
    """
    token = FIELDS.set({**FIELDS.get(), **{name: frozen(value) for name, value in fields.items()}})
    try:
        yield
    finally:
        FIELDS.reset(token)
