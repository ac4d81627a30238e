"""What this package asks of a place to keep things. `registry.documents` of the control plane is one.

A change is made once it has begun: who is cancelled meanwhile has waited until it shows, or was refused.
"""

from collections.abc import Mapping
from typing import Protocol


class Documents(Protocol):
    """Small documents by kind and id. What is read is what was committed last."""

    def all(self, kind: str) -> Mapping[str, bytes]:
        """All documents of a kind by id, from memory; it changes as they do."""
        ...

    def changes(self, kind: str) -> int:
        """How many changes of this kind were committed since the start."""
        ...

    async def put(self, kind: str, id: str, body: bytes, *, action: str = "", detail: str = "") -> None:  # noqa: A002
        """Add a document or replace it. Durable on return, with *action* and *detail* in the audit log."""
        ...

    async def put_all(self, kind: str, bodies: Mapping[str, bytes], *, action: str = "", detail: str = "") -> None:
        """Add documents or replace them, all or none. The entry in the audit log is about the first."""
        ...

    async def delete(self, kind: str, id: str, *, action: str = "", detail: str = "") -> None:  # noqa: A002
        """Remove a document, whether or not it is there. Durable on return."""
        ...
