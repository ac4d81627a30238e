"""The registry against a naive model: any commands and observations, whatever the store does and whoever goes away.

The worker of the registry is replaced by one that writes when the test says so, so every interleaving can be made
and none is left to chance. Runs are drawn from seeds; one that fails is reduced to the steps that it takes to fail.
`TEKTON_MODEL_STEPS` sets how many steps are played (20,000; more at night), `TEKTON_MODEL_SEED` the first seed.
"""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import pytest

from tekton.core.component_lifecycle import ComponentRegistry, commit, pending
from tekton.core.component_lifecycle.sqlite_store import SqliteStore
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, RegistryStore
from tekton.core.events import Subscription
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.lifecycle import (
    ENDED,
    PATH_TO_READY,
    STATES,
    USABLE,
    VALID_TRANSITIONS,
    Change,
    ComponentRecord,
    ComponentRegistration,
    ComponentState,
)
from tekton.testing import ManualClock
from tekton.utils.tekton_errors import (
    ComponentExistsError,
    ComponentNotFoundError,
    IllegalTransitionError,
    StaleInstanceError,
    StorageError,
    StorageFullError,
    StorageUnknownError,
)

STEPS = int(os.environ.get("TEKTON_MODEL_STEPS", "20000"))
SEED = int(os.environ.get("TEKTON_MODEL_SEED", "0"))
SCRIPT = 120
"""Steps of one run."""
MAX_BATCH = 3
GAP = 2

IDS = ("a", "b")
INSTANCES = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
KEYS = [(component_id, instance) for component_id in IDS for instance in INSTANCES]
REGISTERING, FAILED, READY = ComponentState.REGISTERING, ComponentState.FAILED, ComponentState.READY

Key = tuple[str, str]
_T = TypeVar("_T")


# The model: what should happen, as plainly as it can be said.


@dataclass(frozen=True)
class Known:
    """What matters of a record."""

    state: ComponentState
    generation: int
    version: str
    capabilities: tuple[str, ...]
    max_instances: int
    reason: str | None
    serving: bool = True

    @staticmethod
    def of(record: ComponentRecord) -> "Known":
        return Known(*(getattr(record, field.name) for field in fields(Known)))

    @property
    def merit(self) -> tuple[int, bool, int, int]:
        order = [ENDED, set(STATES) - ENDED - USABLE, {ComponentState.DEGRADED}, {READY}]
        rank = next(rank for rank, states in enumerate(order) if self.state in states)
        return min(rank, 2), rank >= 2 and self.serving, rank, self.generation


Event = tuple[str, Key, ComponentState, Known]
"""Kind, instance, previous state, the instance after it (before it, for `deregistered`)."""

Records = dict[Key, Known]


@dataclass
class Client:
    """Somebody who waits for an answer: `expected` is what it must be by now (None: nothing)."""

    task: "asyncio.Task[Any]"
    expected: str | type[Exception] | None = None


Attempt = Callable[["Records"], list[Event]]
"""The events of a command on the records that it finds; raises why it is refused."""


class Doubt(NamedTuple):
    """A command that the head refuses, but not what is committed: it is tried again."""

    key: Key
    attempt: Attempt
    client: Client


@dataclass
class Operation:
    """What waits for the store. `fact`: an observation, and the state (or whether it serves) that it observed."""

    key: Key | None
    events: list[Event]
    fact: ComponentState | bool | None = None
    clients: list[Client] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)


def after(records: Records, events: Sequence[Event]) -> Records:
    result = dict(records)
    for kind, key, _, known in events:
        if kind == "deregistered":
            result.pop(key, None)
        else:
            result[key] = known
    return result


def best(records: Records, component_id: str) -> Known | None:
    return max((k for key, k in records.items() if key[0] == component_id), key=lambda k: k.merit, default=None)


def refused(attempt: Attempt, records: Records) -> type[Exception] | None:
    try:
        attempt(records)
    except Exception as refusal:
        return type(refusal)
    return None


def walk(key: Key, known: Known, states: Sequence[ComponentState], reason: str | None) -> list[Event]:
    events: list[Event] = []
    for state in states:
        if state not in VALID_TRANSITIONS[known.state]:
            raise IllegalTransitionError(key[0], known.state.value, state.value, [])
        serving = known.serving or state is ComponentState.INITIALIZING
        events.append(("state", key, known.state, replace(known, state=state, reason=reason, serving=serving)))
        known = events[-1][3]
    return events


def observed(key: Key, known: Known | None, fact: ComponentState | bool) -> list[Event]:
    """What an observation changes; nothing when it is not legal."""
    if known is None:
        return []
    if isinstance(fact, bool):
        news = known.state in USABLE and known.serving is not fact
        return [("serving", key, known.state, replace(known, serving=fact))] if news else []
    return walk(key, known, [fact], "seen") if fact in VALID_TRANSITIONS[known.state] else []


def registering(records: Records, key: Key, version: str, capabilities: tuple[str, ...], most: int) -> list[Event]:
    capabilities = tuple(dict.fromkeys(capabilities))
    known = records.get(key)
    if known is not None and known.state not in ENDED:
        updated = replace(known, version=version, capabilities=capabilities, max_instances=most)
        return [] if updated == known else [("updated", key, known.state, updated)]
    others = {other: k for other, k in records.items() if other[0] == key[0]}
    live = [k for k in others.values() if k.state not in ENDED]
    if live and len(live) >= min(most, *(k.max_instances for k in live)):
        raise ComponentExistsError(key[0], "")
    generation = max((k.generation for k in others.values()), default=0) + 1
    events: list[Event] = [
        ("registered", key, ComponentState.UNKNOWN, Known(REGISTERING, generation, version, capabilities, most, None))
    ]
    ended = [(other, k) for other, k in others.items() if k.state in ENDED and other != key]
    return events + [("deregistered", other, k.state, k) for other, k in ended]


class Model:
    """Published records, and the operations that wait for the store in the order in which they were accepted."""

    def __init__(self, revision: int, records: Records) -> None:
        self.revision = revision
        self.records = records
        self.durable = dict(records)
        self.published: list[Event] = []
        self.unsaved: list[Event] = []
        self.flight: list[Operation] | None = None
        self.carried: list[Event] = []
        self.base = 0
        self.queue: list[Operation] = []
        self.waiting: list[tuple[str, ComponentState, Client]] = []
        self.stopped = False
        self.saved: Counter[Event] = Counter()
        self.closing = False
        self._reactions: list[Event] = []
        self._reacting = False
        self._eager = False

    @property
    def operations(self) -> list[Operation]:
        return [*(self.flight or []), *self.queue]

    @property
    def head(self) -> Records:
        return after(self.records, [event for operation in self.operations for event in operation.events])

    def underway(self, key: Key) -> bool:
        return any(operation.key == key for operation in self.operations)

    def command(self, key: Key, attempt: Attempt, client: Client) -> None:
        if refusal := refused(attempt, self.head):
            about = [one for one in self.operations if one.key is not None and one.key[0] == key[0]]
            if about and refused(attempt, self.records) is not refusal:
                about[-1].doubts.append(Doubt(key, attempt, client))
            else:
                client.expected = refusal
            return
        events = attempt(self.head)
        if events and self.stopped:
            client.expected = StorageError
        elif events:
            self.queue.append(Operation(key, events, clients=[client]))
        else:
            about = [operation for operation in self.operations if operation.key == key and operation.fact is None]
            if about:
                about[-1].clients.append(client)
            else:
                client.expected = "done"

    def observe(self, key: Key, fact: ComponentState | bool) -> bool:
        events = observed(key, self.head.get(key), fact)
        if not events:
            if self.underway(key):
                self._eager = True
                self.queue.append(Operation(key, [], fact))
            return False
        self._eager = True
        if self.underway(key) or (self.flight is not None and self.revision + 1 >= self.base):
            self.queue.append(Operation(key, events, fact))
        else:
            self.revision += 1
            self.unsaved += events
            self.publish(events)
        return True

    def publish(self, events: list[Event]) -> None:
        for event in events:
            self.records = after(self.records, [event])
            for component_id, state, client in self.waiting:
                found = best(self.records, component_id)
                if event[1][0] == component_id and found is not None and found.state is state:
                    client.expected = "done"
        self._reactions += events
        if self._reacting:
            return
        self._reacting = True
        while self._reactions:
            event = self._reactions.pop(0)
            self.published.append(event)
            for key in self.reaction(event[0], event[1], event[3].state):
                self.observe(key, FAILED)
        self._reacting = False

    def reaction(self, kind: str, key: Key, state: ComponentState) -> list[Key]:
        """Whom a listener observes as FAILED when it hears a change: `b` lives and dies with `a`."""
        dies = (kind, key[0], state) == ("state", "a", FAILED) and not self.closing
        return [("b", instance) for instance in INSTANCES] if dies else []

    def depart(self) -> None:
        """The store has taken what it can."""
        self.flight, self.queue = self.queue[:MAX_BATCH], self.queue[MAX_BATCH:]
        self.carried, self.unsaved = self.unsaved, []
        self.base = self.revision + GAP

    def save(self) -> list[Event]:
        """The store has made durable what it had; what that was, beyond observations."""
        events = [event for operation in self.flight or [] for event in operation.events]
        self.durable = after(self.durable, self.carried + events)
        self.saved.update(self.carried + events)
        return events

    def succeed(self) -> None:
        events = self.save()
        done, self.flight, self.carried = self.flight or [], None, []
        if events:
            self.revision = self.base + len(events) - 1
        self._eager = False
        self.publish(events)
        for client in (client for operation in done for client in operation.clients):
            client.expected = "done"
        if self._eager:
            # What somebody observed when he heard of it is under way before anybody tries again.
            self.depart()
        self.try_again(done)

    def refuse(self, error: type[Exception]) -> None:
        refused, self.flight, self.queue = self.operations, None, []
        self.unsaved, self.carried = self.carried + self.unsaved, []
        for operation in refused:
            for client in operation.clients:
                client.expected = "done" if operation.key is None else error
        for operation in refused:
            if operation.fact is not None and operation.key is not None:
                self.observe(operation.key, operation.fact)
        self.try_again(refused)

    def try_again(self, operations: list[Operation]) -> None:
        for doubt in [doubt for operation in operations for doubt in operation.doubts]:
            self.command(*doubt)

    def forget(self, client: Client) -> None:
        for operation in self.operations:
            if client in operation.clients:
                operation.clients.remove(client)
            operation.doubts = [doubt for doubt in operation.doubts if doubt.client is not client]
        self.waiting = [one for one in self.waiting if one[2] is not client]


# What stands in for the thread at the disk.


class HeldWorker(Executor):
    """Does its work one by one, when it is told to, and as it is told to."""

    def __init__(self) -> None:
        self._work: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> "Future[_T]":
        future: Future[_T] = Future()
        if getattr(fn, "__name__", "") == "tidy":
            # Nobody waits for it, and nothing that can be seen comes of it.
            future.set_result(fn(*args, **kwargs))
        else:
            self._work.append((future, lambda: fn(*args, **kwargs)))
        return future

    @property
    def busy(self) -> bool:
        return bool(self._work)

    def step(self, error: StorageError | None = None, *, done: bool = True) -> None:
        """Do the next piece of work (unless not *done*), and let it end with *error*."""
        future, work = self._work.pop(0)
        result = work() if done else None
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def shutdown(self, *_: object, **__: object) -> None:
        while self._work:
            self.step()


# The world that is compared with it.

FULL, BUSY = StorageFullError("no room"), StorageError("busy")


class Step(NamedTuple):
    """A method of the world to call; *together*: the next step comes in the same turn of the event loop."""

    method: str
    arguments: tuple[Any, ...]
    together: bool


class World:
    """Clients, a feed, a heartbeat monitor and a store; after each turn everything visible must equal the model."""

    def __init__(self, store: RegistryStore) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = store
        self.clients: list[Client] = []
        self.highest = 0
        self.total: Counter[Event] = Counter()
        self.open({})

    def play(self, script: Sequence[Step]) -> None:
        try:
            for step in script:
                getattr(self, step.method)(*step.arguments)
                if not step.together:
                    self.turn()
            self.turn()
            self.check_history()
        finally:
            self.registry._finalizer.detach()
            self.store.close()
            self.end_loop()

    def open(self, expected: Records) -> None:
        self.worker = HeldWorker()
        registry = self.registry = ComponentRegistry(store=self.store, executor=self.worker)
        self.model = Model(registry.revision, expected)
        self.heard: list[Event] = []
        self.revisions: list[int] = []
        self.watchers: list[tuple[Subscription, int]] = []
        registry.feed.add_listener(self.react)
        registry.feed.add_listener(self.hear)
        assert {(r.component_id, r.instance_uuid): Known.of(r) for r in registry.all_instances()} == expected
        assert registry.revision >= self.highest
        self.start_monitor()

    def start_monitor(self) -> None:
        self.monitor = HeartbeatMonitor(self.registry, clock=ManualClock())
        self.run(self.monitor.start_monitoring())

    def hear(self, change: Change) -> None:
        key = (change.component_id, change.instance_uuid)
        assert change.previous is not None
        assert change.record.revision == change.revision or change.kind == "deregistered"
        self.heard.append((change.kind, key, change.previous, Known.of(change.record)))
        self.revisions.append(change.revision)

    def react(self, change: Change) -> None:
        key = (change.component_id, change.instance_uuid)
        for component_id, instance in self.model.reaction(change.kind, key, change.state):
            self.registry.observe(component_id, instance, FAILED, "seen")

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 5))

    def turn(self) -> None:
        """Let the loop do all it can, and look at the outcome."""
        for _ in range(10):
            self.loop.run_until_complete(asyncio.sleep(0))
        if self.worker.busy and self.model.flight is None:
            self.model.depart()
        self.check()

    def client(self, coroutine: Coroutine[Any, Any, Any]) -> Client:
        client = Client(self.loop.create_task(coroutine))
        self.clients.append(client)
        return client

    def submit(self, key: Key, attempt: Attempt, command: Coroutine[Any, Any, Any]) -> None:
        self.model.command(key, attempt, self.client(command))

    # What clients do.

    def register(self, key: Key, version: str, capabilities: tuple[str, ...], most: int) -> None:
        registration = ComponentRegistration(
            component_id=key[0], instance_uuid=key[1], version=version, capabilities=capabilities, max_instances=most
        )
        command = self.registry.register(registration)
        self.submit(key, lambda records: registering(records, key, version, capabilities, most), command)

    def set_state(self, key: Key, state: ComponentState) -> None:
        command = self.registry.set_state(*key, state)
        self.submit(key, lambda records: walk(key, held(records, key), [state], None), command)

    def make_ready(self, key: Key) -> None:
        def attempt(records: Records) -> list[Event]:
            known = held(records, key)
            return walk(key, known, PATH_TO_READY.get(known.state, (READY,)), None)

        self.submit(key, attempt, self.registry.make_ready(*key))

    def advance(self, key: Key, choice: int) -> None:
        """A step that is legal, if there is one."""
        self.set_state(key, self.next_state(key, choice))

    def next_state(self, key: Key, choice: int) -> ComponentState:
        known = self.model.head.get(key)
        legal = VALID_TRANSITIONS[known.state] if known else STATES
        return legal[choice % len(legal)]

    def deregister(self, key: Key) -> None:
        def attempt(records: Records) -> list[Event]:
            known = held(records, key)
            return [("deregistered", key, known.state, known)]

        self.submit(key, attempt, self.registry.deregister(*key))

    def observe(self, key: Key, state: ComponentState) -> None:
        legal = self.model.observe(key, state)

        async def observing() -> None:
            assert self.registry.observe(*key, state, "seen") == legal

        self.client(observing()).expected = "done"

    def serve(self, key: Key, serving: bool) -> None:
        legal = self.model.observe(key, serving)

        async def observing() -> None:
            assert self.registry.observe_serving(*key, serving, "seen") == legal

        self.client(observing()).expected = "done"

    def notice(self, key: Key, choice: int) -> None:
        self.observe(key, self.next_state(key, choice))

    def wait_for(self, component_id: str, state: ComponentState) -> None:
        found = best(self.model.records, component_id)
        wanted = self.registry.wait_until(component_id, lambda record: record is not None and record.state is state)
        client = self.client(wanted)
        if found is not None and found.state is state:
            client.expected = "done"
        else:
            self.model.waiting.append((component_id, state, client))

    def flush(self) -> None:
        self.await_flush(self.registry.flush())

    def await_flush(self, coroutine: Coroutine[Any, Any, None]) -> Client:
        client, model = self.client(coroutine), self.model
        if model.flight is not None or model.queue or model.unsaved:
            model.queue.append(Operation(None, [], clients=[client]))
        else:
            client.expected = "done"
        return client

    def beat(self, key: Key) -> None:
        self.turn()
        known = self.model.head.get(key)
        if known is None and best(self.model.head, key[0]) is not None:
            with pytest.raises(StaleInstanceError):
                self.monitor.beat(*key)
        else:
            reply = self.monitor.beat(*key)
            assert reply.known == (known is not None and known.state not in ENDED)

    def watch(self, choice: int) -> None:
        place = choice % (len(self.revisions) + 1)
        since = self.revisions[place - 1] if place else self.registry.feed.first
        self.watchers = [*self.watchers[-3:], (self.registry.feed.subscribe(since), place)]

    def cancel(self, choice: int) -> None:
        self.turn()
        if self.clients:
            client = self.clients[choice % len(self.clients)]
            client.task.cancel()
            self.model.forget(client)
            self.clients.remove(client)
            self.turn()
            assert client.task.cancelled()

    # What the store does.

    def commit(self, refusal: StorageError | None) -> None:
        self.turn()
        if not self.worker.busy:
            return
        self.worker.step(refusal, done=refusal is None)
        if refusal is None:
            self.model.succeed()
        else:
            self.model.refuse(type(refusal))
        self.turn()
        if refusal is not None:
            assert self.registry.storage_full == (refusal is FULL)

    # Ends and beginnings.

    def change_loops(self) -> None:
        """One `asyncio.run` ends, with all that its tasks waited for, and another begins."""
        self.turn()
        self.end_loop()
        self.loop = asyncio.new_event_loop()
        self.start_monitor()
        self.flush()
        self.turn()

    def close(self, refusing: bool = False) -> None:
        """*refusing*: there is no room until the very end."""
        self.turn()
        model = self.model
        model.closing = True
        closing = self.await_flush(self.registry.close())
        while not closing.expected:
            self.turn()
            if refusing:
                self.worker.step(FULL, done=False)
                model.refuse(StorageFullError)
            else:
                self.worker.step()
                model.succeed()
        model.stopped = True
        model.refuse(StorageError)
        model.durable = after(model.durable, model.unsaved)
        model.saved.update(model.unsaved)
        self.turn()
        closing.task.result()
        self.reopen()

    def crash(self, written: bool) -> None:
        """The process ends at once, perhaps after the disk has got what nobody was told of."""
        self.turn()
        if written and self.worker.busy:
            self.worker.step()
            self.model.save()
        self.registry._finalizer.detach()
        self.store.close()
        self.reopen()

    def fail(self, written: bool) -> None:
        """The outcome of a commit is open; the store stops, and then the process."""
        self.turn()
        if not self.worker.busy:
            return
        error = StorageUnknownError("sync failed")
        self.worker.step(error, done=written)
        if written:
            self.model.save()
        self.model.stopped = True
        self.model.refuse(StorageUnknownError)
        self.turn()
        assert self.registry.failure is error
        for key in KEYS:
            self.deregister(key)
        self.crash(False)

    def abandon(self) -> None:
        """Nobody holds the registry any more, and the garbage collector finds it."""
        self.turn()
        in_flight = self.worker.busy
        self.registry._finalizer()
        if in_flight:
            self.worker.step()
            self.model.save()
        self.reopen()

    def reopen(self) -> None:
        self.end_loop()
        self.loop = asyncio.new_event_loop()
        self.highest = self.registry.revision
        self.total.update(self.model.saved)
        self.open(self.model.durable)
        self.turn()

    def end_loop(self) -> None:
        self.run(self.monitor.stop_monitoring())
        for client in self.clients:
            client.task.cancel()
            self.model.forget(client)
        if self.clients:
            self.run(asyncio.wait([client.task for client in self.clients]))
        self.clients = []
        self.loop.close()

    def check_history(self) -> None:
        """All that was ever saved is in the history, once."""
        self.close()
        for component_id in IDS:
            history = self.client(self.registry.get_history(component_id, 10_000))
            self.loop.run_until_complete(asyncio.sleep(0))
            self.worker.step()
            self.run(asyncio.wait([history.task]))
            entries: list[HistoryEntry] = history.task.result()
            assert [e.revision for e in entries] == sorted({e.revision for e in entries}, reverse=True)
            told = Counter((e.kind, (e.component_id, e.instance_uuid), e.previous, e.state, e.reason) for e in entries)
            assert told == summary(self.total, component_id)

    # What must hold after every step.

    def check(self) -> None:
        model, registry = self.model, self.registry
        assert self.worker.busy or not model.queue
        assert registry.revision == model.revision
        seen = {(r.component_id, r.instance_uuid): Known.of(r) for r in registry.all_instances()}
        assert seen == model.records
        assert ordered(self.heard) == ordered(model.published)
        assert self.revisions == sorted(set(self.revisions))
        self.check_reads()
        self.check_head()
        self.check_clients()
        self.check_leases()
        for subscription, place in self.watchers:
            assert [change.revision for change in registry.feed.read(subscription._position)] == self.revisions[place:]

    def check_reads(self) -> None:
        records = self.model.records
        for component_id in IDS:
            found = self.registry.find(component_id)
            assert (found and Known.of(found)) == best(records, component_id)
        for name in "xy":
            offers = {key for key, known in records.items() if name in known.capabilities}
            assert self.registry.capabilities().get(name, []) == sorted({key[0] for key in offers})
            named = {key for key in offers if records[key].state in USABLE and records[key].serving}
            assert {(r.component_id, r.instance_uuid) for r in self.registry.by_capability(name)} == named

    def check_head(self) -> None:
        table = self.registry.table
        slots = {table.identity(slot): STATES[table.state(slot)] for name in IDS for slot in table.slots(name)}
        assert slots == {key: known.state for key, known in self.model.head.items()}

    def check_clients(self) -> None:
        for client in self.clients:
            assert client.task.done() == (client.expected is not None)
            if isinstance(client.expected, type):
                assert isinstance(client.task.exception(), client.expected)
            elif client.expected is not None:
                client.task.result()
        self.clients = [client for client in self.clients if client.expected is None]

    def check_leases(self) -> None:
        table, head = self.registry.table, self.model.head
        for key in KEYS:
            leased = self.monitor.leased(*key)
            if self.model.underway(key) or (key in head) != (key in self.model.records):
                continue
            known = head.get(key)
            assert leased or known is None or known.state not in USABLE
            assert not leased or (known is not None and table.armed(table.find(*key)))


def held(records: Records, key: Key) -> Known:
    if key not in records:
        raise (StaleInstanceError(*key) if best(records, key[0]) else ComponentNotFoundError(key[0]))
    return records[key]


def ordered(events: list[Event]) -> list[Event]:
    """*events* with the replaced instances of one registration in one order; the registry promises none."""
    result: list[Event] = []
    for event in events:
        place = len(result)
        while place and event[0] == result[place - 1][0] == "deregistered" and event[1] < result[place - 1][1]:
            place -= 1
        result.insert(place, event)
    return result


def summary(total: Counter[Event], component_id: str) -> Counter[tuple[Any, ...]]:
    result: Counter[tuple[Any, ...]] = Counter()
    for (kind, key, previous, known), count in total.items():
        if key[0] == component_id:
            result[kind, key, previous, known.state, "seen" if kind == "serving" else known.reason] += count
    return result


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that batches and gaps overflow."""
    monkeypatch.setattr(pending, "MAX_BATCH", MAX_BATCH)
    monkeypatch.setattr(commit, "REVISION_GAP", GAP)


# What is played.


class Kind(NamedTuple):
    """A kind of step: how often it comes, and how its arguments are drawn."""

    weight: int
    draw: Callable[[Random], tuple[Any, ...]]


def one(*choices: Any) -> Callable[[Random], Any]:
    return lambda rng: rng.choice(choices)


def kind(weight: int, *arguments: Callable[[Random], Any]) -> Kind:
    return Kind(weight, lambda rng: tuple(draw(rng) for draw in arguments))


key, state, number, either = one(*KEYS), one(*STATES), one(*range(12)), one(False, True)

KINDS = {
    "register": kind(16, key, one("1", "2"), one((), ("x",), ("x", "y"), ("y", "y")), one(1, 2, 2)),
    "make_ready": kind(10, key),
    "advance": kind(12, key, number),
    "set_state": kind(4, key, state),
    "deregister": kind(6, key),
    "notice": kind(14, key, number),
    "observe": kind(4, key, state),
    "serve": kind(8, key, either),
    "wait_for": kind(4, one(*IDS), state),
    "flush": kind(2),
    "commit": kind(24, one(None, None, None, FULL, BUSY)),
    "watch": kind(4, number),
    "beat": kind(4, key),
    "cancel": kind(4, number),
    "change_loops": kind(1),
    "close": kind(1, either),
    "abandon": kind(1),
    "crash": kind(1, either),
    "fail": kind(1, either),
}


def draw_script(seed: int) -> list[Step]:
    rng = Random(seed)
    methods = rng.choices(list(KINDS), [kind.weight for kind in KINDS.values()], k=SCRIPT)
    return [Step(method, KINDS[method].draw(rng), rng.random() < 0.4) for method in methods]


def fails(make_store: Callable[[], RegistryStore], script: list[Step]) -> bool:
    try:
        World(make_store()).play(script)
    except Exception:
        return True
    return False


def reduced(script: list[Step], failing: Callable[[list[Step]], bool]) -> list[Step]:
    """*script* without the steps that are not needed to fail."""
    size = len(script) // 2
    while size:
        for start in range(len(script) - size, -1, -size):
            shorter = script[:start] + script[start + size :]
            if failing(shorter):
                script = shorter
        size //= 2
    return script


def explore(make_store: Callable[[], RegistryStore], steps: int) -> None:
    for seed in range(SEED, SEED + max(1, steps // SCRIPT)):
        script = draw_script(seed)
        if fails(make_store, script):
            script = reduced(script, lambda shorter: fails(make_store, shorter))
            print(f"seed {seed}, reduced to:", *script, sep="\n  ")
            World(make_store()).play(script)


def test_the_registry_does_what_the_model_does() -> None:
    explore(MemoryStore, STEPS)


def test_the_registry_on_disk_does_what_the_model_does(tmp_path: Path) -> None:
    explore(lambda: SqliteStore(Path(tempfile.mkdtemp(dir=tmp_path))), STEPS // 8)
