"""Who serves capabilities that have fallbacks."""

from typing import Final

from tekton.core.metrics.described import GAUGE, Alert, Described, about

PART: Final = "Degradation"

METRICS: Final[tuple[Described, ...]] = (
    about(
        PART,
        "tekton_capability_service",
        GAUGE,
        "1 for the way in which a capability that has fallbacks is served now: by those that offer it "
        "(`normal`), by a fallback (`fallback`), by nobody (`unavailable`); 0 for the others.",
        "What callers get at the moment.",
        labels=("capability", "state"),
        panel='tekton_capability_service{state!="normal"}',
        alert=Alert(
            name="TektonCapabilityUnavailable",
            when='tekton_capability_service{state="unavailable"} == 1',
            lasting="1m",
            severity="critical",
            summary="Nobody serves {{ $labels.capability }}, not even a fallback: `tekton ps` says who has failed",
            see="concepts/degradation.md",
        ),
    ),
)
