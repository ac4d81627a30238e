"""Heartbeats and leases: who is still alive.

A component with a lease is FAILED when nothing has been heard of it for the heartbeat timeout. Who has one:

* A component that registered itself: from READY or DEGRADED on, or from its first heartbeat, whichever comes first.
  Until then, and while it is STOPPING, it has a longer one, if there is a start-up timeout: who dies on its way must
  not keep its id for ever. Every change of it is a sign of life.
* A supervised one: from its first heartbeat on. One that sends none is judged by its process and its probes.
* Nobody that is STOPPED, FAILED or gone.

A lease never runs out before its timeout, and at most one tick later (`LeaseClock`). Nobody is expired for time in
which we did not run: lost ticks do not count, and after a stall (or when the machine was suspended, which our clock
does not count) expiry is held for one heartbeat interval, at most once per timeout. After a restart everybody gets
one full lease. `StormGuard` stands before mass expiry.

A heartbeat costs no disk: it is one store into the native table. Deadlines and arrival are judged by our monotonic
clock alone; the timestamp that a component sends is for people. What is refused or ignored, see `pulse`.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Annotated, Self

import msgspec

from tekton.background import BackgroundTask
from tekton.clock import SYSTEM_CLOCK, Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.leases.clock_jumps import ClockJumps, Jump
from tekton.core.leases.lease_clock import LeaseClock
from tekton.core.leases.pulse import Pulse, check_metrics
from tekton.core.leases.storm_guard import Key, StormGuard
from tekton.core.lifecycle import ENDED, STATES, USABLE, Change, ComponentRecord, ComponentState
from tekton.failpoints import reach
from tekton.utils.tekton_errors import InvalidRegistrationError, StaleInstanceError

SUSPECTED = "no heartbeat, nor from many others: perhaps it is us, so nothing is done about it yet"

_SAYS = {True: "it says that it takes requests again", False: "it says that it takes no requests"}
_STALE = -2
_LEAVING = ENDED | {ComponentState.STOPPING}
_SILENCE = 2 / 3

_logger = logging.getLogger("tekton.heartbeats")


SequenceNumber = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Counts the heartbeats of an instance; exact in every JSON."""


Reason = Annotated[str, msgspec.Meta(max_length=1024)]
"""Why a component is as it says, for people."""


class ComponentHeartbeat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sign of life. `timestamp` is informative; `state` is a wish of the component to be in that state.

    `serving` says whether it takes traffic; `reason`, why it is so or in that state. `sequence` grows with every
    heartbeat of the instance; an older one that comes late is ignored.
    """

    component_id: str
    instance_uuid: str
    timestamp: float | None = None
    sequence: SequenceNumber | None = None
    state: str | None = None
    serving: bool | None = None
    reason: Reason | None = None
    metrics: dict[str, float] = {}


class HeartbeatReply(msgspec.Struct, frozen=True):
    """`known` False: this instance has ended or was never here; register again. `next_interval`: beat again then."""

    known: bool
    state: ComponentState | None
    next_interval: float


class HeartbeatMonitor:
    """Takes heartbeats, and fails components whose lease has run out.

    *interval* is how often components are asked to beat, in seconds; never less often than three times per timeout.
    Who registered itself is FAILED when it is not READY *startup_timeout* seconds later (or the heartbeat timeout, if
    that is longer). None: never, as where a coordinator of this process starts everybody, with timeouts of its own.
    """

    def __init__(
        self,
        registry: ComponentRegistry,
        *,
        clock: Clock = SYSTEM_CLOCK,
        interval: float = 10.0,
        startup_timeout: float | None = None,
    ) -> None:
        self.received = 0
        """Heartbeats that counted."""
        self.expired = 0
        """Leases whose end made an instance FAILED."""
        self.storms = 0
        """How often so many fell silent together that we suspected ourselves."""
        self._registry = registry
        self._table = registry.table
        self._clock = clock
        self._interval = interval
        self._timeout = 30.0
        self._startup_timeout = startup_timeout
        self._lease: LeaseClock | None = None
        self._leases: dict[Key, int] = {}
        self._on_its_way: dict[Key, int] = {}
        self._guard = StormGuard()
        self._hold_began = -math.inf
        self._last_heard: int | None = None
        self._pulses: dict[Key, Pulse] = {}
        self._latest: dict[str, Pulse] = {}
        self._jumps = ClockJumps(clock)
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
        self._jumps.forget()
        self._leased = asyncio.Event()
        self._prepare_replies()
        self._unlisten = [
            self._registry.feed.add_listener(self._on_change),
            self._registry.add_undo_listener(self._on_undone),
        ]
        for record in self._registry.all_instances():
            self._on_state(record)
        # Whoever had a lease before us sends heartbeats: that none arrive here is a silence from the first moment on.
        self._last_heard = self._lease.position if self._leases else None
        self._task.start(self._run(self._lease))

    async def stop_monitoring(self) -> None:
        """Stop watching and take all leases back. Heartbeats are still answered. Stopping twice does nothing."""
        for unlisten in self._unlisten:
            unlisten()
        self._unlisten = []
        for key in [*self._leases, *self._on_its_way]:
            self._disarm(key)
        self._lease = None
        await self._task.stop()

    async def adjust(self, *, interval: float, timeout: float, startup_timeout: float | None) -> None:
        """Monitor with other times from now on; the leases begin anew.

        Who beats at the old pace hears of the new one with the next reply: the first lease is longer by that.
        Raises ValueError for a timeout that is not a positive number.
        """
        grace = self._next_interval
        await self.stop_monitoring()
        self._interval, self._startup_timeout = interval, startup_timeout
        await self.start_monitoring(timeout)
        assert self._lease is not None
        self._table.extend(self._lease.ticks(grace))

    @property
    def heartbeat_timeout(self) -> float:
        """Seconds without a heartbeat after which a component is FAILED."""
        return self._timeout

    @property
    def next_interval(self) -> float:
        """Seconds in which components are asked to beat again."""
        return self._next_interval

    @property
    def leases(self) -> int:
        """How many instances have a lease that heartbeats renew."""
        return len(self._leases)

    @property
    def suspected(self) -> frozenset[str]:
        """Ids of the components whose lease ran out in a storm: perhaps dead, perhaps it is us."""
        return frozenset(component_id for component_id, _ in self._guard.suspects)

    @property
    def clock_jumps(self) -> Mapping[Jump, int]:
        """How often the clocks of the machine were seen to jump, while somebody had a lease."""
        return self._jumps.seen

    def suspects(self, component_id: str, instance_uuid: str) -> bool:
        """True when the lease of this instance ran out in a storm."""
        return (component_id, instance_uuid) in self._guard.suspects

    def metrics(self, component_id: str) -> dict[str, float]:
        """What the component reported last; empty when it reported nothing."""
        pulse = self._latest.get(component_id)
        return {} if pulse is None else dict(pulse.metrics)

    def last_beat(self, component_id: str) -> float | None:
        """When the last heartbeat of the component came, in monotonic seconds."""
        pulse = self._latest.get(component_id)
        return None if pulse is None else pulse.at

    def leased(self, component_id: str, instance_uuid: str) -> bool:
        """True when silence of this instance would have consequences."""
        key = (component_id, instance_uuid)
        return key in self._leases or key in self._on_its_way

    async def process_heartbeat(self, heartbeat: ComponentHeartbeat) -> HeartbeatReply:
        """Take a heartbeat; when it names another state than the present one, move the component there, durably.

        `serving` is an observation: visible at once, durable behind.

        Raises StaleInstanceError, IllegalTransitionError (the heartbeat itself counts), InvalidRegistrationError for
        a state or metrics that cannot be, TooManyHeartbeatsError, and the storage errors.
        """
        wanted = _state_named(heartbeat.state)
        key = (heartbeat.component_id, heartbeat.instance_uuid)
        reply, counts = self._take(key, heartbeat.metrics, heartbeat.sequence)
        if not counts:
            return reply
        if wanted is not None and wanted is not reply.state:
            record = await self._registry.set_state(*key, wanted, heartbeat.reason)
            reply = self._replies[record.state.index]
        if heartbeat.serving is not None:
            self._registry.observe_serving(*key, heartbeat.serving, heartbeat.reason or _SAYS[heartbeat.serving])
        return reply

    def beat(
        self,
        component_id: str,
        instance_uuid: str,
        metrics: Mapping[str, float] | None = None,
        sequence: int | None = None,
    ) -> HeartbeatReply:
        """Take a heartbeat without a state: the hot path, one to two microseconds.

        Raises StaleInstanceError when other instances hold the id, InvalidRegistrationError for metrics that are not
        finite or more than 64, TooManyHeartbeatsError (see `pulse`); then nothing was changed.
        """
        return self._take((component_id, instance_uuid), metrics, sequence)[0]

    def reply(self, component_id: str, instance_uuid: str) -> HeartbeatReply:
        """What a heartbeat of the instance is answered, without being one."""
        slot = self._table.find(component_id, instance_uuid)
        return self._replies[-1 if slot < 0 else self._table.state(slot)]

    def _take(self, key: Key, metrics: Mapping[str, float] | None, sequence: int | None) -> tuple[HeartbeatReply, bool]:
        """The reply to a heartbeat, and whether it counts: it may be late, or of an instance that has ended."""
        if metrics:
            check_metrics(metrics)
        now = self._clock.monotonic()
        pulse = self._pulses.get(key) or self._find_pulse(key)
        if pulse is not None and not pulse.admit(key[0], now, self._next_interval, sequence):
            return self.reply(*key), False
        tick = self._lease.round_up(now) if self._lease is not None else 0
        index = self._table.touch(*key, tick)
        if index == _STALE:
            raise StaleInstanceError(*key)
        reply = self._replies[index]
        if not reply.known or pulse is None:
            return reply, False
        self.received += 1
        pulse.at = now
        if metrics:
            pulse.metrics = dict(metrics)
        self._latest[key[0]] = pulse
        self._last_heard = tick
        if key not in self._leases or self._guard.suspects:
            self._heard(key, STATES[index])
        return reply, True

    def tick(self, now: float) -> list[Key]:
        """One step of the clock, at *now* (monotonic seconds): returns the (component id, instance) that it failed."""
        lease = self._lease
        if lease is None:
            return []
        lost = lease.step(now)
        if lost >= 1:
            # Less is what a busy machine does; expiry is held all the same.
            _logger.warning("this process did not run for %.1f s: that time counts against nobody", lost)
        if (self._jumps.look() or lost) and now - self._hold_began >= self._timeout:
            self._hold_began = now
        if now < self._hold_began + self._next_interval:
            return []
        expired = [self._table.identity(slot) for slot in self._table.expire(lease.position)]
        due = [key for key in expired if key in self._leases]
        suspicious = bool(self._guard.suspects)
        ruling = self._guard.rule(due, len(self._leases), silent=self._is_silent(lease), now=now)
        self.storms += bool(ruling.renewed) and not suspicious
        for key in ruling.renewed:
            self._table.arm(self._leases[key], lease.timeout_ticks, lease.round_up(now))
        # The storm guard has no say in these: that they are silent is nothing new.
        unproven = [key for key in expired if key in self._on_its_way]
        return [key for key in (*ruling.expired, *unproven) if self._fail(key)]

    async def _run(self, lease: LeaseClock) -> None:
        while True:
            if not (self._leases or self._on_its_way):
                self._leased.clear()
                await self._leased.wait()
            await asyncio.sleep(lease.until_next(self._clock.monotonic()))
            self.tick(self._clock.monotonic())

    def _is_silent(self, lease: LeaseClock) -> bool:
        return self._last_heard is not None and lease.position - self._last_heard >= lease.timeout_ticks * _SILENCE

    def _fail(self, key: Key) -> bool:
        reach("lease.before_expire")
        if self._on_its_way.pop(key, None) is not None:
            record = self._registry.instance(*key)
            stopping = record is not None and record.state is ComponentState.STOPPING
            what = "never finished stopping" if stopping else "never became ready"
            reason = f"{what}: nothing was heard of it for {self._way_timeout:g} s"
        else:
            del self._leases[key]
            reason = f"no heartbeat for {self._timeout:g} s"
        failed = self._registry.observe(*key, ComponentState.FAILED, reason)
        self.expired += failed
        return failed

    def _on_change(self, change: Change) -> None:
        if change.kind == "deregistered":
            self._forget((change.component_id, change.instance_uuid))
        else:
            self._on_state(change.record)

    def _on_state(self, record: ComponentRecord) -> None:
        key = (record.component_id, record.instance_uuid)
        if record.state in _LEAVING:
            self._disarm(key)
            # Whoever comes back as this instance may count its heartbeats from the start.
            self._pulses.pop(key, None)
        if record.supervised or record.state in ENDED:
            return
        if record.state in USABLE:
            self._arm(key)
        elif self._startup_timeout is not None:
            self._arm_on_its_way(key)

    def _on_undone(self, component_id: str, instance_uuid: str) -> None:
        """The slot that carried the lease has been given back: a new one carries it, or none."""
        key = (component_id, instance_uuid)
        leased = key in self._leases
        self._forget(key)
        if leased:
            self._arm(key)
        elif (record := self._registry.instance(component_id, instance_uuid)) is not None:
            self._on_state(record)

    def _find_pulse(self, key: Key) -> Pulse | None:
        """A new pulse for an instance that is heard for the first time; None when it is unknown."""
        slot = self._table.find(*key)
        # The instance id may be written in another case.
        return None if slot < 0 else self._pulses.setdefault(self._table.identity(slot), Pulse())

    def _heard(self, key: Key, state: ComponentState) -> None:
        if key not in self._leases:
            # The first heartbeat, or an instance id written in another case.
            key = self._table.identity(self._table.find(*key))
        if self._guard.clear(key):
            del self._leases[key]
        if state not in _LEAVING:
            self._arm(key)

    def _arm(self, key: Key) -> None:
        lease = self._lease
        if lease is None or key in self._leases or (slot := self._table.find(*key)) < 0:
            return
        tick = self._wake(lease)
        self._on_its_way.pop(key, None)
        self._leases[key] = slot
        self._table.arm(slot, lease.timeout_ticks, tick)

    def _arm_on_its_way(self, key: Key) -> None:
        """Give an instance that comes up or goes down, and does not beat, its longer lease in full."""
        lease = self._lease
        if lease is None or key in self._leases or (slot := self._table.find(*key)) < 0:
            return
        tick = self._wake(lease)
        self._on_its_way[key] = slot
        self._table.arm(slot, lease.ticks(self._way_timeout), tick)

    def _wake(self, lease: LeaseClock) -> int:
        """The present tick, as deadlines are counted from it; watching begins again if nobody had a lease."""
        now = self._clock.monotonic()
        if not (self._leases or self._on_its_way):
            lease.restart(now)
            self._jumps.forget()
            self._leased.set()
        return lease.round_up(now)

    @property
    def _way_timeout(self) -> float:
        return max(self._timeout, self._startup_timeout or 0.0)

    def _disarm(self, key: Key) -> None:
        self._guard.clear(key)
        first, slot = self._on_its_way.pop(key, None), self._leases.pop(key, None)
        slot = first if slot is None else slot
        # The slot of a removed instance may belong to another one by now.
        if slot is not None and self._table.find(*key) == slot:
            self._table.disarm(slot)

    def _forget(self, key: Key) -> None:
        self._disarm(key)
        component_id = key[0]
        self._pulses.pop(key, None)
        if self._registry.find(component_id) is None:
            self._latest.pop(component_id, None)

    def _prepare_replies(self) -> None:
        interval = self._next_interval = min(self._interval, self._timeout / 3)
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
