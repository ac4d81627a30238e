"""Starts, restarts and ends of the components that Tekton runs."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "Supervision"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_starts",
        COUNTER,
        "Starts that have ended, by what they came to (`up`, `cancelled`, `dependency`, `timeout`, `failed`).",
        "What did not come up, and why. Restarts are starts too.",
        labels=("outcome",),
        alert=Alert(
            name="TektonStartsFail",
            when='sum(increase(tekton_starts_total{outcome=~"timeout|failed"}[10m])) > 3',
            lasting="0m",
            severity="warning",
            summary="Components do not come up: `tekton ps` names them, `tekton why` and `tekton logs` say why",
            see="reference/start-up.md",
        ),
    ),
    about(
        PART,
        "tekton_start_duration",
        HISTOGRAM,
        "How long the starts took that ended well, waiting for dependencies included.",
        "What a start, and so a restart, takes. `tekton critical-path` says who makes it long.",
        unit="seconds",
        buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
    ),
    about(
        PART,
        "tekton_starts_running",
        GAUGE,
        "Components and replicas that are being started.",
        "It should go back to 0; what stays waits for something.",
    ),
    about(
        PART,
        "tekton_starts_waiting_for_room",
        GAUGE,
        "Starts that wait for room on the machine (`constraints`).",
        "They begin when there is room, and fail after their timeout.",
        alert=Alert(
            name="TektonNoRoom",
            when="tekton_starts_waiting_for_room > 0",
            lasting="5m",
            severity="warning",
            summary=(
                "Starts wait for room on the machine: `tekton ps` says for what. Stop something, or lower the "
                "constraints"
            ),
            see="reference/resources.md",
        ),
    ),
    about(
        PART,
        "tekton_component_replicas",
        GAUGE,
        "Replicas of a supervised component that are to be up; 0 for one that is stopped.",
        "To be compared with the next one.",
        labels=("component",),
    ),
    about(
        PART,
        "tekton_component_replicas_ready",
        GAUGE,
        "Those of them that can be used.",
        "Fewer than are to be up: the rest is starting, or does not come up.",
        labels=("component",),
        alert=Alert(
            name="TektonReplicasMissing",
            when="tekton_component_replicas_ready < tekton_component_replicas",
            lasting="5m",
            severity="critical",
            summary="{{ $labels.component }} is not up, or not with all replicas: `tekton why {{ $labels.component }}`",
        ),
    ),
    about(
        PART,
        "tekton_restarts",
        COUNTER,
        "Restarts that nobody asked for, by component and cause: it failed while it was usable "
        "(`failure`), its start failed (`start`), it ended by itself (`end`), the store had refused its "
        "start (`store`), a dependency is there again (`dependency`).",
        "A system at rest has none.",
        labels=("component", "cause"),
        alert=Alert(
            name="TektonRestartsComponents",
            when="sum by (component) (increase(tekton_restarts_total[10m])) > 5",
            lasting="0m",
            severity="warning",
            summary=(
                "{{ $labels.component }} is restarted again and again: `tekton why {{ $labels.component }}`, "
                "`tekton logs {{ $labels.component }}`"
            ),
        ),
    ),
    about(
        PART,
        "tekton_restarts_waiting",
        GAUGE,
        "Restarts that are due, and wait for their time.",
        "The pause grows with each failure. `tekton ps` says when.",
    ),
    about(
        PART,
        "tekton_restarts_given_up",
        COUNTER,
        "How often a component was given up after its last permitted restart.",
        "It stays failed until somebody starts it.",
        alert=Alert(
            name="TektonGaveUp",
            when="increase(tekton_restarts_given_up_total[15m]) > 0",
            lasting="0m",
            severity="critical",
            summary="A component was given up: find the cause with `tekton why`, then `tekton start` it",
        ),
    ),
    about(
        PART,
        "tekton_components_given_up",
        GAUGE,
        "Components that are given up now.",
        "Nothing restarts them but somebody who starts them.",
    ),
    about(
        PART,
        "tekton_component_restarts_left",
        GAUGE,
        "Restarts that a component, or a replica, has left until it is given up; only of those that have used some.",
        "It is full again after a while of good health (`reset_after`).",
        labels=("component",),
    ),
    about(
        PART,
        "tekton_component_exits",
        COUNTER,
        "Processes that have ended, by component and how: exit code 0 (`clean`), another one (`error`), a "
        "signal (`signal`), killed at its memory limit (`memory`), or because they were asked to "
        "(`stopped`).",
        "A process that does its work does not end.",
        labels=("component", "how"),
        alert=Alert(
            name="TektonOutOfMemory",
            when='increase(tekton_component_exits_total{how="memory"}[15m]) > 0',
            lasting="0m",
            severity="warning",
            summary=(
                "{{ $labels.component }} needed more memory than its limit, and was killed: raise the limit, "
                "or find the leak"
            ),
            see="components.md",
        ),
    ),
    about(
        PART,
        "tekton_probe_failures",
        COUNTER,
        "Bad or missing answers of usable components to probes and health checks, by component and role "
        "(`ready`, `liveness`, `check`).",
        "Some in a row make it degraded, take its traffic away, or restart it.",
        labels=("component", "role"),
    ),
    about(
        PART,
        "tekton_drains",
        COUNTER,
        "How often traffic was taken away from a component before it was stopped.",
        "As many as there were orderly stops of components with `drain`.",
    ),
    about(
        PART,
        "tekton_component_logs_not_kept",
        GAUGE,
        "Running processes whose output is not kept: their log cannot be written.",
        "The next start tries again; `tekton ps` names them.",
        alert=Alert(
            name="TektonLogsNotKept",
            when="tekton_component_logs_not_kept > 0",
            lasting="5m",
            severity="warning",
            summary=(
                "The output of {{ $value }} processes is not kept: look at the disk with the data directory, "
                "then restart them"
            ),
            see="operations.md#logs",
        ),
    ),
)
