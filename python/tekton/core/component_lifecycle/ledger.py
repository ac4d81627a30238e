"""The ledger: one per data directory, shared by the registries on it.

It owns the head (the native table, which decides what is legal, and the newest record of each instance), the
committed view (what may be read) and the feed. A command changes the head at once and the view when it is durable.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tekton import _native
from tekton.clock import Clock
from tekton.core.component_lifecycle.commit import REVISION_GAP, CommitQueue, Key, Step
from tekton.core.component_lifecycle.store import Loaded, RegistryStore
from tekton.core.component_lifecycle.view import CommittedView
from tekton.core.events import ChangeFeed
from tekton.core.lifecycle import (
    ENDED,
    PATH_TO_READY,
    STATES,
    Change,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
    check_registration,
)
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    IllegalTransitionError,
    StaleInstanceError,
    StorageCorruptError,
)

Predicate = Callable[[ComponentRecord | None], bool]

_replace = msgspec.structs.replace


class Ledger:
    """Head, committed view and change feed over one store. Used from one event loop at a time."""

    def __init__(self, store: RegistryStore, clock: Clock) -> None:
        """Open *store* and load it. Blocks; raises the storage errors of `RegistryStore.open`."""
        loaded = store.open()
        self._clock = clock
        self.incarnation = loaded.incarnation
        self.table = _native.ComponentTable()
        self.view = CommittedView()
        # Observations that were published but never saved may have used revisions above the last durable one.
        self.feed = ChangeFeed(loaded.revision + REVISION_GAP if loaded.revision else 0)
        self._head: dict[Key, ComponentRecord] = {}
        self._waiters: dict[str, list[tuple[Predicate, asyncio.Future[ComponentRecord | None]]]] = {}
        self.commits = CommitQueue(store, self.feed, self._apply, self._head.__contains__)
        self._load(loaded)

    async def register(self, registration: ComponentRegistration, supervised: bool) -> tuple[ComponentRecord, bool]:
        """Register an instance; see `ComponentRegistry.register`."""
        check_registration(registration)
        key = (registration.component_id, registration.instance_uuid)
        known = self._head.get(key)
        if known is not None and known.state not in ENDED:
            return await self._register_again(key, known, registration), False
        return await self._register_new(key, registration, supervised), True

    async def transition(self, key: Key, states: Sequence[ComponentState], reason: str | None) -> ComponentRecord:
        """Walk *key* through *states*; every step is recorded. All or nothing."""
        before = self._current(key)
        steps: list[Step] = []
        record = before
        for state in states:
            slot, _ = self._move(key, state)
            changed = _replace(record, state=state, reason=reason, changed_at=self._clock.time())
            steps.append(Step("state", record.state, changed))
            record = changed
        if not steps:
            await self.commits.settled(key)
            return record
        self._head[key] = record
        await self.commits.command(key, steps, lambda: self._undo_state(key, slot, record, before))
        return record

    async def make_ready(self, key: Key) -> ComponentRecord:
        """Walk *key* along the legal path to READY; see `ComponentRegistry.make_ready`."""
        current = self._current(key).state
        path = PATH_TO_READY.get(current)
        if path is None:
            legal = [state.value for state in STATES if current.mask & state.bit]
            raise IllegalTransitionError(key[0], current.value, ComponentState.READY.value, legal)
        return await self.transition(key, path, None)

    async def deregister(self, key: Key) -> ComponentRecord:
        """Remove an instance, whatever its state."""
        record = self._current(key)
        self._remove(key)
        gone = _replace(record, changed_at=self._clock.time())
        await self.commits.command(key, (Step("deregistered", record.state, gone),), lambda: self._restore(key, record))
        return gone

    def observe(self, key: Key, state: ComponentState, reason: str) -> bool:
        """Record what has happened to *key*; see `ComponentRegistry.observe`."""
        try:
            self._move(key, state)
        except (StaleInstanceError, ComponentNotFoundError, IllegalTransitionError):
            return False
        record = self._head[key]
        changed = _replace(record, state=state, reason=reason, changed_at=self._clock.time())
        self._head[key] = changed
        self.commits.observe(key, Step("state", record.state, changed))
        return True

    async def wait_until(self, component_id: str, predicate: Predicate) -> ComponentRecord | None:
        """Return the best instance as soon as *predicate* holds for it; checked at every change of the component."""
        best = self.view.find(component_id)
        if predicate(best):
            return best
        future: asyncio.Future[ComponentRecord | None] = asyncio.get_running_loop().create_future()
        waiter = (predicate, future)
        self._waiters.setdefault(component_id, []).append(waiter)
        try:
            return await future
        finally:
            self._stop_waiting(component_id, waiter)

    def head(self, key: Key) -> ComponentRecord | None:
        """The newest record of an instance, published or not."""
        return self._head.get(key)

    def _load(self, loaded: Loaded) -> None:
        decoder = msgspec.json.Decoder(ComponentRecord)
        for text in loaded.records:
            try:
                record = decoder.decode(text)
            except msgspec.DecodeError as error:
                raise StorageCorruptError("tekton.db", f"unreadable component record: {error}") from error
            self._restore((record.component_id, record.instance_uuid), record)
            self.view.put(record)

    def _current(self, key: Key) -> ComponentRecord:
        record = self._head.get(key)
        if record is None:
            raise self._unknown(key)
        return record

    def _unknown(self, key: Key) -> ComponentNotFoundError | StaleInstanceError:
        component_id, instance_uuid = key
        if self.table.slots(component_id):
            return StaleInstanceError(component_id, instance_uuid)
        return ComponentNotFoundError(component_id, self.view.nearest(component_id))

    def _move(self, key: Key, state: ComponentState) -> tuple[int, int]:
        try:
            return self.table.transition(*key, state.index)
        except StaleInstanceError:
            raise self._unknown(key) from None

    async def _register_again(
        self, key: Key, known: ComponentRecord, registration: ComponentRegistration
    ) -> ComponentRecord:
        updated = _replace(known, **_described(registration))
        if updated == known:
            await self.commits.settled(key)
            return known
        updated = _replace(updated, changed_at=self._clock.time())
        self._head[key] = updated
        await self.commits.command(
            key, (Step("updated", known.state, updated),), lambda: self._undo_update(key, updated, known)
        )
        return updated

    async def _register_new(self, key: Key, registration: ComponentRegistration, supervised: bool) -> ComponentRecord:
        instances = [self._head[(key[0], self.table.identity(slot)[1])] for slot in self.table.slots(key[0])]
        ended = [record for record in instances if record.state in ENDED]
        live = [record for record in instances if record.state not in ENDED]
        allowed = min([registration.max_instances, *(record.max_instances for record in live)])
        for record in ended:
            self._remove((record.component_id, record.instance_uuid))
        try:
            self.table.add(*key, ComponentState.REGISTERING.index, allowed)
        except BaseException:
            self._restore_all(ended)
            raise
        now = self._clock.time()
        record = ComponentRecord(
            component_id=registration.component_id,
            instance_uuid=registration.instance_uuid,
            supervised=supervised,
            state=ComponentState.REGISTERING,
            reason=None,
            generation=max((known.generation for known in instances), default=0) + 1,
            revision=0,
            registered_at=now,
            changed_at=now,
            **_described(registration),
        )
        self._head[key] = record
        # The new instance first: nobody may see a moment in which the component does not exist.
        steps = [Step("registered", ComponentState.UNKNOWN, record)]
        steps += [Step("deregistered", old.state, _replace(old, changed_at=now)) for old in ended if _key(old) != key]
        await self.commits.command(key, steps, lambda: self._undo_register(key, ended))
        return record

    def _apply(self, change: Change) -> None:
        if change.kind == "deregistered":
            self.view.drop(change.record)
        else:
            self.view.put(change.record)
        waiting = self._waiters.get(change.component_id)
        if waiting:
            best = self.view.find(change.component_id)
            for predicate, future in waiting:
                if not future.done() and predicate(best):
                    future.set_result(best)

    def _stop_waiting(
        self, component_id: str, waiter: tuple[Predicate, "asyncio.Future[ComponentRecord | None]"]
    ) -> None:
        waiting = self._waiters[component_id]
        waiting.remove(waiter)
        if not waiting:
            del self._waiters[component_id]

    def _undo_state(self, key: Key, slot: int, refused: ComponentRecord, before: ComponentRecord) -> None:
        # An observation that came later is a fact and stays.
        if self._head.get(key) is refused:
            self._head[key] = before
            self.table.set_state(slot, before.state.index)

    def _undo_update(self, key: Key, refused: ComponentRecord, before: ComponentRecord) -> None:
        if self._head.get(key) is refused:
            self._head[key] = before

    def _undo_register(self, key: Key, ended: list[ComponentRecord]) -> None:
        self._remove(key)
        self._restore_all(ended)

    def _restore_all(self, records: Sequence[ComponentRecord]) -> None:
        for record in records:
            self._restore(_key(record), record)

    def _restore(self, key: Key, record: ComponentRecord) -> None:
        slot = self.table.add(*key, record.state.index, _UNLIMITED)
        self.table.set_state(slot, record.state.index)
        self._head[key] = record

    def _remove(self, key: Key) -> None:
        slot = self.table.find(*key)
        if slot >= 0:
            self.table.remove(slot)
        self._head.pop(key, None)


_UNLIMITED = 2**31 - 1


def _key(record: ComponentRecord) -> Key:
    return record.component_id, record.instance_uuid


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
    }
