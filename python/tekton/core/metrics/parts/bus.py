"""The message bus: what is published, who listens, and what streams keep."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "Messages"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_bus_messages",
        COUNTER,
        "Messages that were published on the bus, those that streams keep and Tekton's own included.",
        "How much the components say to each other.",
    ),
    about(
        PART,
        "tekton_bus_subscriptions",
        GAUGE,
        "Subscriptions to subjects, and queue groups: on sockets, on event streams, and in Tekton itself.",
        "One that grows without an end: somebody subscribes and never leaves. There may be 100,000.",
    ),
    about(
        PART,
        "tekton_bus_messages_lost",
        COUNTER,
        "Messages that subscribers were too slow for, what waited for those that were cut included.",
        "They were told how many. Who must miss nothing reads a stream.",
    ),
    about(
        PART,
        "tekton_bus_slow_consumers",
        COUNTER,
        "Subscriptions that were ended because their subscriber did not keep up.",
        "Its connection ends, too; it comes back, and resumes if it can.",
        alert=Alert(
            name="TektonSlowConsumers",
            when="increase(tekton_bus_slow_consumers_total[10m]) > 10",
            lasting="0m",
            severity="warning",
            summary=(
                "Subscribers do not keep up and are cut again and again: have them subscribe to less, or read a stream"
            ),
            see="reference/websocket-and-events.md",
        ),
    ),
    about(
        PART,
        "tekton_bus_held",
        GAUGE,
        "Bytes of messages that the bus has in memory for those who have not read them yet, or may come back.",
        "Each subscriber holds 1 MiB at most; then it is dealt with as its policy says.",
        unit="bytes",
    ),
    about(
        PART,
        "tekton_streams_available",
        GAUGE,
        "1 while streams take messages, 0 when `bus.db` cannot be used (`tekton logs tekton` says why).",
        "What a stream would take is refused meanwhile.",
        alert=Alert(
            name="TektonStreamsDown",
            when="tekton_streams_available == 0",
            lasting="0m",
            severity="critical",
            summary="`bus.db` cannot be used, and what streams would take is refused: `tekton logs tekton` says why",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_streams_full",
        GAUGE,
        "1 while streams refuse messages for want of space.",
        "It ends by itself when there is room.",
        alert=Alert(
            name="TektonStreamsFull",
            when="tekton_streams_full == 1",
            lasting="1m",
            severity="critical",
            summary="The disk is full and streams refuse messages: make room, nothing has to be restarted",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_streams_waiting",
        GAUGE,
        "Messages that wait for the disk.",
        "At 8,192 publishers are held up, and refused after five seconds.",
    ),
    about(
        PART,
        "tekton_streams_commit_duration",
        HISTOGRAM,
        "How long it took to have a batch of messages on the disk, fsync included.",
        "Every publisher of a stream waits for one of these.",
        unit="seconds",
        buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
    ),
    about(
        PART,
        "tekton_stream_published",
        COUNTER,
        "The number of the newest message of a stream: how many it has ever taken.",
        "A rate of nothing: its publishers are gone.",
        labels=("stream",),
    ),
    about(
        PART,
        "tekton_stream_messages",
        GAUGE,
        "Messages that a stream has.",
        "At its limit the oldest go, read or not.",
        labels=("stream",),
    ),
    about(
        PART,
        "tekton_stream_size",
        GAUGE,
        "What they take, as JSON.",
        "The same in bytes.",
        unit="bytes",
        labels=("stream",),
    ),
    about(
        PART,
        "tekton_stream_dropped",
        COUNTER,
        "Messages that the limits of a stream have dropped since the control plane started, at most.",
        "The stream is at its limit. Whether somebody missed them, `tekton_consumer_lost_total` says.",
        labels=("stream",),
    ),
    about(
        PART,
        "tekton_consumer_waiting",
        GAUGE,
        "Messages that are stored for a consumer and were not handed out yet; with a filter, of the next 10,000.",
        "It grows: those who work on it are gone, or too few.",
        labels=("stream", "consumer"),
        alert=Alert(
            name="TektonConsumerLags",
            when="tekton_consumer_waiting > 1000 and delta(tekton_consumer_waiting[30m]) > 0",
            lasting="30m",
            severity="warning",
            summary=(
                "{{ $labels.consumer }} of the stream {{ $labels.stream }} falls behind: look whether those who work "
                "on it run, and have more of them"
            ),
            see="reference/http-api.md#get-apistreams",
        ),
    ),
    about(
        PART,
        "tekton_consumer_in_flight",
        GAUGE,
        "Messages that were handed out to a consumer and are not acknowledged.",
        "At its limit (`max_in_flight`) it gets no more.",
        labels=("stream", "consumer"),
    ),
    about(
        PART,
        "tekton_consumer_redelivered",
        COUNTER,
        "Messages that were handed out again: given back, or not acknowledged in time.",
        "Who works on them fails, dies, or takes longer than `ack_wait`.",
        labels=("stream", "consumer"),
    ),
    about(
        PART,
        "tekton_consumer_dead_letters",
        COUNTER,
        "Messages that were given up: handed out too often, or rejected.",
        "They lie in the stream `dead_letters`, each with the reason.",
        labels=("stream", "consumer"),
        alert=Alert(
            name="TektonDeadLetters",
            when="increase(tekton_consumer_dead_letters_total[10m]) > 0",
            lasting="0m",
            severity="warning",
            summary=(
                "{{ $labels.consumer }} gives up messages of {{ $labels.stream }}: the stream dead_letters says which "
                "and why"
            ),
            see="reference/http-api.md#get-apistreamsnamemessages",
        ),
    ),
    about(
        PART,
        "tekton_consumer_lost",
        COUNTER,
        "Messages that the limits of the stream have dropped before a consumer was done with them, at most.",
        "Work is lost for good: the stream is too small, or those who work on it are gone, or too few.",
        labels=("stream", "consumer"),
        alert=Alert(
            name="TektonWorkLost",
            when="increase(tekton_consumer_lost_total[10m]) > 0",
            lasting="0m",
            severity="warning",
            summary=(
                "The limits of the stream {{ $labels.stream }} drop messages before {{ $labels.consumer }} is done "
                "with them: raise them, or have more of those who work on it"
            ),
            see="concepts/messages.md#work-that-must-be-done",
        ),
    ),
)
