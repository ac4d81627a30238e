"""Tools of components that are called through the control plane."""

from typing import Final

from tekton.core.metrics.described import COUNTER, GAUGE, HISTOGRAM, Alert, Described, about

PART: Final = "Tools"

CALL_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""The bounds between which calls are counted."""

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_tools",
        GAUGE,
        "Tools that components offer at the moment.",
        "Fewer than usual: a component that offers some cannot be used (`tekton tool ls`, `tekton ps`).",
    ),
    about(
        PART,
        "tekton_tool_calls",
        COUNTER,
        "Calls of tools that are over, by what came of them: `ok`, `refused` (arguments or caller), `failed`, "
        "`timeout`, `busy` (too many at once), `cancelled` (the caller has gone). After 300 tools the others are one, "
        "`other`.",
        "Which tool is called how often, and which one fails.",
        labels=("tool", "outcome"),
        panel='sum by (tool, outcome) (rate(tekton_tool_calls_total{outcome!="ok"}[5m]))',
        alert=Alert(
            name="TektonToolFails",
            when='sum by (tool) (rate(tekton_tool_calls_total{outcome=~"failed|timeout"}[5m])) > 0.1',
            lasting="5m",
            severity="warning",
            summary="Calls of {{ $labels.tool }} fail: the log of its component says why",
            see="components.md#tools",
        ),
    ),
    about(
        PART,
        "tekton_tool_call_duration",
        HISTOGRAM,
        "Time from the beginning of a call of a tool to its end.",
        "Slow tools. Its count is the number of calls.",
        unit="seconds",
        labels=("tool",),
        buckets=CALL_SECONDS,
    ),
    about(
        PART,
        "tekton_tool_calls_in_progress",
        GAUGE,
        "Calls of tools that are under way.",
        "Ever more: a component takes its time, or hangs.",
    ),
)
