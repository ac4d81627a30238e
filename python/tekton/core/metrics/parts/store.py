"""The registry, its store, its change feed, and the audit log."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "Registry and store"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_registry_revision",
        GAUGE,
        "The revision of the newest change. Revisions have gaps.",
        "A line that rises steeply is somebody who registers or changes states all the time.",
    ),
    about(
        PART,
        "tekton_store_batch_duration",
        HISTOGRAM,
        "How long it took to make a batch of changes durable, fsync included.",
        "Every registration waits for one or two of these: the disk sets the pace.",
        unit="seconds",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
        alert=Alert(
            name="TektonStoreSlow",
            when="histogram_quantile(0.9, rate(tekton_store_batch_duration_seconds_bucket[10m])) > 0.25",
            lasting="10m",
            severity="warning",
            summary=(
                "The disk takes long to make changes durable: find who else writes to it, or move the data directory"
            ),
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_store_batch_changes",
        HISTOGRAM,
        "Changes of components in a batch.",
        "The more there is to do, the larger the batches; 512 is the most.",
        buckets=(0, 1, 4, 16, 64, 256, 512),
    ),
    about(
        PART,
        "tekton_store_full",
        GAUGE,
        "1 while the store refuses changes for want of space.",
        "What is there is served and watched on; nothing can be changed until there is room.",
        alert=Alert(
            name="TektonDiskFull",
            when="tekton_store_full == 1",
            lasting="0m",
            severity="critical",
            summary=(
                "The disk with the data directory is full and changes are refused: make room, nothing has to "
                "be restarted"
            ),
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_audit_entries",
        COUNTER,
        "Entries of the audit log, since it began.",
        "It grows with every change that somebody makes. See the audit log for who.",
    ),
    about(
        PART,
        "tekton_store_commands_waiting",
        GAUGE,
        "Commands and observations that wait for the store.",
        "Beyond a few hundred the disk does not keep up; beyond a bound they are refused.",
    ),
    about(
        PART,
        "tekton_store_refusals",
        COUNTER,
        "Commands that were refused: too many wait (`busy`), no room (`full`), somebody else holds the "
        "database (`locked`), the store has stopped (`unknown`).",
        "Each is a registration, a change or a start that was not done.",
        labels=("reason",),
        alert=Alert(
            name="TektonStoreRefuses",
            when="sum by (reason) (increase(tekton_store_refusals_total[5m])) > 0",
            lasting="5m",
            severity="critical",
            summary="Changes are refused ({{ $labels.reason }}): `GET /api/ready` and `tekton logs tekton` say why",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_store_unwitnessed",
        COUNTER,
        "Batches that were stored, but whose witness could not be written for want of room.",
        "Until the next one that is, a loss of exactly these would not be noticed.",
    ),
    about(
        PART,
        "tekton_data_size",
        GAUGE,
        "Bytes in the data directory, looked at once per interval: the `database`, its `log`, the `history`, the "
        "`messages` of streams, the `work` of agents, the `logs` of components, the signed `audit` heads.",
        "What fills the disk.",
        unit="bytes",
        labels=("part",),
        alert=Alert(
            name="TektonStoreLogLong",
            when='tekton_data_size_bytes{part="log"} > 2.68e8',
            lasting="10m",
            severity="warning",
            summary=(
                "The log of the database has grown beyond 256 MiB: a reader keeps it, whom logs/tekton.log "
                "names; end it"
            ),
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_feed_changes",
        COUNTER,
        "Changes of the registry that were published.",
        "What watchers have to keep up with.",
    ),
    about(
        PART,
        "tekton_feed_subscribers",
        GAUGE,
        "Watchers of the changes: event streams, sockets, and parts of Tekton itself.",
        "Each is a position in the feed.",
    ),
    about(
        PART,
        "tekton_feed_lag",
        GAUGE,
        "How many changes the slowest watcher has still to read.",
        "At 100,000 it has fallen behind, and begins anew with a snapshot.",
    ),
    about(
        PART,
        "tekton_feed_resets",
        COUNTER,
        "How often a watcher had fallen behind, or came back with a position that is not known any more.",
        "It gets a snapshot: expensive with many components.",
        alert=Alert(
            name="TektonWatchersFallBehind",
            when="increase(tekton_feed_resets_total[10m]) > 50",
            lasting="0m",
            severity="warning",
            summary=(
                "Watchers cannot keep up, or come back too late again and again, and are given all of the system anew"
            ),
            see="reference/websocket-and-events.md",
        ),
    ),
    about(
        PART,
        "tekton_idempotency_keys",
        GAUGE,
        "Idempotency keys that are remembered.",
        "They live for a day; at 100,000 new ones are refused.",
        alert=Alert(
            name="TektonIdempotencyKeys",
            when="tekton_idempotency_keys > 90000",
            lasting="5m",
            severity="warning",
            summary=(
                "Nearly as many idempotency keys are remembered as can be (100,000): somebody sends more than "
                "one change a second with a key"
            ),
            see="reference/http-api.md",
        ),
    ),
    about(
        PART,
        "tekton_idempotency_repeats",
        COUNTER,
        "Requests that came again with their key: answered as before (`answered`), still under way "
        "(`running`), other than the first (`other`), of unknown outcome (`unknown`).",
        "Retries that were harmless, and keys that are used wrongly.",
        labels=("outcome",),
    ),
    about(
        PART,
        "tekton_audit_entries_unsigned",
        GAUGE,
        "Entries of the audit log that no signed head vouches for yet.",
        "A head is signed every minute, if there are new entries.",
        alert=Alert(
            name="TektonAuditUnsigned",
            when="tekton_audit_entries_unsigned > 0 and tekton_audit_head_age_seconds > 300",
            lasting="5m",
            severity="warning",
            summary="The audit log is not signed any more: the file with the heads cannot be written, the log says why",
            see="reference/audit.md#signed-heads",
        ),
    ),
    about(
        PART,
        "tekton_audit_head_age",
        GAUGE,
        "Seconds since the newest head of the audit log was signed, or since the start.",
        "It grows while nothing is entered, too: look at the one above.",
        unit="seconds",
    ),
    about(
        PART,
        "tekton_audit_open_intents",
        GAUGE,
        "Operations that the audit log says were about to be done, and that are not over.",
        "Starts, stops and kills that go on now.",
    ),
)
