"""Documents: small things that must last and are no components, such as API keys, principals and revocations.

All of them are in memory: reading costs nothing and changing one costs a commit. Each change is in the audit log, in
the transaction that makes it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

MAX_BODY_BYTES = 64 * 1024

Bodies = dict[str, dict[str, bytes]]
"""The bodies by kind and id."""

_NONE: Mapping[str, bytes] = MappingProxyType({})


class DocumentChange(NamedTuple):
    """A document's new body; None: it is gone."""

    kind: str
    id: str
    body: bytes | None


Submit = Callable[[Sequence[DocumentChange], str, str], "asyncio.Future[int]"]


class Documents:
    """The documents of a registry, as they were last committed.

    `submit` is the writer: it makes changes durable, all or none, with one entry in the audit log (action and detail)
    about the first, shows them by `show`, and then the future is done.

    A caller that is cancelled does not take a change back, and waits for it: whoever lets nobody else make changes
    meanwhile lets in the next one when this one shows.
    """

    def __init__(self, bodies: Bodies, submit: Submit) -> None:
        self._bodies = bodies
        self._submit = submit
        self._changes: Counter[str] = Counter()

    def all(self, kind: str) -> Mapping[str, bytes]:
        """The bodies of all documents of a *kind*, by id. Changes when a change is committed; no copy."""
        bodies = self._bodies.get(kind)
        return _NONE if bodies is None else MappingProxyType(bodies)

    def changes(self, kind: str) -> int:
        """How many changes of documents of a *kind* were committed since the start: caches compare it."""
        return self._changes[kind]

    async def put(self, kind: str, id: str, body: bytes, *, action: str = "", detail: str = "") -> None:  # noqa: A002
        """Keep *body* as that document, durably.

        The audit log says *action* (`<kind>.put` without one) and *detail*; the body is not in it. Raises ValueError
        for a body of more than 64 KiB, and the storage errors; then nothing was changed.
        """
        await self.put_all(kind, {id: body}, action=action, detail=detail)

    async def put_all(self, kind: str, bodies: Mapping[str, bytes], *, action: str = "", detail: str = "") -> None:
        """Keep *bodies* as the documents of these ids, all or none.

        The audit log names the first of them. Otherwise as `put`.
        """
        for id, body in bodies.items():  # noqa: A001
            if len(body) > MAX_BODY_BYTES:
                raise ValueError(f"{kind} {id}: {len(body)} bytes are more than a document may have ({MAX_BODY_BYTES})")
        changes = [DocumentChange(kind, id, body) for id, body in bodies.items()]  # noqa: A001
        await _made(self._submit(changes, action or f"{kind}.put", detail))

    async def delete(self, kind: str, id: str, *, action: str = "", detail: str = "") -> None:  # noqa: A002
        """Remove that document, durably, whether or not it is there. Otherwise as `put`."""
        await _made(self._submit([DocumentChange(kind, id, None)], action or f"{kind}.delete", detail))

    def show(self, change: DocumentChange) -> None:
        """Let a committed *change* be seen."""
        apply(self._bodies, change)
        self._changes[change.kind] += 1


async def _made(change: "asyncio.Future[int]") -> None:
    try:
        await asyncio.shield(change)
    except asyncio.CancelledError:
        await asyncio.gather(change, return_exceptions=True)
        raise


def apply(bodies: Bodies, change: DocumentChange) -> None:
    """Make *change* in *bodies*."""
    of_kind = bodies.setdefault(change.kind, {})
    if change.body is None:
        of_kind.pop(change.id, None)
    else:
        of_kind[change.id] = change.body
