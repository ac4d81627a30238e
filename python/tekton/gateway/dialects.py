"""Protocols that answer with errors of their own form, whoever refuses: the port as well as what is behind it."""

from collections.abc import Sequence
from typing import Protocol

from tekton.gateway.request import Response

__all__ = ["Dialect", "dialect_of"]


class Dialect(Protocol):
    """Says how errors are told below the path *prefix*."""

    @property
    def prefix(self) -> str:
        """The beginning of the paths that it is for, without a slash at its end."""
        ...

    def refuse(self, path: str, error: Exception) -> Response:
        """The answer to a request for *path* that has failed with *error*. It must not raise."""
        ...


def dialect_of(dialects: Sequence[Dialect], path: str) -> Dialect | None:
    """The one that answers at *path*; None where problem documents do."""
    for dialect in dialects:
        if path == dialect.prefix or path.startswith(f"{dialect.prefix}/"):
            return dialect
    return None
