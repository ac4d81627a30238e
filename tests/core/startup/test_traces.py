"""A start is a trace."""

import asyncio
from collections.abc import Awaitable, Callable

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.readiness import ReadinessCondition
from tekton.core.startup_coordinator import EnhancedStartUpCoordinator
from tekton.core.tracing import Span, Tracer
from tekton.core.tracing.summary import in_tree_order
from tekton.testing import current_clock, virtual_time
from tekton.utils.trace_context import CURRENT, TraceContext


def takes(seconds: float) -> Callable[[], Awaitable[bool]]:
    async def work() -> bool:
        await asyncio.sleep(seconds)
        return True

    return work


def shown(spans: list[Span]) -> list[tuple[int, str, float]]:
    return [(one.depth, one.name, round(one.duration, 6)) for one in in_tree_order(spans)]


class System:
    """A coordinator whose spans are kept."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.spans: list[Span] = []
        self.tracer = Tracer("tekton", self.spans.append, clock=current_clock())
        self.coordinator = EnhancedStartUpCoordinator(registry, clock=current_clock(), tracer=self.tracer)

    async def add(self, name: str, start: Callable[[], Awaitable[object]], **options: object) -> None:
        await self.coordinator.register_component_handler(name, start, **options)  # type: ignore[arg-type]


@virtual_time
async def test_each_part_of_a_start_is_a_span(inline_registry: ComponentRegistry) -> None:
    system = System(inline_registry)
    await system.add(
        "hermes",
        takes(2.0),
        admission=[ReadinessCondition("room", takes(1.0))],
        readiness=[ReadinessCondition("warm", takes(3.0))],
    )

    await system.coordinator.start_component("hermes")

    assert shown(system.spans) == [
        (0, "start hermes", 6.0), (1, "admission", 1.0), (1, "start function", 2.0), (1, "wait for warm", 3.0),
    ]  # fmt: skip
    assert {one.component for one in system.spans} == {"tekton"}
    assert system.spans[-1].attributes == {"tekton.component": "hermes", "tekton.forced": False}


@virtual_time
async def test_those_that_are_started_together_are_one_trace_with_what_each_waited_for(
    inline_registry: ComponentRegistry,
) -> None:
    system = System(inline_registry)
    await system.add("hermes", takes(2.0))
    await system.add("rhetor", takes(1.0), dependencies=["hermes"])

    with system.tracer.begin("start the system"):
        await system.coordinator.start_components()

    assert shown(system.spans) == [
        (0, "start the system", 3.0),
        (1, "start rhetor", 3.0), (2, "wait for dependencies", 2.0), (2, "start function", 1.0),
        (1, "start hermes", 2.0), (2, "start function", 2.0),
    ]  # fmt: skip


@virtual_time
async def test_a_start_that_fails_says_why(inline_registry: ComponentRegistry) -> None:
    async def fail() -> None:
        raise RuntimeError("boom")

    system = System(inline_registry)
    await system.add("hermes", fail)

    await system.coordinator.start_components()

    assert [(one.name, one.status) for one in system.spans] == [("start function", "unset"), ("start hermes", "error")]
    assert "boom" in system.spans[-1].message


@virtual_time
async def test_what_is_started_knows_in_which_trace(inline_registry: ComponentRegistry) -> None:
    seen: list[TraceContext | None] = []

    async def start() -> None:
        seen.append(CURRENT.get())

    system = System(inline_registry)
    await system.add("hermes", start)
    await system.coordinator.start_component("hermes")

    [known], start_function = seen, system.spans[0]
    assert known is not None
    assert (known.trace_id, known.span_id) == (start_function.trace_id, start_function.span_id)
    assert CURRENT.get() is None
