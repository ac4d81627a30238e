"""What must hold of the core whatever happens, checked while a simulation runs.

* Leases: nobody is failed before its timeout, counted in time in which the process ran; whoever is silent is failed
  within the timeout and one tick, plus what pauses, restarts and the storm guard allow.
* Starts: a component starts when its dependencies are usable, and only then.
* Restarts: not sooner than the shortest backoff, not more than `max` without a healthy stretch, `max` a minute, nor
  four at a time.
* Revisions go up, over all incarnations; what was acknowledged is there after a restart.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from tekton.core.leases.lease_clock import LeaseClock
from tekton.core.leases.storm_guard import RELEASE_INTERVAL, STORM_COUNT
from tekton.core.lifecycle import ENDED, USABLE, Change, ComponentRecord, ComponentState
from tekton.core.recovery import RestartPolicy
from tekton.testing.clock import ManualClock

Key = tuple[str, str]

_ROUNDING = 0.002
_SILENCE = 2 / 3


class _Pause(NamedTuple):
    at: float
    seconds: float

    @property
    def end(self) -> float:
        return self.at + self.seconds


class _Suspicion(NamedTuple):
    """The storm guard has given somebody a second lease at `at`, as one `among` so many suspects."""

    at: float
    among: int


class LeaseInvariants:
    """Who has been heard when, and who may or must be failed.

    All that is silent is failed one tick after its timeout at the latest, where nothing is in the way. What may be:

    * A pause, which counts against nobody, and one interval after it (or after a sleep), in which nobody is expired.
    * A storm: the lease of a suspect begins anew, and suspects end one after the other.
    """

    def __init__(self, clock: ManualClock, timeout: float, interval: float, wrong: list[str]) -> None:
        self.found = 0
        self._clock = clock
        self._timeout = timeout
        self._tick = LeaseClock(timeout, 0.0).tick
        self._interval = interval
        self._wrong = wrong
        self._last: dict[Key, float] = {}
        self._suspects: dict[Key, _Suspicion] = {}
        self._heard_at: float | None = None
        self._pauses: list[_Pause] = []

    def heard(self, key: Key) -> None:
        """A heartbeat was accepted."""
        self._last[key] = self._heard_at = self._clock.monotonic()
        self._suspects.pop(key, None)

    def undone(self, key: Key) -> None:
        """The store has refused to remove *key*, which has a new lease now."""
        if key in self._last:
            self._last[key] = self._clock.monotonic()
            self._suspects.pop(key, None)

    def paused(self, at: float, seconds: float) -> None:
        """The process did not run from *at* on; no *seconds* for a machine that slept."""
        # Whoever was heard after a pause has ended has nothing to do with it.
        first = min(*self._last.values(), at if self._heard_at is None else self._heard_at, at)
        self._pauses = [pause for pause in self._pauses if pause.end >= first]
        self._pauses.append(_Pause(at, seconds))

    def suspected(self, keys: Collection[Key]) -> None:
        """The storm guard holds *keys* back, and nobody else."""
        now = self._clock.monotonic()
        self._suspects = {key: self._suspects.get(key, _Suspicion(now, len(keys))) for key in keys}

    def restarted(self, records: list[ComponentRecord]) -> None:
        """A new control plane gives everybody a full lease."""
        leased = (record for record in records if record.usable and not record.supervised)
        self._last = {(record.component_id, record.instance_uuid): self._clock.monotonic() for record in leased}
        self._suspects.clear()
        self._heard_at = self._clock.monotonic() if self._last else None

    def hear(self, change: Change) -> None:
        """A change was published."""
        key = (change.component_id, change.instance_uuid)
        if change.kind == "deregistered" or change.state in ENDED or change.state is ComponentState.STOPPING:
            if change.kind == "state" and (change.reason or "").startswith("no heartbeat"):
                self._judge(key)
            self._last.pop(key, None)
            self._suspects.pop(key, None)
        elif change.state in USABLE and not change.record.supervised:
            self._last.setdefault(key, self._clock.monotonic())

    def sweep(self) -> None:
        """Find whoever should have been failed long ago."""
        now = self._clock.monotonic()
        for key, last in self._last.items():
            if now > self._latest(key):
                self._wrong.append(f"{key} was silent for {now - last:.3f} s and is not failed")

    def _judge(self, key: Key) -> None:
        now, last = self._clock.monotonic(), self._last.get(key)
        if last is None:
            self._wrong.append(f"{key} was failed for silence without a lease")
            return
        self.found += 1
        suspicion = self._suspects.get(key)
        ran = self._ran_since(last if suspicion is None else suspicion.at)
        if ran < self._timeout - _ROUNDING:
            self._wrong.append(f"{key} was failed after {ran:.3f} s of silence")
        if now > self._latest(key):
            self._wrong.append(f"{key} was failed late, after {now - last:.3f} s of silence")
        if suspicion is None and self._all_silent() and len(self._last) >= STORM_COUNT:
            self._wrong.append(f"{key} was failed when nobody was heard")

    def _ran_since(self, instant: float) -> float:
        """The least that the lease clock can have counted: of each pause it takes two ticks at most."""
        lost = (max(0.0, pause.seconds - 2 * self._tick) for pause in self._pauses if pause.at >= instant)
        return self._clock.monotonic() - instant - sum(lost)

    def _all_silent(self) -> bool:
        heard_at = self._heard_at
        return heard_at is not None and self._ran_since(heard_at) > _SILENCE * self._timeout + 2 * self._tick

    def _latest(self, key: Key) -> float:
        """When *key* must have been failed, if nothing more is heard of it."""
        suspicion = self._suspects.get(key)
        if suspicion is None:
            return self._end_of_lease(self._last[key], 0.0)
        return self._end_of_lease(suspicion.at, RELEASE_INTERVAL * suspicion.among)

    def _end_of_lease(self, since: float, in_turn: float) -> float:
        end = since + self._timeout + self._tick + _ROUNDING + in_turn
        for pause in self._pauses:
            if since <= pause.at <= end:
                held = pause.end + self._interval + 2 * self._tick
                # Each hold puts off whoever waits for its turn; a lease only if it runs out meanwhile.
                end = end + pause.seconds + self._interval if in_turn else max(end + pause.seconds, held)
        return end


@dataclass(slots=True)
class _Restarts:
    """The automatic restarts of one component."""

    at: deque[float] = field(default_factory=deque)
    without_health: int = 0
    usable_since: float | None = None
    failed_at: float | None = None


class RestartInvariants:
    """Counts what Recovery does."""

    def __init__(self, clock: ManualClock, policy: RestartPolicy, most: int, wrong: list[str]) -> None:
        self.total = 0
        self._clock = clock
        self._policy = policy
        self._most = most
        self._wrong = wrong
        self._running: set[str] = set()
        self._courses: dict[str, _Restarts] = {}

    def begins(self, component_id: str) -> None:
        """Recovery restarts a component."""
        self._running.add(component_id)
        if len(self._running) > self._most:
            self._wrong.append(f"{len(self._running)} restarts at once: {sorted(self._running)}")

    def ended(self, component_id: str) -> None:
        """That restart has ended."""
        self._running.discard(component_id)

    def called(self, component_id: str) -> None:
        """A start function was called; for an automatic restart if that is under way."""
        now, course = self._clock.monotonic(), self._course(component_id)
        # One that has not failed was kept from starting by a dependency: that start is no restart.
        if component_id not in self._running or course.failed_at is None:
            return
        self.total += 1
        course.without_health += 1
        course.at.append(now)
        while course.at[0] <= now - 60:
            course.at.popleft()
        if len(course.at) > self._policy.max or course.without_health > self._policy.max:
            self._wrong.append(f"{component_id}: restart {course.without_health}, {len(course.at)} within a minute")
        if now - course.failed_at < self._policy.backoff[0] - _ROUNDING:
            self._wrong.append(f"{component_id} was restarted {now - course.failed_at:.3f} s after its failure")

    def forgive(self, component_id: str) -> None:
        """Somebody has taken the component into his own hands."""
        self._courses[component_id] = _Restarts()

    def restarted(self) -> None:
        """A new control plane begins anew."""
        self._courses.clear()
        self._running.clear()

    def hear(self, change: Change) -> None:
        """A change was published."""
        course, now = self._course(change.component_id), self._clock.monotonic()
        if change.record.usable and change.kind == "state":
            course.failed_at = None
            course.usable_since = now if course.usable_since is None else course.usable_since
        elif change.kind == "state" and change.state is ComponentState.FAILED:
            healthy = course.usable_since is not None and now - course.usable_since >= self._policy.reset_after
            course.without_health = 0 if healthy else course.without_health
            course.usable_since, course.failed_at = None, now

    def _course(self, component_id: str) -> _Restarts:
        return self._courses.setdefault(component_id, _Restarts())


class DurabilityInvariants:
    """What was acknowledged, and whether it is there."""

    def __init__(self, wrong: list[str]) -> None:
        self.acknowledged = 0
        self._wrong = wrong
        self._known: dict[Key, int] = {}
        self._unsure: set[str] = set()
        self._revision = 0

    def done(self, key: Key, revision: int | None) -> None:
        """A command was acknowledged with *revision*; None: the instance was removed."""
        self.acknowledged += 1
        # What came before it on its component has ended, one way or the other.
        self._unsure.discard(key[0])
        if revision is None:
            self._known.pop(key, None)
        else:
            self._known[key] = max(revision, self._known.get(key, 0))

    def unsure(self, component_id: str) -> None:
        """A command ended without an answer."""
        self._unsure.add(component_id)

    def hear(self, change: Change) -> None:
        """A change was published."""
        if change.revision <= self._revision:
            self._wrong.append(f"revision {change.revision} was published after {self._revision}")
        self._revision = change.revision
        if change.kind == "deregistered":
            self._known.pop((change.component_id, change.instance_uuid), None)

    def restarted(self, records: list[ComponentRecord]) -> None:
        """A new registry has *records*."""
        found = {(record.component_id, record.instance_uuid): record.revision for record in records}
        for key, revision in self._known.items():
            if found.get(key, 0) < revision and key[0] not in self._unsure:
                self._wrong.append(f"{key} was acknowledged at {revision}, and is at {found.get(key)} after a restart")
        self._known = {key: found[key] for key in self._known if key in found}
        self._unsure.clear()
