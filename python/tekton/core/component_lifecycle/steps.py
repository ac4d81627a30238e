"""Steps: changes to be. What is published (`Change`) and what is stored (`Mutation`) are made of them."""

from typing import NamedTuple

import msgspec

from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState

_encode = msgspec.json.Encoder().encode

Key = tuple[str, str]
Before = tuple[Key, ComponentRecord | None]
"""What the head held of an instance before a change; None: nothing."""


class Step(NamedTuple):
    """One change to be: `record` is the component after it, its revision still to be given."""

    kind: str
    previous: ComponentState | None
    record: ComponentRecord


class Fact(NamedTuple):
    """What somebody observed, and when (wall-clock seconds)."""

    key: Key
    state: ComponentState
    reason: str | None
    at: float


def change_of(step: Step, revision: int) -> Change:
    """The change that *step* is, once its place in the order is known."""
    record = step.record
    # Nobody but the head has seen this record yet; its revision is known only now.
    msgspec.structs.force_setattr(record, "revision", revision)
    return Change(
        revision=revision,
        at=record.changed_at,
        kind=step.kind,
        component_id=record.component_id,
        instance_uuid=record.instance_uuid,
        previous=step.previous,
        state=record.state,
        reason=record.reason,
        record=record,
    )


def mutation_of(change: Change) -> Mutation:
    """*change* as the store keeps it."""
    entry = HistoryEntry(
        revision=change.revision,
        at=change.at,
        kind=change.kind,
        component_id=change.component_id,
        instance_uuid=change.instance_uuid,
        previous=change.previous,
        state=change.state,
        reason=change.reason,
    )
    return Mutation(
        revision=change.revision,
        at=change.at,
        kind=change.kind,
        component_id=change.component_id,
        instance_uuid=change.instance_uuid,
        change=_encode(entry).decode(),
        record=None if change.kind == "deregistered" else _encode(change.record).decode(),
    )
