"""Which roles policy binds to whom: a role that somebody claims counts only if it is bound to him.

These bind: `principals` in security.json; what an administrator has given with a token or a key (documents of the kind
`principal`); and being run by Tekton, for the role `component`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tekton.core.component_lifecycle.documents import Documents

KIND: Final = "principal"


class _Bound(msgspec.Struct, frozen=True):
    """The roles that an administrator has given to a subject."""

    roles: tuple[str, ...]


class RoleBindings:
    """See the module. What an administrator gives is in *documents*."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._configured: Mapping[str, Sequence[str]] = {}
        self._line_up: Callable[[], int] = lambda: 0
        self._run: Callable[[], Iterable[str]] = tuple
        self.runs: Callable[[str], bool] = lambda _: False
        """Tells which components Tekton runs."""

    def adopt(self, principals: Mapping[str, Sequence[str]]) -> None:
        """From now on the configuration binds *principals*: the roles of each subject."""
        self._configured = principals

    def know_components(
        self, runs: Callable[[str], bool], line_up: Callable[[], int], run: Callable[[], Iterable[str]]
    ) -> None:
        """*runs* tells which components Tekton runs, *run* lists them; *line_up* is a number that grows with that."""
        self.runs = runs
        self._line_up = line_up
        self._run = run

    @property
    def epoch(self) -> int:
        """A number that grows when something is bound or unbound, but for what the configuration binds."""
        return self._documents.changes(KIND) + self._line_up()

    def subjects(self) -> set[str]:
        """All to whom a role is bound."""
        return {*self._configured, *self._documents.all(KIND), *self._run()}

    def of(self, subject: str) -> frozenset[str]:
        """The roles that are bound to *subject*."""
        supervised = ("component",) if self.runs(subject) else ()
        return frozenset((*self._configured.get(subject, ()), *self._given(subject), *supervised))

    async def bind(self, subject: str, roles: Iterable[str]) -> None:
        """Give *roles* to *subject* besides what he has been given. Raises StorageError; then nothing changed."""
        bound = _Bound(tuple(sorted({*self._given(subject), *roles})))
        await self._documents.put(
            KIND, subject, msgspec.json.encode(bound), action="principal.bind", detail=", ".join(bound.roles)
        )

    async def unbind(self, subject: str, roles: Iterable[str]) -> list[str]:
        """Take *roles* back that `bind` has given to *subject*; those that were. Raises StorageError as `bind` does."""
        given = self._given(subject)
        taken = sorted(set(roles).intersection(given))
        if taken:
            left = _Bound(tuple(role for role in given if role not in taken))
            action, detail = "principal.unbind", ", ".join(taken)
            if left.roles:
                await self._documents.put(KIND, subject, msgspec.json.encode(left), action=action, detail=detail)
            else:
                await self._documents.delete(KIND, subject, action=action, detail=detail)
        return taken

    def _given(self, subject: str) -> tuple[str, ...]:
        body = self._documents.all(KIND).get(subject)
        return () if body is None else msgspec.json.decode(body, type=_Bound).roles
