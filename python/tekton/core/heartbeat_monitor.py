"""Heartbeats and leases: who is still alive.

A component with a lease is FAILED when nothing has been heard of it for the heartbeat timeout. Who has one:

* A component that registered itself: from READY or DEGRADED on, or from its first heartbeat, whichever comes first.
* A supervised one: from its first heartbeat on. One that sends none is judged by its process and its probes.
* Nobody that is STOPPING, STOPPED, FAILED or gone.

A lease never runs out before its timeout, and at most one tick later (`LeaseClock`). Nobody is expired for time in
which we did not run: lost ticks do not count, and after a stall expiry is held for one heartbeat interval, at most
once per timeout. After a restart everybody gets one full lease. `StormGuard` stands before mass expiry.

A heartbeat costs no disk: it is one store into the native table. Deadlines, order and arrival are judged by our
monotonic clock alone; the timestamp that a component sends is for people.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import msgspec

from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lease_clock import LeaseClock
from tekton.core.lifecycle import ENDED, STATES, USABLE, Change, ComponentRecord, ComponentState
from tekton.core.storm_guard import Key, StormGuard
from tekton.utils.tekton_errors import InvalidRegistrationError, StaleInstanceError

MAX_METRICS = 64
MAX_METRIC_NAME = 128

_STALE = -2
_NEVER_LEASED = ENDED | {ComponentState.STOPPING}
_SILENCE = 2 / 3


class ComponentHeartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life. `timestamp` is informative; `state` is a wish of the component to be in that state."""

    component_id: str
    instance_uuid: str
    timestamp: float | None = None
    state: str | None = None
    metrics: dict[str, float] = {}


class HeartbeatReply(msgspec.Struct, frozen=True):
    """`known` False: this instance has ended or was never here; register again. `next_interval`: beat again then."""

    known: bool
    state: ComponentState | None
    next_interval: float


class HeartbeatMonitor:
    """Takes heartbeats, and fails components whose lease has run out.

    *interval* is how often components are asked to beat, in seconds; never less often than three times per timeout.
    """

    def __init__(self, registry: ComponentRegistry, *, clock: Clock = SYSTEM_CLOCK, interval: float = 10.0) -> None:
        self._registry = registry
        self._table = registry.table
        self._clock = clock
        self._interval = interval
        self._timeout = 30.0
        self._lease: LeaseClock | None = None
        self._leases: dict[Key, int] = {}
        self._guard = StormGuard()
        self._hold_began = -math.inf
        self._last_heard: int | None = None
        self._beats: dict[str, float] = {}
        self._metrics: dict[str, dict[str, float]] = {}
        self._task = BackgroundTask("heartbeat monitor")
        self._leased = asyncio.Event()
        self._unlisten: list[Callable[[], None]] = []
        self._prepare_replies()

    async def __aenter__(self) -> Self:
        await self.start_monitoring(self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_monitoring()

    async def start_monitoring(self, heartbeat_timeout: float = 30) -> None:
        """Give everybody who should have one a full lease of *heartbeat_timeout* seconds, and watch.

        Raises RuntimeError when monitoring already, ValueError for a timeout that is not a positive number.
        """
        if self._task.running:
            raise RuntimeError("already monitoring")
        self._lease = LeaseClock(heartbeat_timeout, self._clock.monotonic())
        self._timeout = heartbeat_timeout
        self._guard = StormGuard()
        self._hold_began = -math.inf
        self._last_heard = None
        self._leased = asyncio.Event()
        self._prepare_replies()
        self._unlisten = [
            self._registry.feed.add_listener(self._on_change),
            self._registry.add_undo_listener(self._on_undone),
        ]
        for record in self._registry.all_instances():
            self._on_state(record)
        self._task.start(self._run(self._lease))

    async def stop_monitoring(self) -> None:
        """Stop watching and take all leases back. Heartbeats are still answered. Stopping twice does nothing."""
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []
        for key in list(self._leases):
            self._disarm(key)
        self._lease = None
        await self._task.stop()

    @property
    def heartbeat_timeout(self) -> float:
        """Seconds without a heartbeat after which a component is FAILED."""
        return self._timeout

    @property
    def next_interval(self) -> float:
        """Seconds in which components are asked to beat again."""
        return min(self._interval, self._timeout / 3)

    @property
    def suspected(self) -> frozenset[str]:
        """Ids of the components whose lease ran out in a storm: perhaps dead, perhaps it is us."""
        return frozenset(component_id for component_id, _ in self._guard.suspects)

    def metrics(self, component_id: str) -> dict[str, float]:
        """What the component reported last; empty when it reported nothing."""
        return dict(self._metrics.get(component_id, {}))

    def last_beat(self, component_id: str) -> float | None:
        """When the last heartbeat of the component came, in monotonic seconds."""
        return self._beats.get(component_id)

    def leased(self, component_id: str, instance_uuid: str) -> bool:
        """True when silence of this instance would have consequences."""
        return (component_id, instance_uuid) in self._leases

    async def process_heartbeat(self, heartbeat: ComponentHeartbeat) -> HeartbeatReply:
        """Take a heartbeat; when it names another state than the present one, move the component there, durably.

        Raises StaleInstanceError, IllegalTransitionError (the heartbeat itself counts), InvalidRegistrationError for
        a state or metrics that cannot be, and the storage errors.
        """
        wanted = _state_named(heartbeat.state)
        reply = self.beat(heartbeat.component_id, heartbeat.instance_uuid, heartbeat.metrics)
        if not reply.known or wanted is None or wanted is reply.state:
            return reply
        record = await self._registry.set_state(heartbeat.component_id, heartbeat.instance_uuid, wanted)
        return self._replies[record.state.index]

    def beat(self, component_id: str, instance_uuid: str, metrics: Mapping[str, float] | None = None) -> HeartbeatReply:
        """Take a heartbeat without a state: the hot path, one to two microseconds.

        Raises StaleInstanceError when other instances hold the id, InvalidRegistrationError for metrics that are not
        finite or more than 64; then nothing was changed.
        """
        if metrics:
            _check_metrics(metrics)
        now = self._clock.monotonic()
        tick = self._lease.round_up(now) if self._lease is not None else 0
        index = self._table.touch(component_id, instance_uuid, tick)
        if index == _STALE:
            raise StaleInstanceError(component_id, instance_uuid)
        reply = self._replies[index]
        if reply.known:
            self._beats[component_id] = now
            if metrics:
                self._metrics[component_id] = dict(metrics)
            self._last_heard = tick
            if (component_id, instance_uuid) not in self._leases or self._guard.suspects:
                self._heard((component_id, instance_uuid), STATES[index])
        return reply

    def tick(self, now: float) -> list[Key]:
        """One step of the clock, at *now* (monotonic seconds): returns the (component id, instance) that it failed."""
        lease = self._lease
        if lease is None:
            return []
        if lease.step(now) and now - self._hold_began >= self._timeout:
            self._hold_began = now
        if now < self._hold_began + self.next_interval:
            return []
        due = [self._table.identity(slot) for slot in self._table.expire(lease.position)]
        ruling = self._guard.rule(due, len(self._leases), silent=self._is_silent(lease), now=now)
        for key in ruling.renewed:
            self._table.arm(self._leases[key], lease.timeout_ticks, lease.round_up(now))
        return [key for key in ruling.expired if self._fail(key)]

    async def _run(self, lease: LeaseClock) -> None:
        while True:
            if not self._leases:
                self._leased.clear()
                await self._leased.wait()
            await asyncio.sleep(lease.until_next(self._clock.monotonic()))
            self.tick(self._clock.monotonic())

    def _is_silent(self, lease: LeaseClock) -> bool:
        return self._last_heard is not None and lease.position - self._last_heard >= lease.timeout_ticks * _SILENCE

    def _fail(self, key: Key) -> bool:
        del self._leases[key]
        return self._registry.observe(*key, ComponentState.FAILED, f"no heartbeat for {self._timeout:g} s")

    def _on_change(self, change: Change) -> None:
        if change.kind == "deregistered":
            self._forget((change.component_id, change.instance_uuid))
        else:
            self._on_state(change.record)

    def _on_state(self, record: ComponentRecord) -> None:
        key = (record.component_id, record.instance_uuid)
        if record.state in _NEVER_LEASED:
            self._disarm(key)
        elif record.state in USABLE and not record.supervised:
            self._arm(key)

    def _on_undone(self, component_id: str, instance_uuid: str) -> None:
        """The slot that carried the lease has been given back: a new one carries it, or none."""
        key = (component_id, instance_uuid)
        leased = key in self._leases
        self._forget(key)
        if leased:
            self._arm(key)
        elif (record := self._registry.instance(component_id, instance_uuid)) is not None:
            self._on_state(record)

    def _heard(self, key: Key, state: ComponentState) -> None:
        if key not in self._leases:
            # The first heartbeat, or an instance id written in another case.
            key = self._table.identity(self._table.find(*key))
        if self._guard.clear(key):
            del self._leases[key]
        if state not in _NEVER_LEASED:
            self._arm(key)

    def _arm(self, key: Key) -> None:
        lease = self._lease
        if lease is None or key in self._leases or (slot := self._table.find(*key)) < 0:
            return
        now = self._clock.monotonic()
        if not self._leases:
            lease.restart(now)
            self._leased.set()
        self._leases[key] = slot
        self._table.arm(slot, lease.timeout_ticks, lease.round_up(now))

    def _disarm(self, key: Key) -> None:
        self._guard.clear(key)
        slot = self._leases.pop(key, None)
        # The slot of a removed instance may belong to another one by now.
        if slot is not None and self._table.find(*key) == slot:
            self._table.disarm(slot)

    def _forget(self, key: Key) -> None:
        self._disarm(key)
        component_id = key[0]
        if self._registry.find(component_id) is None:
            self._beats.pop(component_id, None)
            self._metrics.pop(component_id, None)

    def _prepare_replies(self) -> None:
        interval = self.next_interval
        unknown = HeartbeatReply(False, None, interval)
        # Indexed by what the table answers: a state, or -1 for a component that it does not know.
        self._replies = (*(HeartbeatReply(state not in ENDED, state, interval) for state in STATES), unknown)


def _state_named(name: str | None) -> ComponentState | None:
    if name is None:
        return None
    try:
        return ComponentState(name)
    except ValueError:
        raise InvalidRegistrationError("/state", f"{name!r} is not a state") from None


def _check_metrics(metrics: Mapping[str, float]) -> None:
    if len(metrics) > MAX_METRICS:
        raise InvalidRegistrationError("/metrics", f"{len(metrics)} names; at most {MAX_METRICS} are allowed")
    for name, value in metrics.items():
        if not name or len(name) > MAX_METRIC_NAME:
            raise InvalidRegistrationError("/metrics", f"a name has 1 to {MAX_METRIC_NAME} characters")
        if not _is_finite(value):
            raise InvalidRegistrationError(f"/metrics/{name}", "must be a finite number")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except (TypeError, OverflowError):
        return False
