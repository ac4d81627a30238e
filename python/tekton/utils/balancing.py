"""Which instance of a component gets a call.

Power of two choices: of two instances drawn at random the one with fewer calls of ours in progress. READY instances
are preferred to DEGRADED ones, both to those that failed lately: an instance that fails is left alone for a second,
then two, up to half a minute, and is called nevertheless when there is no other. At most a tenth of the instances are
left alone at a time, but at least one: where most fail it is not the instances that are bad. Whoever comes back gets
one call at a time until one succeeds. What others send to the instances is not known here; two choices out of many
keep that from mattering (Mitzenmacher 1996).
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tekton.core.lifecycle import ComponentRecord, ComponentState

EJECTION = (1.0, 30.0)
"""The first and the longest time for which an instance that fails is left alone, in seconds."""

MOST_SHUNNED = 0.1
"""The share of the instances that are left alone at the same time, at most; one always may be."""


@dataclass(slots=True)
class _Memory:
    """What is known of one instance from our own calls."""

    in_flight: int = 0
    failures: int = 0
    shunned_until: float = 0.0

    def is_shunned(self, now: float) -> bool:
        """True while it is left alone, and when it has come back and the call that it has got is not over."""
        return self.shunned_until > now or (self.failures > 0 and self.in_flight > 0)


class Balancer:
    """Chooses instances, and remembers how they did. *now* tells the time in seconds."""

    def __init__(self, rng: random.Random, now: Callable[[], float]) -> None:
        self._random = rng
        self._now = now
        self._memories: dict[str, _Memory] = {}

    def choose(self, instances: Sequence[ComponentRecord], tried: Collection[str] = ()) -> ComponentRecord | None:
        """One of *instances* that is not among the instances *tried*; None when there is none."""
        if tried:
            instances = [record for record in instances if record.instance_uuid not in tried]
        if len(instances) < 2:
            return instances[0] if instances else None
        shunned = self._shunned(instances)
        ranks = [(each.instance_uuid in shunned, each.state is not ComponentState.READY) for each in instances]
        best = min(ranks)
        equals = [record for record, rank in zip(instances, ranks) if rank == best]
        if len(equals) == 1:
            return equals[0]
        first, second = self._random.sample(equals, 2)
        return second if self.in_flight(second) < self.in_flight(first) else first

    def in_flight(self, record: ComponentRecord) -> int:
        """How many calls of ours the instance is working on."""
        memory = self._memories.get(record.instance_uuid)
        return memory.in_flight if memory else 0

    def begin(self, record: ComponentRecord) -> None:
        """A call goes to the instance."""
        self._memories.setdefault(record.instance_uuid, _Memory()).in_flight += 1

    def end(self, record: ComponentRecord, *, failed: bool) -> None:
        """A call to the instance is over. *failed*: it is the instance that failed, not what was asked of it."""
        memory = self._memories[record.instance_uuid]
        memory.in_flight -= 1
        if failed:
            shortest, longest = EJECTION
            memory.shunned_until = self._now() + min(longest, shortest * 2 ** min(memory.failures, 16))
            memory.failures += 1
        elif memory.in_flight == 0:
            del self._memories[record.instance_uuid]
        else:
            memory.failures, memory.shunned_until = 0, 0.0

    def cancelled(self, record: ComponentRecord) -> None:
        """A call was given up by its caller, which says nothing about the instance."""
        self._memories[record.instance_uuid].in_flight -= 1

    def forget(self, instance_uuid: str) -> None:
        """Forget an instance that has ended, unless it still works on a call of ours."""
        memory = self._memories.get(instance_uuid)
        if memory is not None and not memory.in_flight:
            del self._memories[instance_uuid]

    def keep_only(self, instances: Collection[str]) -> None:
        """Forget all that are neither among *instances* nor working on a call."""
        self._memories = {
            uuid: memory for uuid, memory in self._memories.items() if memory.in_flight or uuid in instances
        }

    def _shunned(self, instances: Sequence[ComponentRecord]) -> set[str]:
        """Those of *instances* to leave alone: of more than may be, those that are to be left alone the longest."""
        now = self._now()
        known = ((record.instance_uuid, self._memories.get(record.instance_uuid)) for record in instances)
        shunned = [(memory.shunned_until, uuid) for uuid, memory in known if memory and memory.is_shunned(now)]
        most = max(1, int(len(instances) * MOST_SHUNNED))
        return {uuid for _, uuid in (sorted(shunned, reverse=True)[:most] if len(shunned) > most else shunned)}
