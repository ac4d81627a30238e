"""Every metric that the control plane exposes: the one list, put together from `parts`.

The reference, the dashboard and the alert rules are made from it (`python tests/docs/metrics_page.py`), and a test
fails when a running control plane exposes another one. What reads them is `service/metering.py` and `service/readings`.
"""

from typing import Final

from tekton.core.metrics.described import Described
from tekton.core.metrics.parts import (
    agent2agent,
    bus,
    components,
    degradation,
    http,
    leases,
    process,
    resources,
    security,
    store,
    supervision,
    system,
    telemetry,
    tools,
    work,
)
from tekton.core.metrics.parts.http import REQUEST_SECONDS

__all__ = ["METRICS", "REQUEST_SECONDS", "Described"]

METRICS: Final[tuple[Described, ...]] = (
    *system.METRICS,
    *components.METRICS,
    *supervision.METRICS,
    *leases.METRICS,
    *degradation.METRICS,
    *tools.METRICS,
    *work.METRICS,
    *agent2agent.METRICS,
    *store.METRICS,
    *http.METRICS,
    *bus.METRICS,
    *security.METRICS,
    *resources.METRICS,
    *telemetry.METRICS,
    *process.METRICS,
)
