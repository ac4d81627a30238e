"""The process of the control plane. The names are those that every program with prometheus-client has."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, Alert, Described, about

PART: Final = "The process"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "process_cpu",
        COUNTER,
        "CPU time of the control plane, user and system.",
        "Its rate is the share of a core; near 1 it cannot do more.",
        unit="seconds",
    ),
    about(
        PART,
        "process_resident_memory",
        GAUGE,
        "Memory of the control plane that is resident.",
        "It grows with the number of components and stays; what grows for days is a leak.",
        unit="bytes",
    ),
    about(
        PART,
        "process_open_fds",
        GAUGE,
        "Open file descriptors.",
        "Each connection is one. At the limit nobody can connect.",
    ),
    about(
        PART,
        "process_max_fds",
        GAUGE,
        "Most file descriptors that may be open.",
        "The limit of the line above.",
        alert=Alert(
            name="TektonFileDescriptors",
            when="process_open_fds / process_max_fds > 0.8 and on (instance) tekton_ready",
            lasting="5m",
            severity="warning",
            summary=(
                "The control plane is running out of file descriptors: raise `ulimit -n`, or find who holds "
                "so many connections"
            ),
            see="reference/http-api.md#limits",
        ),
    ),
    about(
        PART,
        "process_start_time",
        GAUGE,
        "When the control plane was started, in seconds since the Unix epoch.",
        "`time() - process_start_time_seconds` is its age.",
        unit="seconds",
        panel="time() - process_start_time_seconds",
    ),
)
