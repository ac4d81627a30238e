"""The component registry: which components exist, in which state, with which capabilities.

Registries on one data directory in one process are handles on one `Ledger`; the last one to be closed closes it.
Calls with the specification's names answer with `Result` for refusals that are to be expected; each has a raising
twin (`register`, `set_state`, `make_ready`, `deregister`).
"""

import weakref
from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tekton import _native
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.audit.log import AuditLog
from tekton.core.component_lifecycle.commit import CommitQueue, Refusal
from tekton.core.component_lifecycle.documents import Documents
from tekton.core.component_lifecycle.ledger import Ledger, Predicate, Replaces, UndoListener
from tekton.core.component_lifecycle.steps import Step
from tekton.core.component_lifecycle.store import HistoryEntry, MemoryStore, RegistryStore
from tekton.core.component_lifecycle.view import Filter, Page
from tekton.core.events import ChangeFeed
from tekton.core.idempotency import IdempotencyKeys
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.core.metrics.tally import Tally
from tekton.core.precedence import Precedence
from tekton.core.waiting import waiting_for
from tekton.utils.tekton_errors import InvalidRegistrationError, RegistryError, StorageError

MAX_PAGE = 1000


class Result(NamedTuple):
    """The answer to a command: whether it was done, and a sentence about it."""

    success: bool
    message: str


class Registered(NamedTuple):
    """A registered instance; `created` is False when it was registered already."""

    record: ComponentRecord
    created: bool


class _Shared:
    """A ledger with the number of registries on it."""

    __slots__ = ("ledger", "path", "users")

    def __init__(self, ledger: Ledger, path: Path | None) -> None:
        self.ledger = ledger
        self.path = path
        self.users = 0


_open: dict[Path, _Shared] = {}


class ComponentRegistry:
    """The registry on *data_dir* (in memory when neither *data_dir* nor *store* is given).

    Opening reads the database and blocks while it does: about a second for 100,000 components. Raises
    StorageLockedError when another process owns the directory, StorageCorruptError and SchemaVersionError.

    The store works in *executor*, which must do one thing at a time, in order, and is shut down by the last `close`
    (default: a thread). One that works where it is called makes a registry without threads, for virtual time.
    All methods belong to one event loop at a time. A refusal rests on what is visible and durable, as success does.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        store: RegistryStore | None = None,
        clock: Clock = SYSTEM_CLOCK,
        executor: Executor | None = None,
    ) -> None:
        shared = _acquire(data_dir, store, clock, executor)
        self._ledger = shared.ledger
        self._shared = shared
        self.unsteady: Container[str] = frozenset()
        """Ids of components that discovery by capability names last."""
        self._finalizer = weakref.finalize(self, _give_back, shared, CommitQueue.abandon)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is on its way to the store and give the handle back. Closing twice does nothing."""
        if self._finalizer.alive:
            await self._ledger.commits.flush()
            # Another task may have closed it meanwhile.
            if self._finalizer.detach() is not None:
                _give_back(self._shared, CommitQueue.close)

    async def flush(self) -> None:
        """Wait until what is visible now is durable, or the store has refused to save it (`storage_full`)."""
        await self._ledger.commits.flush()

    @property
    def feed(self) -> ChangeFeed:
        """The changes of this registry."""
        return self._ledger.feed

    @property
    def precedence(self) -> Precedence:
        """Taken while a change is made durable: who can wait a little lets it go first."""
        return self._ledger.commits.precedence

    @property
    def table(self) -> _native.ComponentTable:
        """The head: states and leases by slot."""
        return self._ledger.table

    @property
    def audit(self) -> AuditLog:
        """Who changed what: the audit log."""
        return self._ledger.audit

    @property
    def documents(self) -> Documents:
        """Small things that must last and are no components."""
        return self._ledger.documents

    @property
    def idempotency_keys(self) -> IdempotencyKeys:
        """The keys of requests that may be sent again."""
        return self._ledger.keys

    @property
    def revision(self) -> int:
        """The revision of the last visible change. Revisions increase and are sparse."""
        return self._ledger.feed.revision

    @property
    def incarnation(self) -> int:
        """How often the store has been opened."""
        return self._ledger.incarnation

    @property
    def failure(self) -> StorageError | None:
        """What stopped the store, if anything did; then only reading works."""
        return self._ledger.commits.failure

    def add_failure_listener(self, listener: Callable[[StorageError], None]) -> None:
        """Call *listener* when the store has stopped; the process should end and recover from the disk."""
        self._ledger.commits.add_failure_listener(listener)

    @property
    def storage_full(self) -> bool:
        """True while the store refuses commands for want of space."""
        return self._ledger.commits.full

    @property
    def batch_sizes(self) -> Tally:
        """Changes in each batch that the store has got."""
        return self._ledger.commits.batch_sizes

    @property
    def batch_seconds(self) -> Tally:
        """How long it took to make each batch durable."""
        return self._ledger.commits.batch_seconds

    @property
    def refused_commands(self) -> Mapping[Refusal, int]:
        """How many commands the store has refused, and why."""
        return self._ledger.commits.refused

    @property
    def waiting_commands(self) -> int:
        """How many commands and observations wait for the store."""
        return self._ledger.commits.waiting

    @property
    def unwitnessed(self) -> int:
        """How many batches were stored whose witness could not be written."""
        return self._ledger.commits.unwitnessed

    @property
    def stale_commands(self) -> int:
        """How many commands of instances that do not hold their id (any more) have been refused."""
        return self._ledger.stale_commands

    def add_undo_listener(self, listener: UndoListener) -> Callable[[], None]:
        """Call *listener* with the id and instance of whoever was refused a registration or removal by the store.

        The head is what it was before. But what its slot in `table` carried, a lease, is lost. Returns the function
        that removes the listener.
        """
        return self._ledger.add_undo_listener(listener)

    # Commands, with the specification's names.

    async def register_component(self, registration: ComponentRegistration) -> Result:
        """Register a component; `(False, why)` when another live instance holds the id.

        Raises InvalidRegistrationError (InvalidIdError for ids) and the storage errors.
        """
        try:
            record, created = await self.register(registration)
        except InvalidRegistrationError:
            raise
        except RegistryError as refusal:
            return Result(False, str(refusal))
        how = "registered" if created else "already registered"
        return Result(True, f"{record.component_id} {how} as generation {record.generation}")

    async def update_component_state(
        self, component_id: str, instance_uuid: str, state: str | ComponentState, reason: str | None = None
    ) -> Result:
        """Move an instance to *state*; `(False, why)` when it is unknown, stale, or the step is not legal.

        Raises ValueError when *state* is none of the nine states.
        """
        try:
            record = await self.set_state(component_id, instance_uuid, ComponentState(state), reason)
        except RegistryError as refusal:
            return Result(False, str(refusal))
        return Result(True, f"{component_id} is {record.state.value}")

    async def mark_component_ready(self, component_id: str, instance_uuid: str) -> Result:
        """Walk an instance along the legal path to READY; `(False, why)` when there is none."""
        try:
            await self.make_ready(component_id, instance_uuid)
        except RegistryError as refusal:
            return Result(False, str(refusal))
        return Result(True, f"{component_id} is ready")

    async def deregister_component(self, component_id: str, instance_uuid: str) -> Result:
        """Remove an instance; `(False, why)` when it is unknown or stale."""
        try:
            await self.deregister(component_id, instance_uuid)
        except RegistryError as refusal:
            return Result(False, str(refusal))
        return Result(True, f"{component_id} is deregistered")

    # Commands that raise.

    async def register(
        self,
        registration: ComponentRegistration,
        *,
        supervised: bool = False,
        replaces: Replaces | None = None,
    ) -> Registered:
        """Register an instance, durably; it is then REGISTERING.

        The same live instance again is not an error: what it says about itself is updated. FAILED and STOPPED
        instances of the id are replaced (all, or those that *replaces* says), and the generation goes up. Raises
        ComponentExistsError when `max_instances` live ones exist, InvalidRegistrationError, and the storage errors.
        """
        return Registered(*await self._ledger.register(registration, supervised, replaces))

    async def set_state(
        self, component_id: str, instance_uuid: str, state: ComponentState, reason: str | None = None
    ) -> ComponentRecord:
        """Move an instance to *state*, durably.

        Raises IllegalTransitionError (nothing was changed), StaleInstanceError, ComponentNotFoundError, and the
        storage errors.
        """
        return await self._ledger.transition((component_id, instance_uuid), (state,), reason)

    async def make_ready(self, component_id: str, instance_uuid: str) -> ComponentRecord:
        """Walk an instance to READY and record every step; READY already is fine.

        Raises IllegalTransitionError from FAILED, STOPPING and STOPPED: nothing is resurrected.
        """
        return await self._ledger.make_ready((component_id, instance_uuid))

    async def deregister(self, component_id: str, instance_uuid: str) -> ComponentRecord:
        """Remove an instance whatever its state, durably, and return what was known of it."""
        return await self._ledger.deregister((component_id, instance_uuid))

    async def amend(self, known: Iterable[ComponentRecord], step_of: Callable[[ComponentRecord], Step]) -> None:
        """Take a step (`updated` or `deregistered`) from each of *known* that is still exactly so, durably.

        An instance that has changed since, or that a command on its way changes, is left alone. Raises the storage
        errors, after all have been tried.
        """
        await self._ledger.amend(known, step_of)

    def observe(self, component_id: str, instance_uuid: str, state: ComponentState, reason: str) -> bool:
        """Record what has happened (an exit, an expired lease): visible at once, durable behind.

        Returns False, and changes nothing, when the instance is stale or the step is not legal. If that is because
        of a command that the store then refuses, the observation counts after all.
        """
        return self._ledger.observe((component_id, instance_uuid), state, reason)

    def observe_serving(self, component_id: str, instance_uuid: str, serving: bool, reason: str) -> bool:
        """Record whether a usable instance takes traffic: visible at once, durable behind, its state unchanged.

        *reason* is kept in the history. One that is started anew takes traffic again. Returns False, and changes
        nothing, when the instance is stale or not usable, or *serving* is what it was.
        """
        return self._ledger.observe_serving((component_id, instance_uuid), serving, reason)

    # Reads of the committed view; none of them does I/O.

    def find(self, component_id: str) -> ComponentRecord | None:
        """The best instance of a component: usable before not, serving before not, READY first, then the newest."""
        return self._ledger.view.find(component_id)

    def instance(self, component_id: str, instance_uuid: str) -> ComponentRecord | None:
        """That very instance."""
        return self._ledger.view.instance(component_id, instance_uuid)

    def instances(self, component_id: str) -> list[ComponentRecord]:
        """All instances of a component, best first."""
        return self._ledger.view.instances(component_id)

    def by_capability(self, capability: str) -> list[ComponentRecord]:
        """Usable, serving instances that offer *capability*, READY ones first, those of `unsteady` components last."""
        found = self._ledger.view.by_capability(capability)
        return sorted(found, key=lambda record: record.component_id in self.unsteady)

    def capabilities(self) -> dict[str, list[str]]:
        """Each capability with the components that offer it, usable or not."""
        return self._ledger.view.capabilities()

    def components(self) -> list[ComponentRecord]:
        """The best instance of every component, in order of their ids."""
        return self._ledger.view.components()

    def all_instances(self) -> list[ComponentRecord]:
        """Every instance of every component, in order of their ids."""
        return self._ledger.view.all_instances()

    def nearest(self, component_id: str) -> str | None:
        """The known id that looks most like *component_id*."""
        return self._ledger.view.nearest(component_id)

    def graph(self) -> dict[str, list[str]]:
        """Component id -> ids it depends on, from the best instance of each."""
        return {record.component_id: list(record.dependencies) for record in self.components()}

    def page(
        self,
        *,
        state: ComponentState | None = None,
        component_type: str | None = None,
        capability: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """One page of components in order of their ids; see `CommittedView.page`. *limit* is 1 to 1000."""
        wanted = Filter(state, component_type, capability)
        return self._ledger.view.page(wanted, max(1, min(limit, MAX_PAGE)), cursor, self.revision)

    async def wait_until(self, component_id: str, predicate: Predicate) -> ComponentRecord | None:
        """Return the best instance (None: there is none) once *predicate* holds for it."""
        if predicate(best := self.find(component_id)):
            return best
        async with waiting_for([component_id]):
            return await self._ledger.wait_until(component_id, predicate)

    # Reads, with the specification's names.

    async def get_component(self, component_id: str) -> ComponentRecord | None:
        """The best instance of a component, or None."""
        return self.find(component_id)

    async def get_instances(self, component_id: str) -> list[ComponentRecord]:
        """All instances of a component, best first."""
        return self.instances(component_id)

    async def get_components_by_capability(self, capability: str) -> list[ComponentRecord]:
        """Usable, serving instances that offer *capability*, READY ones first."""
        return self.by_capability(capability)

    async def list_components(
        self,
        *,
        state: ComponentState | None = None,
        component_type: str | None = None,
        capability: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """One page of components; see `page`. Raises CursorExpiredError for a cursor that is not ours."""
        return self.page(state=state, component_type=component_type, capability=capability, limit=limit, cursor=cursor)

    async def get_history(self, component_id: str, limit: int = 100, before: int | None = None) -> list[HistoryEntry]:
        """The changes of a component, newest first; *before* is a revision to continue from. Reads the disk."""
        await self._ledger.commits.flush()
        return await self._ledger.commits.history(component_id, limit, before)


def _acquire(
    data_dir: str | Path | None, store: RegistryStore | None, clock: Clock, executor: Executor | None
) -> _Shared:
    path = Path(data_dir).expanduser().resolve() if data_dir is not None and store is None else None
    shared = _open.get(path) if path is not None else None
    if shared is None:
        shared = _Shared(Ledger(store or _store_at(path), clock, executor), path)
        if path is not None:
            _open[path] = shared
    shared.users += 1
    return shared


def _store_at(path: Path | None) -> RegistryStore:
    if path is None:
        return MemoryStore()
    # SQLite is loaded only by those who keep a registry on disk.
    from tekton.core.component_lifecycle.sqlite_store import SqliteStore

    return SqliteStore(path)


def _give_back(shared: _Shared, end: Callable[[CommitQueue], None]) -> None:
    shared.users -= 1
    if shared.users == 0:
        if shared.path is not None:
            del _open[shared.path]
        end(shared.ledger.commits)
