"""How far a start has come, from what the change feed tells. No I/O and no clock.

The feed knows records of earlier runs, too. A component counts as ended only if it was registered, or seen on its
way, in this run.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tekton.cli.watch import Board, News, Record

_USABLE = ("ready", "degraded")
_RESTARTING = "restarting"
_ACTIVE = ("registering", "initializing", "starting", "stopping", *_USABLE)


class Expected(NamedTuple):
    """A component that is about to be started: what it needs first, and its port."""

    name: str
    needs: tuple[str, ...] = ()
    port: int | None = None


@dataclass(slots=True)
class Row:
    """One component and how far it is. `took` is in seconds, from its registration to its last change."""

    name: str
    needs: tuple[str, ...]
    port: int | None
    state: str = "unknown"
    reason: str | None = None
    began: float | None = None
    took: float | None = None

    @property
    def usable(self) -> bool:
        """True when others can use it."""
        return self.state in _USABLE

    @property
    def failed(self) -> bool:
        """True when it has failed in this run."""
        return self.state == "failed"

    @property
    def ended(self) -> bool:
        """True when it has failed or stopped in this run, and not just to start again."""
        return self.failed or (self.state == "stopped" and self.reason != _RESTARTING)


class Progress:
    """The start of *expected* components by a control plane that runs since *since* (wall-clock seconds)."""

    def __init__(self, expected: Iterable[Expected], since: float) -> None:
        self.rows = {name: Row(name, needs, port) for name, needs, port in expected}
        self._since = since
        self._board = Board()

    def apply(self, piece: News) -> None:
        """Take in one piece of news."""
        self._board.apply(piece)
        for row in self.rows.values():
            record = self._board.find(row.name)
            if record is not None:
                self._update(row, record)

    @property
    def settled(self) -> bool:
        """True when every component is usable, has ended, or cannot come any more."""
        return not self.pending

    @property
    def pending(self) -> list[Row]:
        """The components that are on their way, or wait for such."""
        coming = self._coming()
        return [row for row in self.rows.values() if row.name in coming and not row.usable and not row.ended]

    @property
    def ready(self) -> list[Row]:
        """The components that can be used."""
        return [row for row in self.rows.values() if row.usable]

    @property
    def finished(self) -> list[Row]:
        """The components that have done their work, or were stopped."""
        return [row for row in self.rows.values() if row.ended and not row.failed]

    @property
    def failed(self) -> list[Row]:
        """The components that have failed by themselves or because of what they need."""
        return [row for row in self.rows.values() if row.failed]

    @property
    def blocked(self) -> list[Row]:
        """The components that were never started, because something that they need is not going to be there."""
        coming = self._coming()
        return [row for row in self.rows.values() if row.name not in coming and not row.failed]

    def waits_for(self, row: Row) -> list[str]:
        """What *row* needs and does not have yet."""
        return [name for name in row.needs if not self._is_usable(name)]

    def _update(self, row: Row, record: Record) -> None:
        state = record["state"]
        current = row.began is not None or record["registered_at"] >= self._since
        if not current and state not in _ACTIVE:
            return  # the end of an earlier run
        row.began = record["registered_at"]
        row.state, row.reason = state, record["reason"]
        row.took = max(record["changed_at"] - record["registered_at"], 0.0)

    def _coming(self) -> set[str]:
        """The components that are there or can still come: on their way, or waiting only for such as can come.

        What is left over waits for something that failed, is missing, or waits for it in turn.
        """
        coming = {row.name for row in self.rows.values() if row.state in _ACTIVE or row.state == "stopped"}
        pending = [row for row in self.rows.values() if row.state == "unknown"]
        while found := [row for row in pending if all(name in coming or self._is_active(name) for name in row.needs)]:
            coming.update(row.name for row in found)
            pending = [row for row in pending if row.name not in coming]
        return coming

    def _is_usable(self, name: str) -> bool:
        return self._state_of(name) in _USABLE

    def _is_active(self, name: str) -> bool:
        return self._state_of(name) in _ACTIVE

    def _state_of(self, name: str) -> str | None:
        record = self._board.find(name)
        return None if record is None else str(record["state"])
