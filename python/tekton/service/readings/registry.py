"""The readings of the registry: components by state, leases, the store, the change feed, the audit log."""

from collections import Counter
from collections.abc import Iterator, Sized
from typing import get_args

from tekton.clock import Clock
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.commit import Refusal
from tekton.core.component_lifecycle.registry import MAX_PAGE
from tekton.core.heartbeat_monitor import HeartbeatMonitor
from tekton.core.idempotency import Repeat
from tekton.core.leases.clock_jumps import Jump
from tekton.core.lifecycle import STATES
from tekton.core.metrics.metrics import Reading
from tekton.service.auditing import Auditing


def components(registry: ComponentRegistry, flapping: Sized) -> Iterator[Reading | None]:
    """Counts the components of *registry* by state, in slices. O(components)."""
    counts, cursor = Counter[str](), None
    while True:
        # In pages: of very many, looking at all of them at once would hold up everybody.
        page = registry.page(limit=MAX_PAGE, cursor=cursor)
        counts.update(record.state.value for record in page.items)
        yield None
        if (cursor := page.cursor) is None:
            break
    for state in STATES:
        yield Reading("tekton_components", counts[state.value], (state.value,))
    yield Reading("tekton_components_flapping", len(flapping))


def heartbeats(monitor: HeartbeatMonitor) -> Iterator[Reading]:
    """Heartbeats, and the leases that they renew."""
    yield Reading("tekton_heartbeats", monitor.received)
    yield Reading("tekton_leases", monitor.leases)
    yield Reading("tekton_leases_expired", monitor.expired)
    yield Reading("tekton_components_suspected", len(monitor.suspected))
    yield Reading("tekton_lease_storms", monitor.storms)
    for jump in get_args(Jump):
        yield Reading("tekton_clock_jumps", monitor.clock_jumps.get(jump, 0), (jump,))


def store(registry: ComponentRegistry) -> Iterator[Reading]:
    """What becomes of commands."""
    yield Reading("tekton_registry_revision", registry.revision)
    yield Reading("tekton_store_batch_duration", registry.batch_seconds.read())
    yield Reading("tekton_store_batch_changes", registry.batch_sizes.read())
    yield Reading("tekton_store_full", registry.storage_full)
    yield Reading("tekton_store_commands_waiting", registry.waiting_commands)
    yield Reading("tekton_store_unwitnessed", registry.unwitnessed)
    yield Reading("tekton_stale_commands", registry.stale_commands)
    for reason in get_args(Refusal):
        yield Reading("tekton_store_refusals", registry.refused_commands.get(reason, 0), (reason,))
    keys = registry.idempotency_keys
    yield Reading("tekton_idempotency_keys", len(keys))
    for outcome in get_args(Repeat):
        yield Reading("tekton_idempotency_repeats", keys.repeats[outcome], (outcome,))


def feed(registry: ComponentRegistry) -> Iterator[Reading]:
    """Who watches the changes. O(watchers)."""
    lags = registry.feed.lags
    yield Reading("tekton_feed_changes", registry.feed.published)
    yield Reading("tekton_feed_subscribers", len(lags))
    yield Reading("tekton_feed_lag", max(lags, default=0))
    yield Reading("tekton_feed_resets", registry.feed.fell_behind)


def audit(auditing: Auditing, clock: Clock) -> Iterator[Reading]:
    """How far the audit log has come, and how far it is signed."""
    log, heads = auditing.log, auditing.heads
    yield Reading("tekton_audit_entries", log.head.seq)
    yield Reading("tekton_audit_open_intents", log.open_intents)
    yield Reading("tekton_audit_entries_unsigned", heads.unsigned)
    yield Reading("tekton_audit_head_age", max(0.0, clock.time() - heads.signed_at))
