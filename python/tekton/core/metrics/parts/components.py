"""Components and their processes."""

from typing import Final

from tekton.core.metrics.described import GAUGE, Alert, Described, about

PART: Final = "Components"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_components",
        GAUGE,
        "Registered components by state; of several instances the best one counts.",
        "The first thing to look at: what is failed, and what is not ready yet.",
        labels=("state",),
        alert=Alert(
            name="TektonComponentFailed",
            when='tekton_components{state="failed"} > 0',
            lasting="2m",
            severity="critical",
            summary="{{ $value }} components have failed: `tekton ps` names them, `tekton why` says why",
        ),
    ),
    about(
        PART,
        "tekton_components_flapping",
        GAUGE,
        "Components that fail and come back again and again.",
        "They are named last in discovery, and restarted slowly.",
    ),
)
