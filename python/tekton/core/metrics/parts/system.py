"""The control plane itself, and its metrics."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "The system"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_build_info",
        GAUGE,
        "Always 1; the labels tell what runs.",
        "Which version runs where; a graph that changes its shape may be due to an upgrade.",
        labels=("version", "python"),
        alert=Alert(
            name="TektonGone",
            when="absent(tekton_build_info)",
            lasting="1m",
            severity="critical",
            summary="No control plane answers: `tekton up`; logs/tekton.log says how it ended",
            see="operations.md#stopping",
        ),
    ),
    about(
        PART,
        "tekton_incarnation",
        GAUGE,
        "How often the control plane has been started on this data directory.",
        "It grows with every start: one that nobody asked for is a crash.",
        alert=Alert(
            name="TektonRestarted",
            when="changes(tekton_incarnation[15m]) > 2",
            lasting="0m",
            severity="warning",
            summary=(
                "The control plane has been started more than twice within a quarter of an hour: "
                "logs/tekton.log says why it ended"
            ),
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_ready",
        GAUGE,
        "1 while the control plane takes requests, 0 while it does not (GET /api/ready).",
        "At 0 nobody can register or be started: the store is full or has stopped, or the system is being stopped.",
        alert=Alert(
            name="TektonNotReady",
            when="tekton_ready == 0",
            lasting="1m",
            severity="critical",
            summary="The control plane takes no requests: `GET /api/ready` gives the reason",
            see="operations.md#when-the-disk-fails",
        ),
    ),
    about(
        PART,
        "tekton_event_loop_lag",
        HISTOGRAM,
        "How long the busy event loop took to give a sign of life.",
        "Everybody waits for this time. An idle loop is not asked, so few counts mean little to do.",
        unit="seconds",
        buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
    ),
    about(
        PART,
        "tekton_event_loop_blocks",
        COUNTER,
        "How often the event loop was found blocked for longer than stall_threshold.",
        "The log says each time in which function.",
        alert=Alert(
            name="TektonEventLoopBlocked",
            when="increase(tekton_event_loop_blocks_total[10m]) > 3",
            lasting="0m",
            severity="warning",
            summary=(
                "The event loop of the control plane is blocked again and again; its log says by what: "
                "`tekton logs tekton`"
            ),
        ),
    ),
    about(
        PART,
        "tekton_metrics_label_sets_refused",
        COUNTER,
        "How often a label set of a metric was one too many and was counted as overflow.",
        "Some label has far more values than a label should; the metric that is named counts them together.",
        labels=("metric",),
        alert=Alert(
            name="TektonMetricOverflow",
            when="increase(tekton_metrics_label_sets_refused_total[1h]) > 0",
            lasting="0m",
            severity="warning",
            summary=(
                "The metric {{ $labels.metric }} has more label sets than are told apart: take the label away "
                "that grows"
            ),
            see="reference/metrics.md",
        ),
    ),
    about(
        PART,
        "tekton_metrics_reader_failures",
        COUNTER,
        "How often a part of the metrics could not be read.",
        "Some metrics stand still or are missing; the log says why.",
    ),
)
