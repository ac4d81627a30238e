"""The ledger: one per data directory, shared by the registries on it.

It owns the head (the native table of states and leases, and the newest record of each instance), the committed view
(what may be read) and the feed. A command changes the head at once and the view when it is durable.

What the head refuses is refused only if it would be on what is committed as well, for the same reason; otherwise what
is under way about the component is waited for, and the command is tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import msgspec

from tekton import _native
from tekton.clock import Clock
from tekton.core.attribution import TEKTON, current
from tekton.core.audit.entry import AuditEntry, draft
from tekton.core.audit.log import AuditLog
from tekton.core.component_lifecycle import refusals
from tekton.core.component_lifecycle.commit import CommitQueue
from tekton.core.component_lifecycle.documents import DocumentChange, Documents
from tekton.core.component_lifecycle.steps import Before, Fact, Key, Step, moved
from tekton.core.component_lifecycle.store import Loaded, Papers, RegistryStore
from tekton.core.component_lifecycle.view import CommittedView
from tekton.core.events import ChangeFeed, can_be_told
from tekton.core.idempotency import IdempotencyKeys
from tekton.core.lifecycle import (
    ENDED,
    PATH_TO_READY,
    Change,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    can_transition,
    check_registration,
    share_strings,
)
from tekton.utils.tekton_errors import ComponentNotFoundError, StaleInstanceError, StorageCorruptError

_logger = logging.getLogger("tekton.registry")

Predicate = Callable[[ComponentRecord | None], bool]
UndoListener = Callable[[str, str], None]
Replaces = Callable[[ComponentRecord], bool]

INCARNATION_GAP = 1 << 18
"""Revisions left free for observations of one incarnation that were published but never saved."""

_replace = msgspec.structs.replace


class Ledger:
    """Head, committed view and change feed over one store. Used from one event loop at a time."""

    def __init__(self, store: RegistryStore, clock: Clock, executor: Executor | None = None) -> None:
        """Open *store* and load it. Blocks; raises the storage errors of `RegistryStore.open`.

        See `CommitQueue` for *executor*.
        """
        loaded = store.open()
        self._clock = clock
        self.incarnation = loaded.incarnation
        self.table = _native.ComponentTable()
        self.view = CommittedView()
        # Times the incarnation: several in a row may have published without saving anything.
        self.feed = ChangeFeed(loaded.revision + INCARNATION_GAP * loaded.incarnation if loaded.revision else 0)
        # By slot of the table: with 100,000 components a dictionary by key would take 15 MB more.
        self._head: list[ComponentRecord | None] = []
        self._waiters: dict[str, list[tuple[Predicate, asyncio.Future[ComponentRecord | None]]]] = {}
        self._undo_listeners: list[UndoListener] = []
        self.stale_commands = 0
        try:
            self._conclude(store, loaded.open_intents)
            self.commits = CommitQueue(store, self.feed, self, executor, clock)
            self.audit = AuditLog(self.commits, clock.time)
            self.documents = Documents(loaded.documents, self._change_documents)
            self.keys = IdempotencyKeys(loaded.keys, self.commits, clock.time)
            self._load(loaded)
        except BaseException:
            store.close()
            raise

    async def register(
        self, registration: ComponentRegistration, supervised: bool, replaces: Replaces | None = None
    ) -> tuple[ComponentRecord, bool]:
        """Register an instance; see `ComponentRegistry.register`."""
        registration = check_registration(registration)
        key = (registration.component_id, registration.instance_uuid)
        while (instances := self._instances(key[0])) and refusals.registration(registration, supervised, instances):
            await self._refuse(key[0], partial(refusals.registration, registration, supervised))
        known = self._newest(key)
        if known is not None and known.state not in ENDED:
            return await self._register_again(key, known, registration, supervised), False
        old = [one for one in instances if one.state in ENDED and (replaces is None or replaces(one))]
        return await self._register_new(key, registration, supervised, instances, old), True

    async def transition(self, key: Key, states: Sequence[ComponentState], reason: str | None) -> ComponentRecord:
        """Walk *key* through *states*, a legal path after its first step; every step is recorded. All or nothing."""
        reason = _storable(reason)
        first = states[0] if states else None
        while (record := self._newest(key)) is None or (first is not None and not can_transition(record.state, first)):
            await self._refuse(key[0], partial(refusals.step, key, first))
        if first is None:
            await self.commits.settled(key)
            return record
        self.commits.admit()
        now = self._clock.time()
        before = record
        steps: list[Step] = []
        for state in states:
            changed = moved(record, state, reason, now)
            steps.append(Step("state", record.state, changed))
            record = changed
        self._put(key, record)
        await self.commits.command(key, steps, ((key, before),))
        return record

    async def make_ready(self, key: Key) -> ComponentRecord:
        """Walk *key* along the legal path to READY; see `ComponentRegistry.make_ready`."""
        while (record := self._newest(key)) is None or (path := PATH_TO_READY.get(record.state)) is None:
            await self._refuse(key[0], partial(refusals.readiness, key))
        return await self.transition(key, path, None)

    async def deregister(self, key: Key) -> ComponentRecord:
        """Remove an instance, whatever its state."""
        while (record := self._newest(key)) is None:
            await self._refuse(key[0], partial(refusals.removal, key))
        self.commits.admit()
        self._remove(key)
        gone = _replace(record, changed_at=self._clock.time())
        await self.commits.command(key, (Step("deregistered", record.state, gone),), ((key, record),))
        return gone

    async def amend(self, known: Iterable[ComponentRecord], step_of: Callable[[ComponentRecord], Step]) -> None:
        """Take a step from each of *known* that is still the head's record; see `ComponentRegistry.amend`."""
        self.commits.admit()
        commands: list[asyncio.Future[int]] = []
        for record in known:
            key = _key(record)
            if self._newest(key) is not record:
                continue
            step = step_of(record)
            if step.kind == "deregistered":
                self._remove(key)
            else:
                self._put(key, step.record)
            commands.append(self.commits.command(key, (step,), ((key, record),)))
        await _all_done(commands)

    def observe(self, key: Key, state: ComponentState, reason: str) -> bool:
        """Record what has happened to *key*; see `ComponentRegistry.observe`."""
        return self.take(Fact(key, state, _storable(reason), self._clock.time()))

    def observe_serving(self, key: Key, serving: bool, reason: str) -> bool:
        """Record whether *key* takes traffic; see `ComponentRegistry.observe_serving`."""
        return self.take(Fact(key, serving, _storable(reason), self._clock.time()))

    def take(self, fact: Fact) -> bool:
        """Make *fact* part of the head, and published as soon as it can be. False when it is not legal, or no news."""
        record = self._newest(fact.key)
        step = None if record is None else fact.step(record)
        if step is None:
            self.commits.remember(fact)
            return False
        self._put(fact.key, step.record)
        self.commits.observe(fact, step, (fact.key, record))
        return True

    async def wait_until(self, component_id: str, predicate: Predicate) -> ComponentRecord | None:
        """Return the best instance as soon as *predicate* holds for it; checked at every change of the component."""
        best = self.view.find(component_id)
        if predicate(best):
            return best
        self.commits.carry_on()
        future: asyncio.Future[ComponentRecord | None] = asyncio.get_running_loop().create_future()
        waiter = (predicate, future)
        self._waiters.setdefault(component_id, []).append(waiter)
        try:
            return await future
        finally:
            self._stop_waiting(component_id, waiter)

    def add_undo_listener(self, listener: UndoListener) -> Callable[[], None]:
        """See `ComponentRegistry.add_undo_listener`."""
        self._undo_listeners.append(listener)
        return lambda: self._undo_listeners.remove(listener)

    def _change_documents(self, changes: Sequence[DocumentChange], action: str, detail: str) -> "asyncio.Future[int]":
        said = draft(self._clock.time(), current() or TEKTON, action, changes[0].id, detail=detail)
        return self.commits.documents(changes, said)

    # What the commit queue asks for.

    def show(self, change: Change) -> None:
        """Put *change* into the committed view, and tell those who wait for it."""
        if change.kind == "deregistered":
            self.view.drop(change.record)
        else:
            self.view.put(change.record)
        waiting = self._waiters.get(change.component_id)
        if waiting:
            best = self.view.find(change.component_id)
            for predicate, future in waiting:
                _tell(predicate, future, best)

    def show_document(self, change: DocumentChange) -> None:
        """Let a document that was changed be seen."""
        self.documents.show(change)

    def undo(self, before: Iterable[Before]) -> None:
        """Make the head what it was; *before* is newest first."""
        moved: dict[Key, None] = {}
        for key, record in before:
            if (record is None) is (self._newest(key) is not None):
                moved[key] = None
            if record is None:
                self._remove(key)
            else:
                self._put(key, record)
        for key in moved:
            self._tell_undone(key)

    def _tell_undone(self, key: Key) -> None:
        for listener in tuple(self._undo_listeners):
            try:
                listener(*key)
            except Exception:
                # The callers of what was undone still wait for their answers.
                _logger.exception("a listener failed when a change of %s was undone", key[0])

    def _conclude(self, store: RegistryStore, intents: Sequence[AuditEntry]) -> None:
        """Say of what was about to be done when the control plane before us ended that nobody knows what came of it."""
        now = self._clock.time()
        said = [
            draft(
                now,
                TEKTON,
                one.action,
                one.target,
                outcome="unknown",
                detail=f"{one.actor} intended it",
                intent=one.seq,
            )
            for one in intents
        ]
        if said:
            store.commit([], Papers(said))

    def _load(self, loaded: Loaded) -> None:
        decoder = msgspec.json.Decoder(ComponentRecord)
        # Each text makes room for the next record: together they would take as much again as the records.
        texts = loaded.records
        texts.reverse()
        while texts:
            try:
                record = decoder.decode(texts.pop())
            except msgspec.DecodeError as error:
                raise StorageCorruptError("tekton.db", f"unreadable component record: {error}") from error
            share_strings(record)
            self._put(_key(record), record)
            self.view.put(record)

    def _newest(self, key: Key) -> ComponentRecord | None:
        slot = self.table.find(*key)
        record = self._head[slot] if slot >= 0 else None
        # The table finds an instance id also when it is written in another way.
        return record if record is not None and record.instance_uuid == key[1] else None

    def _instances(self, component_id: str) -> list[ComponentRecord]:
        slots = self.table.slots(component_id)
        return [record for slot in slots if (record := self._head[slot]) is not None]

    async def _refuse(self, component_id: str, judge: refusals.Judge) -> None:
        """Raise why a command, which the head refuses, is refused; return when the head should be asked again."""
        refusal, committed = judge(self._instances(component_id)), judge(self.view.instances(component_id))
        if type(committed) is not type(refusal) and await self.commits.settled_about(component_id):
            return
        refusal = committed or refusal
        if isinstance(refusal, StaleInstanceError):
            self.stale_commands += 1
        elif isinstance(refusal, ComponentNotFoundError):
            refusal = ComponentNotFoundError(component_id, self.view.nearest(component_id))
        assert refusal is not None
        raise refusal

    async def _register_again(
        self, key: Key, known: ComponentRecord, registration: ComponentRegistration, supervised: bool
    ) -> ComponentRecord:
        updated = _replace(known, **_described(registration))
        if known.supervised and not supervised:
            # How many there may be, and for how long, is the business of who runs them.
            updated = _replace(updated, max_instances=known.max_instances, forget_after=known.forget_after)
        if updated == known:
            await self.commits.settled(key)
            return known
        self.commits.admit()
        updated = _replace(updated, changed_at=self._clock.time())
        self._put(key, updated)
        await self.commits.command(key, (Step("updated", known.state, updated),), ((key, known),))
        return updated

    async def _register_new(
        self,
        key: Key,
        registration: ComponentRegistration,
        supervised: bool,
        instances: Sequence[ComponentRecord],
        replaced: Iterable[ComponentRecord],
    ) -> ComponentRecord:
        """*instances* are those of the component, which leave room for another one; *replaced* of them go."""
        self.commits.admit()
        now = self._clock.time()
        generation = 1 + max(known.generation for known in instances) if instances else 1
        record = _new_record(registration, supervised, generation, now)
        # The new instance first: nobody may see a moment in which the component does not exist.
        steps = [Step("registered", ComponentState.UNKNOWN, record)]
        before: list[Before] = [(key, self._newest(key) if instances else None)]
        self._put(key, record)
        for old in replaced:
            if _key(old) != key:
                steps.append(Step("deregistered", old.state, _replace(old, changed_at=now)))
                before.append((_key(old), old))
                self._remove(_key(old))
        await self.commits.command(key, steps, before)
        return record

    def _stop_waiting(
        self, component_id: str, waiter: tuple[Predicate, "asyncio.Future[ComponentRecord | None]"]
    ) -> None:
        waiting = self._waiters[component_id]
        waiting.remove(waiter)
        if not waiting:
            del self._waiters[component_id]

    def _put(self, key: Key, record: ComponentRecord) -> None:
        slot = self.table.find(*key)
        if slot < 0:
            slot = self.table.add(*key, record.state.index, _UNLIMITED)
            if slot == len(self._head):
                self._head.append(None)
        else:
            self.table.set_state(slot, record.state.index)
        self._head[slot] = record

    def _remove(self, key: Key) -> None:
        slot = self.table.find(*key)
        self.table.remove(slot)
        self._head[slot] = None


_UNLIMITED = 2**31 - 1


def _key(record: ComponentRecord) -> Key:
    return record.component_id, record.instance_uuid


def _new_record(registration: ComponentRegistration, supervised: bool, generation: int, now: float) -> ComponentRecord:
    # Not by `_described`: to unpack a dictionary takes half as long again.
    return ComponentRecord(
        component_id=registration.component_id,
        instance_uuid=registration.instance_uuid,
        component_name=registration.component_name or registration.component_id,
        component_type=registration.component_type,
        version=registration.version,
        capabilities=registration.capabilities,
        dependencies=registration.dependencies,
        endpoint=registration.endpoint,
        metadata=registration.metadata,
        max_instances=registration.max_instances,
        supervised=supervised,
        state=ComponentState.REGISTERING,
        reason=None,
        generation=generation,
        revision=0,
        registered_at=now,
        changed_at=now,
        forget_after=registration.forget_after,
        tools=registration.tools,
        agents=registration.agents,
    )


def _described(registration: ComponentRegistration) -> dict[str, Any]:
    """The fields of a record that the component itself decides."""
    return {
        "component_name": registration.component_name or registration.component_id,
        "component_type": registration.component_type,
        "version": registration.version,
        "capabilities": registration.capabilities,
        "dependencies": registration.dependencies,
        "endpoint": registration.endpoint,
        "metadata": registration.metadata,
        "max_instances": registration.max_instances,
        "forget_after": registration.forget_after,
        "tools": registration.tools,
        "agents": registration.agents,
    }


def _storable(reason: str | None) -> str | None:
    """*reason* without what UTF-8 cannot carry, such as undecodable output of a process."""
    return reason if reason is None or reason.isascii() else reason.encode(errors="backslashreplace").decode()


async def _all_done(commands: Sequence["asyncio.Future[int]"]) -> None:
    """Wait until all of them are done; raise what the first refused one failed with."""
    try:
        if commands:
            await asyncio.wait(commands)
        for refusal in [error for command in commands if (error := command.exception()) is not None]:
            raise refusal
    finally:
        for command in commands:
            command.cancel()


def _tell(predicate: Predicate, future: "asyncio.Future[ComponentRecord | None]", best: ComponentRecord | None) -> None:
    if not can_be_told(future):
        return
    try:
        if predicate(best):
            future.set_result(best)
    except Exception as error:
        # It is the waiter's mistake, not that of whoever publishes.
        future.set_exception(error)
