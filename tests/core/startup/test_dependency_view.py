"""Tests of tekton.core.startup.dependency_view: how dependencies stand, and what is said about it."""

from collections.abc import Sequence
from typing import Any

import pytest

from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.healthcheck import Health
from tekton.core.dependency import Condition, Dependency
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.startup.dependency_view import DependencyView
from tekton.core.startup.failures import StartFailures
from tekton.core.startup.start_plan import COMPLETED, Handler, Standing, as_dependencies
from tekton.core.units import Units
from tekton.utils.tekton_errors import ComponentError, DependencyError

REGISTERING, INITIALIZING, STARTING, READY, DEGRADED, FAILED, STOPPING, STOPPED = list(ComponentState)[1:]

TO_STARTING = (INITIALIZING, STARTING)
WAYS = {
    REGISTERING: (),
    INITIALIZING: (INITIALIZING,),
    STARTING: TO_STARTING,
    READY: (*TO_STARTING, READY),
    DEGRADED: (*TO_STARTING, DEGRADED),
    FAILED: (FAILED,),
    STOPPING: (*TO_STARTING, READY, STOPPING),
    STOPPED: (*TO_STARTING, READY, STOPPING, STOPPED),
}
"""The states that a new component goes through to be in one."""


class World:
    """A view, and what it reads."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.handlers: dict[str, Handler] = {}
        self.failures = StartFailures()
        self.in_flight: set[str] = set()
        self.passed_over: dict[str, list[str]] = {}
        self.view = DependencyView(
            registry,
            self.handlers,
            self.failures,
            Units(registry),
            self.in_flight.__contains__,
            passed_over=lambda unit: self.passed_over.get(unit, ()),
        )

    def handle(self, name: str, *dependencies: str | Dependency) -> Handler:
        self.handlers[name] = Handler(name, dependencies=as_dependencies(dependencies))
        return self.handlers[name]

    async def register(
        self,
        name: str,
        state: ComponentState = REGISTERING,
        *,
        reason: str | None = None,
        dependencies: Sequence[str] = (),
    ) -> None:
        one = ComponentRegistration(component_id=name, dependencies=tuple(dependencies))
        await self.registry.register(one)
        for step in WAYS[state]:
            await self.registry.set_state(name, one.instance_uuid, step, reason if step is state else None)


@pytest.fixture
def world(inline_registry: ComponentRegistry) -> World:
    return World(inline_registry)


# How one dependency stands.


@pytest.mark.parametrize(
    ("condition", "met", "awaited"),
    [
        ("ready", {READY, DEGRADED}, {REGISTERING, INITIALIZING, STARTING}),
        ("started", {READY, DEGRADED, STARTING}, {REGISTERING, INITIALIZING}),
        ("completed", set(), {REGISTERING, INITIALIZING, STARTING, READY, DEGRADED, STOPPING}),
    ],
)
async def test_how_a_dependency_stands_follows_from_its_state(
    world: World, condition: Condition, met: set[ComponentState], awaited: set[ComponentState]
) -> None:
    for state in WAYS:
        await world.register(state.value, state)

    standings = {state: world.view.standing(Dependency(state.value, condition)).verdict for state in WAYS}

    assert {state for state, verdict in standings.items() if verdict == "met"} == met
    assert {state for state, verdict in standings.items() if verdict == "awaited"} == awaited
    assert {state for state, verdict in standings.items() if verdict == "failed"} == set(WAYS) - met - awaited


async def test_what_is_met_or_awaited_needs_no_reason(world: World) -> None:
    await world.register("hermes", READY)
    await world.register("engram")

    assert world.view.standing(Dependency("hermes")) == Standing("met")
    assert world.view.standing(Dependency("engram")) == Standing("awaited")


@pytest.mark.parametrize("state", [FAILED, STOPPED, STOPPING])
async def test_whoever_is_being_started_is_awaited_whatever_its_last_instance_did(
    world: World, state: ComponentState
) -> None:
    await world.register("hermes", state)
    world.in_flight |= {"hermes", "engram"}

    assert world.view.standing(Dependency("hermes")) == Standing("awaited")
    assert world.view.standing(Dependency("engram")) == Standing("awaited")


async def test_a_usable_dependency_is_met_even_while_it_is_being_started(world: World) -> None:
    await world.register("hermes", READY)
    world.in_flight.add("hermes")

    assert world.view.standing(Dependency("hermes", "ready")) == Standing("met")
    assert world.view.standing(Dependency("hermes", "started")) == Standing("met")


async def test_a_one_shot_has_completed_until_it_is_run_again(world: World) -> None:
    await world.register("migrate", STOPPED, reason=COMPLETED)
    assert world.view.standing(Dependency("migrate", "completed")) == Standing("met")

    world.in_flight.add("migrate")

    assert world.view.standing(Dependency("migrate", "completed")) == Standing("awaited")


# Why one has failed.


@pytest.mark.parametrize(
    ("state", "reason", "why"),
    [
        (FAILED, None, "hermes failed"),
        (FAILED, "out of memory", "hermes failed (out of memory)"),
        (STOPPING, None, "hermes is stopping"),
        (STOPPED, "stopped", "hermes is stopped (stopped)"),
    ],
)
async def test_a_dependency_that_was_there_has_failed_for_its_own_reason(
    world: World, state: ComponentState, reason: str | None, why: str
) -> None:
    await world.register("hermes", state, reason=reason)
    world.handle("hermes")
    # What is registered is newer than what the last start failed with.
    world.failures.note("hermes", ComponentError("hermes", "boom"))

    assert world.view.standing(Dependency("hermes")) == Standing("failed", why)


def test_a_dependency_that_was_never_registered_has_failed_for_want_of_a_start(world: World) -> None:
    world.handle("hermes")
    world.handle("engram")
    world.failures.note("engram", ComponentError("engram", "boom"))

    assert world.view.standing(Dependency("hermes")) == Standing("failed", "hermes has not been started")
    assert world.view.standing(Dependency("engram")) == Standing("failed", "engram: boom")
    assert world.view.standing(Dependency("nobody")) == Standing("failed", "nobody is unknown")


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("b failed", "a cannot start: b failed"),
        ("b cannot start: c failed", "a cannot start: … c failed"),
        ("b cannot start: c cannot start: d failed", "a cannot start: … d failed"),
        ("b cannot start: … d failed", "a cannot start: … d failed"),
    ],
)
def test_of_a_chain_only_its_first_and_its_cause_are_named(world: World, reason: str, why: str) -> None:
    world.failures.note("a", DependencyError("a", ["b"], reason))

    assert world.view.standing(Dependency("a")).why == why


# How all of a component stand.


async def test_those_on_their_way_are_awaited_in_their_order(world: World) -> None:
    await world.register("up", READY)
    await world.register("second")
    world.in_flight.add("first")

    assert world.view.awaited(world.handle("app", "first", "up", "second")) == ["first", "second"]
    assert world.view.awaited(world.handle("app", "up")) == []
    assert world.view.awaited(world.handle("app")) == []


async def test_dependencies_that_failed_are_all_named_in_one_error(world: World) -> None:
    await world.register("up", READY)
    await world.register("hermes", FAILED)
    world.in_flight.add("coming")
    handler = world.handle("app", "coming", "hermes", "up", "nobody")

    with pytest.raises(DependencyError) as caught:
        world.view.awaited(handler)

    assert caught.value.component_id == "app"
    assert caught.value.failed_dependencies == ["hermes", "nobody"]
    assert caught.value.reason == "hermes failed; nobody is unknown"
    assert caught.value.cycle == []


def test_only_those_asked_about_are_looked_at(world: World) -> None:
    world.in_flight |= {"one", "two"}
    handler = world.handle("app", "one", "nobody", "two")

    assert world.view.awaited(handler, among={"one"}) == ["one"]
    assert world.view.awaited(handler, among=set()) == []
    with pytest.raises(DependencyError):
        world.view.awaited(handler, among={"nobody"})


# The graph, and circles in it.


async def test_the_graph_has_handlers_before_registrations(world: World) -> None:
    await world.register("app", dependencies=["old"])
    await world.register("other", dependencies=["app"])
    world.handle("app", "hermes", Dependency("migrate", "completed"))

    assert world.view.graph() == {"app": ["hermes", "migrate"], "other": ["app"]}


def test_a_circle_is_told_from_the_component_on(world: World) -> None:
    world.handle("a", "free", "b")
    world.handle("b", "c")
    world.handle("c", "a")
    world.handle("free")
    world.handle("behind", "a")

    error = world.view.cycle_error("b")

    assert error is not None
    assert (error.component_id, error.cycle) == ("b", ["b", "c", "a"])
    assert error.failed_dependencies == ["c", "a"]
    assert error.reason == "dependency cycle b -> c -> a -> b"
    assert world.view.cycle_error("free") is None
    assert world.view.cycle_error("behind") is None
    assert world.view.cycle_error("nobody") is None


def test_a_component_that_depends_on_itself_is_a_circle(world: World) -> None:
    world.handle("a", "a")

    error = world.view.cycle_error("a")

    assert error is not None
    assert (error.cycle, error.failed_dependencies) == (["a"], ["a"])


async def test_a_circle_may_lead_through_components_that_are_only_registered(world: World) -> None:
    world.handle("a", "b")
    await world.register("b", dependencies=["a"])

    error = world.view.cycle_error("a")

    assert error is not None
    assert error.cycle == ["a", "b"]


def test_of_many_components_those_in_a_circle_get_its_error(world: World) -> None:
    world.handle("before", "a")
    world.handle("a", "b")
    world.handle("b", "a", "below")
    world.handle("below", "undeclared")
    # Between two circles, in neither.
    world.handle("between", "a")
    world.handle("x", "y", "between")
    world.handle("y", "x")
    world.handle("alone")

    errors = world.view.cycle_errors(["alone", "x", "between", "below", "a", "before", "undeclared", "nobody"])

    assert {name: error.cycle for name, error in errors.items()} == {"x": ["x", "y"], "a": ["a", "b"]}


def test_without_a_circle_nobody_gets_an_error(world: World) -> None:
    world.handle("a", "b")
    world.handle("b")

    assert world.view.cycle_errors(["a", "b"]) == {}


# What is said about a component.


async def test_a_component_waits_for_what_is_on_its_way(world: World) -> None:
    world.in_flight |= {"hermes", "engram"}
    world.handle("app", "hermes", "nobody", "engram")
    await world.register("app")

    assert world.view.waiting_for("app") == ["hermes", "engram"]


async def test_a_component_without_a_handler_waits_for_what_it_registered(world: World) -> None:
    await world.register("hermes")
    await world.register("app", dependencies=["hermes", "nobody"])

    assert world.view.waiting_for("app") == ["hermes"]
    assert world.view.waiting_for("nobody") == []


async def test_a_usable_component_is_short_of_nothing(world: World) -> None:
    await world.register("app", READY, dependencies=["nobody"])
    world.in_flight.add("hermes")
    world.handle("app", "hermes", "nobody")

    assert world.view.waiting_for("app") == []
    assert world.view.explain("app", None).failed_dependencies == ()


async def test_unmet_are_those_that_are_on_their_way_and_those_that_are_not(world: World) -> None:
    await world.register("engram", READY)
    world.in_flight.add("hermes")

    assert world.view.unmet(world.handle("app", "engram", "hermes", "nobody")) == ["hermes", "nobody"]


def test_a_start_is_not_short_of_what_it_was_forced_past(world: World) -> None:
    world.in_flight |= {"app", "hermes"}
    world.handle("app", "hermes", "engram", "nobody")
    world.passed_over["app"] = ["hermes", "nobody"]

    assert world.view.waiting_for("app") == []
    assert world.view.explain("app", None).failed_dependencies == ("engram",)


def test_the_last_error_is_that_of_the_last_start_and_none_while_another_goes_on(world: World) -> None:
    assert world.view.last_error("app") is None
    world.failures.note("app", ComponentError("app", "boom"))
    assert world.view.last_error("app") == "app: boom"

    world.in_flight.add("app")

    assert world.view.last_error("app") is None


async def test_why_has_everything_about_a_component(world: World) -> None:
    health = Health(name="http", healthy=False, reason="503", finding="503", age=1.0)
    world.in_flight.add("hermes")
    world.handle("app", "hermes", "nobody", "app")
    world.handle("ui", "app")
    world.handle("desktop", "ui")
    world.failures.note("app", ComponentError("app", "boom"))
    await world.register("app", FAILED, reason="boom")
    record = world.registry.find("app")
    assert record is not None

    world.passed_over["app"] = ["nobody"]

    why = world.view.explain("app", "waiting", leaked=["start function"], health=[health])

    expected: dict[str, Any] = {
        "component_id": "app",
        "state": FAILED,
        "reason": "boom",
        "since": record.changed_at,
        "phase": "waiting",
        "waiting_for": ("hermes",),
        "failed_dependencies": ("nobody", "app"),
        "cycle": ("app",),
        "dependents": ("ui", "desktop"),
        "last_error": "app: boom",
        "leaked": ("start function",),
        "health": (health,),
        "forced_past": ("nobody",),
    }
    assert {name: getattr(why, name) for name in why.__struct_fields__} == expected


def test_why_has_little_to_say_of_a_component_that_nobody_knows(world: World) -> None:
    why = world.view.explain("nobody", None)

    assert why.component_id == "nobody"
    assert (why.state, why.reason, why.since, why.phase, why.last_error) == (None, None, None, None, None)
    assert (why.waiting_for, why.failed_dependencies, why.cycle, why.dependents) == ((), (), (), ())
    assert (why.leaked, why.health, why.forced_past) == ((), (), ())
