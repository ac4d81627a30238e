"""Did watchers see what they were promised?

A watcher notes what it is given in a `Watch`: snapshots, changes, and the positions from which it resumed. `check`
then asks of all of them together, and of the writes that were acknowledged:

* Ordered and unique: revisions go up, within a connection and over the ones that it resumed.
* Complete: between the position at which a watcher began and the last that it saw, it saw every change that anybody
  saw or was told of; and each change of an instance begins in the state in which the one before ended.
* Agreed: one revision is one change, whoever sees it; and an acknowledged write is seen as it was acknowledged.
* A snapshot, the first or after a reset, is what the changes up to it make of the one before, if they are all known.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tekton.core.lifecycle import Change

Key = tuple[str, str]
"""Component id and instance."""


class Seen(NamedTuple):
    """One change as a watcher saw it. States are their values; `state` None: the instance is gone."""

    revision: int
    key: Key
    previous: str | None
    state: str | None

    @classmethod
    def of(cls, change: Change) -> "Seen":
        """What a watcher sees of *change*."""
        return cls.of_json(
            {
                "revision": change.revision,
                "kind": change.kind,
                "component_id": change.component_id,
                "instance_uuid": change.instance_uuid,
                "previous": change.previous.value if change.previous else None,
                "state": change.state.value,
            }
        )

    @classmethod
    def of_json(cls, change: Mapping[str, object]) -> "Seen":
        """The same of a change as it comes over the event interface."""
        key = (str(change["component_id"]), str(change["instance_uuid"]))
        gone, new = change["kind"] == "deregistered", change["kind"] == "registered"
        previous = None if new or change["previous"] is None else str(change["previous"])
        return cls(int(str(change["revision"])), key, previous, None if gone else str(change["state"]))


class Acknowledged(NamedTuple):
    """A write that was acknowledged with a revision. `state` None: the instance was removed."""

    revision: int
    key: Key
    state: str | None


class _Stretch:
    """What a watcher saw from a position on without a gap: a snapshot, perhaps, and changes."""

    def __init__(self, start: int, snapshot: Mapping[Key, str] | None) -> None:
        self.start = start
        self.snapshot = snapshot
        self.changes: list[Seen] = []

    @property
    def position(self) -> int:
        return self.changes[-1].revision if self.changes else self.start


class Watch:
    """What one watcher saw. Call the methods in the order in which things came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stretches: list[_Stretch] = []
        self.mistakes: list[str] = []

    @property
    def position(self) -> int | None:
        """The last revision seen: where to resume. None before the first snapshot."""
        return self.stretches[-1].position if self.stretches else None

    def begin(self, position: int) -> None:
        """The watcher was accepted at *position* without a snapshot."""
        self.stretches.append(_Stretch(position, None))

    def snapshot(self, revision: int, states: Mapping[Key, str]) -> None:
        """Everything there was at *revision*: the first word on a connection, or the answer to a lost position."""
        self.stretches.append(_Stretch(revision, dict(states)))

    def resume(self, position: int) -> None:
        """A new connection was accepted at *position*."""
        if position != self.position:
            self.mistakes.append(f"{self.name}: resumed at {position}, not at {self.position}")

    def change(self, seen: Seen) -> None:
        """One change came."""
        self.stretches[-1].changes.append(seen)

    def __len__(self) -> int:
        return sum(len(stretch.changes) for stretch in self.stretches)


def check(watches: Iterable[Watch], acknowledged: Iterable[Acknowledged] = ()) -> list[str]:
    """What is wrong with *watches*, in sentences; empty when nothing is. O(changes seen, by all together)."""
    watches = list(watches)
    wrong = [mistake for watch in watches for mistake in watch.mistakes]
    known = _agreed(watches, wrong)
    told = {one.revision: one for one in acknowledged}
    for revision, one in told.items():
        seen = known.get(revision)
        if seen is not None and (seen.key, seen.state) != (one.key, one.state):
            wrong.append(f"revision {revision} was acknowledged as {one}, and seen as {seen}")
    everything = sorted(known.keys() | told.keys())
    for watch in watches:
        for stretch in watch.stretches:
            wrong += _check_order(watch.name, stretch)
            wrong += _check_complete(watch.name, stretch, everything)
            wrong += _check_chain(watch.name, stretch)
        wrong += _check_snapshots(watch)
    return wrong


def _agreed(watches: Iterable[Watch], wrong: list[str]) -> dict[int, Seen]:
    known: dict[int, Seen] = {}
    for watch in watches:
        for stretch in watch.stretches:
            for seen in stretch.changes:
                first = known.setdefault(seen.revision, seen)
                if first != seen:
                    wrong.append(f"{watch.name}: saw {seen}, and others saw {first}")
    return known


def _check_order(name: str, stretch: _Stretch) -> list[str]:
    wrong = []
    before = stretch.start
    for seen in stretch.changes:
        if seen.revision <= before:
            wrong.append(f"{name}: revision {seen.revision} came after {before}")
        before = seen.revision
    return wrong


def _check_complete(name: str, stretch: _Stretch, everything: list[int]) -> list[str]:
    seen = {one.revision for one in stretch.changes}
    last = max(seen, default=stretch.start)
    due = everything[bisect_right(everything, stretch.start) : bisect_right(everything, last)]
    return [
        f"{name}: revision {revision} is missing between {stretch.start} and {last}"
        for revision in due
        if revision not in seen
    ]


def _check_chain(name: str, stretch: _Stretch) -> list[str]:
    wrong = []
    states: dict[Key, str | None] = dict(stretch.snapshot or {})
    for seen in stretch.changes:
        known = stretch.snapshot is not None or seen.key in states
        if known and states.get(seen.key) != seen.previous and not _replaces(seen, states):
            wrong.append(f"{name}: {seen} does not follow from {states.get(seen.key)}")
        states[seen.key] = seen.state
    return wrong


def _replaces(seen: Seen, states: Mapping[Key, str | None]) -> bool:
    """True for an instance that registers again after its end: it begins anew whatever it was."""
    return seen.previous is None and states.get(seen.key) in {"failed", "stopped"}


def _check_snapshots(watch: Watch) -> list[str]:
    wrong = []
    for before, after in zip(watch.stretches, watch.stretches[1:], strict=False):
        if before.snapshot is None or after.snapshot is None or after.start != before.position:
            continue
        states: dict[Key, str | None] = dict(before.snapshot)
        states.update((seen.key, seen.state) for seen in before.changes)
        expected = {key: state for key, state in states.items() if state is not None}
        if expected != after.snapshot:
            differing = dict(expected.items() ^ dict(after.snapshot).items())
            wrong.append(f"{watch.name}: the snapshot at {after.start} differs in {differing}")
    return wrong
