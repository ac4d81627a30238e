"""Following the registry: the stream of changes that survives a restart of the control plane, and what it adds up to.

    for news in watch(client):
        board.apply(news)

A record is the JSON object of a component instance (`ComponentRecord`), a change that of a `Change`.
"""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from tekton.cli.client import Client
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.utils.tekton_errors import ProblemError, TektonError, TransportError

_T = TypeVar("_T")

Record = dict[str, Any]

PATIENCE = 5.0
"""Seconds within which a control plane that went away is expected back: its guard restarts it."""

_CONNECTED_AFTER = 1.0
_RETRY_EVERY = 0.1
_USABLE = ("ready", "degraded")


class News(NamedTuple):
    """One piece of the stream: `snapshot` (all records), `change`, `reset` (changes were missed) or `bye`."""

    kind: str
    revision: int | None
    records: list[Record]
    change: Record | None


def pause(seconds: float) -> None:
    """Wait, in a way that a signal handler can end by raising."""
    threading.Event().wait(seconds)


def news(client: Client, *, since: int | None = None, deadline: float | None = None) -> Iterator[News]:
    """What one connection to the change feed tells, until it ends. Without *since*, a snapshot comes first."""
    last_event_id = None if since is None else str(since)
    for event in client.stream("/events/components", last_event_id=last_event_id, deadline=deadline):
        revision = int(event.id) if event.id.isdigit() else None
        if event.event == "change":
            yield News("change", revision, [], json.loads(event.data))
        elif event.event == "snapshot":
            yield News("snapshot", revision, json.loads(event.data), None)
        elif event.event in ("reset", "bye"):
            yield News(event.event, revision, [], None)


def watch(client: Client, *, since: int | None = None, deadline: float | None = None) -> Iterator[News]:
    """What the change feed tells, for ever: when the connection ends, it is made again from where it was.

    Raises TransportError when the control plane stays away for PATIENCE seconds, NotInTimeError at *deadline*.
    """
    position = since

    def resumed() -> Iterator[News]:
        nonlocal position
        for piece in news(client, since=position, deadline=deadline):
            position = piece.revision if piece.revision is not None else position
            yield piece

    return reconnecting(resumed)


def reconnecting(stream: Callable[[], Iterator[_T]], clock: Clock = SYSTEM_CLOCK) -> Iterator[_T]:
    """The items of *stream*, called again whenever its connection ends. It has to succeed the first time."""
    give_up_at = clock.monotonic()
    told = False
    while True:
        began = clock.monotonic()
        try:
            for item in stream():
                told = True
                yield item
        except TektonError as error:
            # What lasted a while had been connected, even if there was nothing to tell.
            told = told or clock.monotonic() - began > _CONNECTED_AFTER
            if not may_pass(error) or (not told and clock.monotonic() >= give_up_at):
                raise
        if told:
            give_up_at, told = clock.monotonic() + PATIENCE, False
        pause(_RETRY_EVERY)


def may_pass(error: TektonError) -> bool:
    """True for what a control plane that is just restarted answers: nothing, or that it is not available."""
    if isinstance(error, ProblemError):
        return error.status == 503
    return isinstance(error, TransportError) and error.code == "unreachable"


def polled(client: Client, path: str, every: float) -> Iterator[Any]:
    """The answer to a GET request, again and again, *every* so many seconds; the first one at once.

    Raises TransportError when the control plane stays away for PATIENCE seconds.
    """

    def answers() -> Iterator[Any]:
        while True:
            yield client.get(path)
            pause(every)

    return reconnecting(answers)


class Board:
    """The newest record of every instance, as far as the stream has told."""

    def __init__(self) -> None:
        self._instances: dict[str, dict[str, Record]] = {}

    def apply(self, piece: News) -> None:
        """Take in one piece of news."""
        if piece.kind == "snapshot":
            self._instances = {}
            for record in piece.records:
                self._keep(record)
        elif piece.change is not None:
            self._apply_change(piece.change)

    def find(self, component_id: str) -> Record | None:
        """The record that stands for a component: a usable instance if there is one, else the newest."""
        instances = self._instances.get(component_id)
        # Of a copy: a tree that is redrawn asks in a thread of its own.
        return max([*instances.values()], key=_rank) if instances else None

    def records(self) -> Iterator[Record]:
        """The newest record of every instance."""
        for instances in self._instances.values():
            yield from instances.values()

    def _apply_change(self, change: Record) -> None:
        if change["kind"] != "deregistered":
            self._keep(change["record"])
            return
        instances = self._instances.get(change["component_id"], {})
        instances.pop(change["instance_uuid"], None)
        if not instances:
            self._instances.pop(change["component_id"], None)

    def _keep(self, record: Record) -> None:
        self._instances.setdefault(record["component_id"], {})[record["instance_uuid"]] = record


def _rank(record: Record) -> tuple[bool, bool, int]:
    return record["state"] in _USABLE, record["state"] == "ready", record["generation"]
