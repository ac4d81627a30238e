"""What `tekton up` shows while it runs, on stderr: a live tree on a terminal, else one line per transition."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import click

from tekton.cli.events import line
from tekton.cli.notes import NoteOf, Notes
from tekton.cli.picture import MovingPicture
from tekton.cli.progress import Progress, Row
from tekton.cli.render import GUTTER, aligned, clean, elapsed, say
from tekton.cli.terminal import is_live
from tekton.cli.unit_names import UnitNames
from tekton.cli.watch import News, Record
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.utils.tekton_errors import TektonError

if TYPE_CHECKING:
    from tekton.cli.client import Client

NameOf = Callable[[Record], str | None]

_COLORS = {"ready": "green", "degraded": "yellow", "failed": "red", "stopping": "yellow", "stopped": "bright_black"}
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURN_EVERY = 0.08


class Show(Protocol):
    """How progress is told. `finish` is called once, when the start has settled; news may still come after it."""

    def update(self, piece: News) -> None:
        """Something has changed; the progress knows it already."""
        ...

    def announce(self, text: str) -> None:
        """Say *text*, from another thread: nothing that is buffered or locked may be touched."""
        ...

    def finish(self) -> None:
        """Everything is ready, or has failed, or has ended."""
        ...


class Lines:
    """One line per transition; and on a terminal what comes after the tree."""

    def __init__(self, progress: Progress, name_of: NameOf | None = None) -> None:
        """*name_of* tells the unit that a change is about."""
        self._progress = progress
        self._name_of = name_of or (lambda _change: None)

    def update(self, piece: News) -> None:
        if piece.change is not None:
            row = self._progress.rows.get(piece.change["component_id"])
            details = _details(row) if row is not None and row.usable else ""
            say(line(piece.change, self._name_of(piece.change)) + details)

    def announce(self, text: str) -> None:
        over_echo = "\r" if sys.stderr.isatty() else ""  # the terminal has just shown ^C there
        try:
            os.write(sys.stderr.fileno(), f"{over_echo}{text}\n".encode())
        except OSError:
            pass  # the terminal has gone

    def finish(self) -> None:
        """There is nothing to take away."""


class Quiet:
    """Nothing but errors."""

    def update(self, piece: News) -> None:
        """Not told."""

    def announce(self, text: str) -> None:
        """Not told."""

    def finish(self) -> None:
        """Not told."""


class Tree:
    """One row per component, redrawn in place until the start has settled; lines after that.

    *note_of* tells what else is known of a component that is on its way; *ended* is called when that is needed no more.
    """

    def __init__(
        self,
        progress: Progress,
        clock: Clock = SYSTEM_CLOCK,
        *,
        note_of: NoteOf = lambda _name, _state: None,
        ended: Callable[[], None] = lambda: None,
        name_of: NameOf | None = None,
    ) -> None:
        self._progress = progress
        self._clock = clock
        self._note_of = note_of
        self._ended = ended
        self._name_of = name_of
        self._lines: Lines | None = None
        self._settled = False
        self._caption = ""
        self._picture = MovingPicture(self._rows, color=click.get_current_context().color is not False)

    def update(self, piece: News) -> None:
        if self._lines is not None:
            self._lines.update(piece)

    def announce(self, text: str) -> None:
        if self._lines is not None:
            self._lines.announce(text)
        self._caption = text

    def finish(self) -> None:
        if self._lines is None:
            self._settled = True
            self._ended()
            self._picture.stop()
            self._lines = Lines(self._progress, self._name_of)

    def _rows(self) -> list[str]:
        turning = _TURNING[int(self._clock.monotonic() / _TURN_EVERY) % len(_TURNING)]
        rows = aligned([self._row(row, turning) for row in self._progress.rows.values()])
        return [*rows, self._caption] if self._caption else rows

    def _row(self, row: Row, turning: str) -> list[str]:
        color = _COLORS.get(row.state, "cyan")
        turns = not (self._settled or row.usable or row.ended)
        mark = click.style(turning, fg="cyan") if turns else click.style(_mark(row), fg=color)
        port = f":{row.port}" if row.port else ""
        return ["", mark, row.name, click.style(self._word(row), fg=color), self._took(row), port, self._note(row)]

    def _took(self, row: Row) -> str:
        if row.began is None or row.took is None:
            return ""
        return elapsed(row.took if row.usable or row.ended else max(self._clock.time() - row.began, 0.0))

    def _word(self, row: Row) -> str:
        if row.state != "unknown":
            return row.state
        return "" if self._progress.waits_for(row) else "waiting"

    def _note(self, row: Row) -> str:
        if row.reason and not row.usable:
            return clean(row.reason)
        waiting = self._progress.waits_for(row) if row.state == "unknown" else []
        if waiting:
            return f"waiting for {', '.join(waiting)}"
        return "" if row.usable or row.ended else clean(self._note_of(row.name, row.state) or "")


def choose(
    progress: Progress, client: "Client", *, quiet: bool, plain: bool = False, units: UnitNames | None = None
) -> Show:
    """The way to show *progress* that fits stderr; *plain*: lines even on a terminal.

    *units* are the names of replicas, where some are known already.
    """
    if quiet:
        return Quiet()
    name_of = (units or UnitNames(client)).of
    if plain or not is_live(sys.stderr):
        return Lines(progress, name_of)
    notes = Notes(client)
    return Tree(progress, note_of=notes.of, ended=notes.stop, name_of=name_of)


def critical_path(client: "Client") -> str:
    """`critical path hermes → engram`, of a start that had one; else nothing."""
    try:
        path = client.get("/api/startup")["critical_path"]
    except TektonError:
        return ""
    return f"critical path {' → '.join(path)}" if len(path) > 1 else ""


def summary(progress: Progress, took: float) -> str:
    """`5 ready in 1.8 s`, and what is not."""
    others = (("finished", progress.finished), ("failed", progress.failed), ("not started", progress.blocked))
    parts = [f"{len(progress.ready)} ready", *(f"{len(rows)} {what}" for what, rows in others if rows)]
    return f"{', '.join(parts) if progress.rows else 'no components are configured; ready'} in {elapsed(took)}"


def _details(row: Row) -> str:
    took = f"{GUTTER}{elapsed(row.took)}" if row.took is not None else ""
    return took + (f"{GUTTER}:{row.port}" if row.port else "")


def _mark(row: Row) -> str:
    return "✖" if row.failed else "●" if row.usable else "○"
