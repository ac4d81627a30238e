"""Steps: changes to be. What is published (`Change`) and what is stored (`Mutation`) are made of them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import Draft, draft
from tekton.core.component_lifecycle.store import HistoryEntry, Mutation
from tekton.core.lifecycle import Change, ComponentRecord, ComponentState, can_transition

_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace

Key = tuple[str, str]
Before = tuple[Key, ComponentRecord | None]
"""What the head held of an instance before a change; None: nothing."""


class Step(NamedTuple):
    """One change to be: `record` is the component after it, its revision still to be given.

    `reason` is why it happened, where that is not the reason of the state.
    """

    kind: str
    previous: ComponentState | None
    record: ComponentRecord
    reason: str | None = None


class Fact(NamedTuple):
    """What somebody observed, and when (wall-clock seconds): a state, or (a bool) whether the instance serves."""

    key: Key
    what: ComponentState | bool
    reason: str | None
    at: float

    def step(self, record: ComponentRecord) -> Step | None:
        """What it makes of *record*; None when that cannot be, or nothing would change."""
        if isinstance(self.what, bool):
            if not record.usable or record.serving is self.what:
                return None
            changed = _replace(record, serving=self.what, changed_at=self.at)
            return Step("serving", record.state, changed, self.reason)
        if not can_transition(record.state, self.what):
            return None
        return Step("state", record.state, moved(record, self.what, self.reason, self.at))


def moved(record: ComponentRecord, state: ComponentState, reason: str | None, at: float) -> ComponentRecord:
    """*record* in another *state*. Who is started anew takes traffic, whatever was said of it before."""
    if state is ComponentState.INITIALIZING and not record.serving:
        return _replace(record, state=state, reason=reason, changed_at=at, serving=True)
    return _replace(record, state=state, reason=reason, changed_at=at)


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
        reason=record.reason if step.reason is None else step.reason,
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


_ACTIONS = {"registered": "component.register", "deregistered": "component.deregister", "updated": "component.update"}


def said_of(by: Attribution, key: Key, steps: Sequence[Step]) -> Draft:
    """What the audit log says of a command of *by* that takes *steps*."""
    kind, _, record, _ = steps[0]
    if (action := _ACTIONS.get(kind)) is not None:
        return draft(record.changed_at, by, action, key[0], detail=key[1])
    last = steps[-1].record
    detail = f"{last.state.value} {key[1]}"
    if last.reason:
        detail = f"{detail}: {last.reason}"
    return draft(last.changed_at, by, "component.state", key[0], detail=detail)
