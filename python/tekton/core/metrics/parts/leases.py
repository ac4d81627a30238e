"""Heartbeats, leases, and the clocks behind them."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, Alert, Described, about

PART: Final = "Heartbeats and leases"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_heartbeats",
        COUNTER,
        "Heartbeats that counted.",
        "It should be the number of components divided by the interval. A dip is the network, or a busy control plane.",
    ),
    about(
        PART,
        "tekton_leases",
        GAUGE,
        "Instances that have a lease, which their heartbeats renew.",
        "As many instances would be missed if they fell silent.",
    ),
    about(
        PART,
        "tekton_leases_expired",
        COUNTER,
        "Instances that failed because nothing was heard of them.",
        "They hang, were killed, or cannot reach the control plane.",
    ),
    about(
        PART,
        "tekton_components_suspected",
        GAUGE,
        "Components whose lease ran out together with many others.",
        "Perhaps it is the control plane or its network: nothing is restarted until that is clear.",
        alert=Alert(
            name="TektonSuspectsItself",
            when="tekton_components_suspected > 0",
            lasting="1m",
            severity="critical",
            summary=(
                "{{ $value }} components fell silent at once: look at the network of the control plane; "
                "nothing is restarted until that is clear"
            ),
            see="faults.md",
        ),
    ),
    about(
        PART,
        "tekton_lease_storms",
        COUNTER,
        "How often so many fell silent together that the control plane suspected itself.",
        "Its network, its machine, or a switch between it and everybody.",
    ),
    about(
        PART,
        "tekton_stale_commands",
        COUNTER,
        "Commands of instances that do not hold their id (any more), which were refused.",
        "Somebody was replaced and does not know; or two programs use one id.",
        alert=Alert(
            name="TektonStaleInstances",
            when="increase(tekton_stale_commands_total[10m]) > 20",
            lasting="0m",
            severity="warning",
            summary=(
                "An instance that was replaced goes on as if it were not: find who uses the same id twice in "
                "`tekton events`"
            ),
        ),
    ),
    about(
        PART,
        "tekton_clock_jumps",
        COUNTER,
        "How often the machine was suspended (`suspended`), or its wall clock set (`forward`, `back`); "
        "noticed while somebody has a lease.",
        "It moves no lease and no timeout, but explains gaps in graphs and logs.",
        labels=("kind",),
    ),
)
