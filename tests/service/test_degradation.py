"""Tests of tekton.service.degradation: who serves what, and what is said of it."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tekton.core.capability_service import Fallback
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.dependents import Dependents
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.core.recovery import Recovery
from tekton.gateway.sockets import Sub
from tekton.service.degradation import Degradation
from tekton.testing.clock import ManualClock
from tekton.utils.config_schema import BreakerSpec
from tekton.utils.tekton_config import ComponentSpec, DependencySpec, FallbackSpec, RestartSpec, TektonConfig

CHAT = "chat"
LOCAL = FallbackSpec(component="local", parameters={"model": "small"})
CLOUD = FallbackSpec(component="cloud")


class World:
    """A registry, and a configuration in which `local` stands in for those who chat."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self.registry = registry
        self.specs = {
            "rhetor": ComponentSpec(name="rhetor", command=["x"], capabilities=[CHAT]),
            "local": ComponentSpec(name="local", command=["x"], port=1, restart=RestartSpec(policy="no")),
            "cloud": ComponentSpec(name="cloud", command=["x"], port=2),
            "user": ComponentSpec(
                name="user",
                command=["x"],
                dependencies=[
                    DependencySpec(component="rhetor"),
                    DependencySpec(component="local", condition="completed"),
                ],
                on_dependency_failure="degrade",
            ),
        }
        config = SimpleNamespace(fallbacks={CHAT: (LOCAL,)}, auto_recover=True)
        self.clock = ManualClock()
        self.degradation = Degradation(
            registry, config=lambda: cast(TektonConfig, config), specs=lambda: self.specs, clock=self.clock
        )
        self.instances: dict[str, str] = {}

    async def ready(self, *names: str, offers: Sequence[str] | None = None) -> None:
        for name in names:
            capabilities = tuple(self.specs[name].capabilities if offers is None else offers)
            registration = ComponentRegistration(component_id=name, capabilities=capabilities, endpoint="http://h:1")
            await self.registry.register(registration)
            await self.registry.make_ready(name, registration.instance_uuid)
            self.instances[name] = registration.instance_uuid

    def observe(self, name: str, state: ComponentState = ComponentState.FAILED) -> None:
        assert self.registry.observe(name, self.instances[name], state, "a test")

    @property
    def served_by(self) -> tuple[str, ...]:
        (service,) = self.degradation.all().capabilities
        return service.served_by

    def found(self, capability: str = CHAT) -> tuple[list[str], Any]:
        records, fallback = self.degradation.instances(capability)
        return [record.component_id for record in records], fallback and fallback.component


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with ComponentRegistry() as registry:
        world = World(registry)
        world.degradation.start()
        yield world
        world.degradation.stop()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[tuple[str, str]]]:
    caplog.set_level(logging.INFO, "tekton.degradation")
    return lambda: [(record.levelname, record.getMessage().removeprefix("capability ")) for record in caplog.records]


async def test_the_fallback_serves_while_nobody_else_can(world: World) -> None:
    nobody = world.served_by
    await world.ready("local", "rhetor")
    both = world.served_by
    world.observe("rhetor")

    assert (nobody, both, world.served_by) == ((), ("rhetor",), ("local",))
    assert world.degradation.on_fallback() == {CHAT: "local"}
    await world.ready("rhetor")
    assert (world.served_by, world.degradation.on_fallback()) == (("rhetor",), {})


async def test_one_that_is_degraded_serves_before_any_fallback(world: World) -> None:
    await world.ready("local", "rhetor")

    world.observe("rhetor", ComponentState.DEGRADED)

    assert world.served_by == ("rhetor",)


async def test_one_that_takes_no_traffic_does_not_serve(world: World, said: Any) -> None:
    await world.ready("local", "rhetor")

    world.registry.observe_serving("rhetor", world.instances["rhetor"], False, "drained")

    assert (world.served_by, world.degradation.note("rhetor")) == (("local",), "fallback: local")
    assert said() == [("WARNING", "chat is served by local: rhetor takes no traffic")]


async def test_who_asks_for_a_capability_is_given_the_instances_that_serve_it(world: World) -> None:
    await world.ready("rhetor", "cloud")
    await world.ready("local", offers=[CHAT])
    normal = world.found()
    world.observe("rhetor")

    assert normal == (["rhetor", "local"], None)
    assert world.found() == (["local"], "local")
    assert world.found("flying") == ([], None)


async def test_the_log_says_when_somebody_else_serves(world: World, said: Any) -> None:
    await world.ready("local", "rhetor")
    at_start = said()
    world.observe("rhetor")
    world.observe("local")
    await world.ready("rhetor")

    assert at_start == []
    assert said() == [
        ("WARNING", "chat is served by local: rhetor is failed"),
        ("ERROR", "chat is served by nobody: local is failed"),
        ("INFO", "chat is served by rhetor again"),
    ]


async def test_the_log_says_so_too_when_the_first_start_fails(world: World, said: Any) -> None:
    await world.ready("local")
    registration = ComponentRegistration(component_id="rhetor", capabilities=(CHAT,))
    await world.registry.register(registration)
    world.instances["rhetor"] = registration.instance_uuid
    world.observe("rhetor")

    assert said() == [("WARNING", "chat is served by local: rhetor is failed")]


async def test_new_fallbacks_hold_at_once(world: World, said: Any) -> None:
    await world.ready("local", "cloud", "rhetor")
    world.observe("rhetor")

    world.degradation.adopt({CHAT: (CLOUD, LOCAL), "empty": ()})
    cloud = world.served_by
    world.degradation.adopt({})

    assert cloud == ("cloud",)
    assert said()[-1] == ("WARNING", "chat is served by cloud")
    assert world.degradation.all().capabilities == []
    assert world.found() == ([], None)


async def test_a_list_and_an_explanation_name_who_stands_in(world: World) -> None:
    await world.ready("local", "rhetor")
    before = [world.degradation.note(name) for name in world.specs]
    world.observe("rhetor")

    assert before == [None] * 4
    assert [world.degradation.note(name) for name in world.specs] == ["fallback: local", None, None, None]
    assert [[one.capability for one in world.degradation.services(name)] for name in world.specs] == [
        [CHAT],
        [CHAT],
        [],
        [CHAT],
    ]


async def test_what_was_never_started_is_known_from_the_configuration(world: World) -> None:
    await world.ready("local")

    assert world.degradation.note("rhetor") == "fallback: local"
    (service,) = world.degradation.all().capabilities
    assert (service.primary, service.state) == (("rhetor",), "fallback")


async def test_who_is_degraded_for_a_dependency_says_what_goes_on_without_it_now(world: World) -> None:
    recovery = cast(Recovery, SimpleNamespace())
    dependents = Dependents(world.registry, recovery)
    dependents.set_policy("user", "degrade", ["rhetor"])
    await world.ready("local", "rhetor", "user")
    dependents.start()
    world.observe("rhetor")
    degraded = world.registry.find("user")
    notes = [world.degradation.note("user")]
    world.observe("local")
    notes.append(world.degradation.note("user"))
    await world.ready("rhetor")
    notes.append(world.degradation.note("user"))
    dependents.stop()

    assert degraded is not None
    assert (degraded.state, degraded.reason) == (ComponentState.DEGRADED, "dependency: rhetor failed")
    assert notes == ["chat is served by local", None, None]
    again = world.registry.find("user")
    assert again is not None
    assert again.state is ComponentState.READY


async def test_only_breakers_that_are_not_as_all_others_are_told(world: World) -> None:
    world.specs["cloud"] = ComponentSpec(name="cloud", command=["x"], breaker=BreakerSpec(enabled=False))

    assert world.degradation.all().breakers == {"cloud": BreakerSpec(enabled=False)}


async def test_callers_are_told_what_holds_for_them_whenever_that_changes(world: World) -> None:
    async with asyncio.timeout(10), aclosing(world.degradation.topic.open(Sub(id=1, topic="call_settings"))) as frames:
        first = json.loads(await anext(frames))["data"]
        world.specs["cloud"] = ComponentSpec(name="cloud", command=["x"], breaker=BreakerSpec(enabled=False))
        world.degradation.publish()
        second = json.loads(await anext(frames))["data"]
        world.degradation.publish()
        world.degradation.adopt({CHAT: (CLOUD,)})
        third = json.loads(await anext(frames))["data"]

    local, cloud = [[msgspec.to_builtins(Fallback(one.component, one.parameters))] for one in (LOCAL, CLOUD)]
    assert first == {"fallbacks": {CHAT: local}, "breakers": {}}
    assert (second["fallbacks"], second["breakers"]["cloud"]["enabled"]) == ({CHAT: local}, False)
    assert third == {**second, "fallbacks": {CHAT: cloud}}


async def test_it_is_told_since_when_another_one_serves(world: World) -> None:
    def since() -> float | None:
        (service,) = world.degradation.all().capabilities
        return service.since

    await world.ready("local", "rhetor")
    times = [since()]
    for name in ("rhetor", "local"):
        world.clock.advance(10)
        world.observe(name)
        times.append(since())

    assert times == [None, world.clock.time() - 10, world.clock.time()]


async def test_who_is_up_and_takes_no_traffic_does_not_wait_for_what_is_killed(world: World) -> None:
    await world.ready("rhetor", "user")
    assert world.registry.observe_serving("user", world.instances["user"], False, "unready")

    assert [one.effect for one in world.degradation.impact("rhetor").components] == ["degrades"]


async def test_the_impact_is_that_of_the_moment(world: World) -> None:
    await world.ready("rhetor", "user")
    registration = ComponentRegistration(component_id="stranger", dependencies=("rhetor",))
    await world.registry.register(registration)
    await world.registry.make_ready("stranger", registration.instance_uuid)

    without = world.degradation.impact("rhetor")
    await world.ready("local")
    found = world.degradation.impact("rhetor")

    assert [one.after for one in without.capabilities] == [()]
    assert [(one.after, one.state) for one in found.capabilities] == [(("local",), "fallback")]
    assert {one.component_id: one.effect for one in found.components} == {"user": "degrades", "stranger": "goes_on"}
    assert (found.usable, found.comes_back) == (True, True)
    assert not world.degradation.impact("local").comes_back
    assert world.degradation.impact("local").components == ()
