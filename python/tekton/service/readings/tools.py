"""The readings of tools: how many there are, and how calls of them end."""

from collections.abc import Iterator

from tekton.core.metrics.metrics import Reading
from tekton.service.tools import ComponentTools


def component_tools(tools: ComponentTools) -> Iterator[Reading | None]:
    """What is offered now, and what was called. O(tools that were called)."""
    yield Reading("tekton_tools", len(tools.registry))
    yield from tools.meter.read()
