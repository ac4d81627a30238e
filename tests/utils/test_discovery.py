"""The local picture of the components, and calls over several instances, against real servers."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from leaps import Leaps

from tekton.clock import SYSTEM_CLOCK
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.degradation.breaker_states import BreakerState
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.testing.cut_connections import CuttingProxy
from tekton.utils import control_socket, tekton_http, tekton_websocket
from tekton.utils import discovery as discovery_module
from tekton.utils.component_client import (
    ComponentClient,
    ControlPlane,
    call_api,
    find_component,
    find_components_by_capability,
)
from tekton.utils.discovery import Discovery
from tekton.utils.retries import Retries
from tekton.utils.tekton_errors import (
    AllInstancesFailedError,
    ComponentNotFoundError,
    NoUsableInstanceError,
    ProblemError,
    TektonError,
    TransportError,
)


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    # The servers are in this process: while it does not run, no connection comes about.
    monkeypatch.setattr(tekton_http, "CONNECT_TIMEOUT", 60.0)
    monkeypatch.setattr(tekton_websocket, "BACKOFF", (0.01, 0.02))
    monkeypatch.setattr(tekton_websocket.WebSocketClient, "_delay", lambda *_: 0.01)


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


@pytest.fixture
async def discovery(plane: InMemoryControlPlane) -> AsyncIterator[Discovery]:
    retries = Retries(backoff=(0.001, 0.002), rng=random.Random(1))
    async with Discovery(plane.address, retries=retries, rng=random.Random(1)) as discovery:
        yield discovery


class Memory:
    """An instance of a component: a real server, which does what `behave` says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[str] = []
        self.behave: Callable[[web.Request], Awaitable[web.StreamResponse]] = self.answer
        self.url = ""

    async def answer(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"from": self.name})

    async def refuse(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "full", "detail": "too much"}, status=503)

    async def hang_up(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        return await self.behave(request)

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Memory"]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()


class System:
    """Instances of `engram`, registered and served."""

    def __init__(self, plane: InMemoryControlPlane, stack: AsyncExitStack) -> None:
        self.plane = plane
        self._stack = stack
        self.memories: list[Memory] = []

    async def serve(self, count: int) -> list[Memory]:
        for number in range(len(self.memories), len(self.memories) + count):
            self.memories.append(await self._stack.enter_async_context(Memory(str(number)).served()))
            await self.register(self.memories[-1].url)
        return self.memories

    async def register(self, url: str | None, component_id: str = "engram") -> str:
        registration = ComponentRegistration(
            component_id=component_id, capabilities=("memory_storage",), endpoint=url, max_instances=100
        )
        await self.plane.registry.register(registration)
        await self.plane.registry.make_ready(component_id, registration.instance_uuid)
        return registration.instance_uuid

    @property
    def instances(self) -> list[str]:
        return [record.instance_uuid for record in self.plane.registry.instances("engram")]


@pytest.fixture
async def system(plane: InMemoryControlPlane) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        yield System(plane, stack)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nothing tells when it changes)
            await asyncio.sleep(0.001)


async def caught_up(discovery: Discovery, plane: InMemoryControlPlane) -> Discovery:
    await until(lambda: discovery.revision >= plane.registry.revision and not discovery.stale)
    return discovery


async def engram(discovery: Discovery, plane: InMemoryControlPlane) -> ComponentClient:
    found = (await caught_up(discovery, plane)).find("engram")
    assert found is not None
    return found


def circuit(discovery: Discovery, component_id: str) -> BreakerState:
    breaker = discovery.breakers.breaker(component_id)
    assert breaker is not None
    return breaker.state


def cut_off(discovery: Discovery, component_id: str) -> BreakerState:
    """Have calls of the component fail until its circuit is open."""
    found = discovery.find(component_id)
    assert found is not None
    while circuit(discovery, component_id) is BreakerState.CLOSED:
        discovery.breakers.before(found.record)
        discovery.breakers.after(found.record, TransportError("http://127.0.0.1:9", "refused"))
    return circuit(discovery, component_id)


def dead_url() -> str:
    return "http://127.0.0.1:1"


class TestPicture:
    async def test_what_is_there_at_the_start_is_found(self, plane: InMemoryControlPlane, system: System) -> None:
        await system.register("http://127.0.0.1:9")

        async with Discovery(plane.address) as discovery:
            found = discovery.find("engram")

        assert found is not None
        assert (found.endpoint, found.state) == ("http://127.0.0.1:9", ComponentState.READY)

    async def test_a_change_arrives_by_itself(self, discovery: Discovery, system: System) -> None:
        assert discovery.find("engram") is None
        instance = await system.register("http://127.0.0.1:9")
        found = await engram(discovery, system.plane)
        system.plane.registry.observe("engram", instance, ComponentState.FAILED, "exit 1")
        await caught_up(discovery, system.plane)

        assert found.state is ComponentState.READY
        assert discovery.find("engram") is None
        assert discovery.find_by_capability("memory_storage") == []

    async def test_one_that_takes_no_traffic_is_not_found(self, discovery: Discovery, system: System) -> None:
        instance = await system.register("http://127.0.0.1:9")
        registry = system.plane.registry
        registry.observe_serving("engram", instance, False, "warming up")
        without = (await caught_up(discovery, system.plane)).find("engram")
        registry.observe_serving("engram", instance, True, "")
        again = (await caught_up(discovery, system.plane)).find("engram")

        assert without is None
        assert again is not None

    async def test_components_are_found_by_capability_ready_ones_first(
        self, discovery: Discovery, system: System
    ) -> None:
        first = await system.register("http://127.0.0.1:9", "a_memory")
        await system.plane.registry.set_state("a_memory", first, ComponentState.DEGRADED)
        for _ in range(2):
            await system.register("http://127.0.0.1:9")
        await caught_up(discovery, system.plane)

        found = discovery.find_by_capability("memory_storage")

        assert [each.component_id for each in found] == ["engram", "a_memory"]
        assert [len(each.instances) for each in found] == [2, 1]

    async def test_one_that_leaves_is_gone(self, discovery: Discovery, system: System) -> None:
        instance = await system.register("http://127.0.0.1:9")
        await engram(discovery, system.plane)
        await system.plane.registry.deregister("engram", instance)
        await caught_up(discovery, system.plane)

        assert discovery.find("engram") is None
        assert discovery._table._instances == {}
        assert discovery._table._capable == {}


class TestDisconnected:
    async def test_the_control_plane_is_asked_before_there_is_a_picture(self) -> None:
        discovery = Discovery(ControlPlane(dead_url()))
        async with discovery:
            assert discovery.stale == math.inf
            with pytest.raises(TransportError):
                await discovery.find_component("engram")
            with pytest.raises(TransportError):
                await discovery.find_components_by_capability("memory_storage")

    async def test_a_control_plane_that_says_nothing_is_not_waited_for(
        self, plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(discovery_module, "ASK_TIMEOUT", 0.05)
        async with CuttingProxy("127.0.0.1", int(plane.address.url.rpartition(":")[2])) as proxy:
            proxy.stall()
            async with asyncio.timeout(5), Discovery(ControlPlane(f"http://127.0.0.1:{proxy.port}")) as discovery:
                with pytest.raises(TransportError, match="no answer within"):
                    await discovery.find_component("engram")

    async def test_the_last_picture_is_used_when_nobody_answers_and_it_says_how_old_it_is(self) -> None:
        async with InMemoryControlPlane() as plane, AsyncExitStack() as stack:
            await System(plane, stack).register("http://127.0.0.1:9")
            discovery = Discovery(plane.address)
            await discovery.start()
            current, was_current_at = discovery.stale, SYSTEM_CLOCK.monotonic()
        await until(lambda: discovery.stale)
        found = await discovery.find_component("engram")
        by_capability = await discovery.find_components_by_capability("memory_storage")
        unknown = await discovery.find_component("hermes")
        age = discovery.stale
        oldest = SYSTEM_CLOCK.monotonic() - was_current_at
        await discovery.stop()

        assert found is not None
        assert len(by_capability) == 1
        assert unknown is None
        assert current == 0
        assert 0 < age <= oldest

    async def test_while_the_connection_is_lost_the_control_plane_is_asked(
        self, discovery: Discovery, system: System, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(*_: object) -> None:
            raise TransportError("ws", "cut")

        monkeypatch.setattr(control_socket.ControlSocket, "connect", never)
        client = discovery._task
        await client.stop()
        client.start(discovery._watch())
        await until(lambda: discovery.stale)
        await system.register("http://127.0.0.1:9")

        in_the_picture = discovery.find("engram")
        asked = await discovery.find_component("engram")
        offered = await discovery.find_components_by_capability("memory_storage")

        assert in_the_picture is None
        assert asked is not None
        assert [each.component_id for each in offered] == ["engram"]

    async def test_after_a_restart_that_forgot_everything_the_picture_is_a_new_one(self) -> None:
        port = free_port()
        async with InMemoryControlPlane(port=port) as first, AsyncExitStack() as stack:
            for component_id in ("hermes", "rhetor", "telos"):  # a position that the second one has not reached
                await System(first, stack).register("http://127.0.0.1:9", component_id)
            discovery = Discovery(first.address)
            await discovery.start()
            before = discovery.find("hermes")
            circuits = [cut_off(discovery, "hermes"), cut_off(discovery, "rhetor")]
        async with InMemoryControlPlane(port=port) as second, AsyncExitStack() as stack:
            await System(second, stack).register("http://127.0.0.1:9", "rhetor")
            await System(second, stack).register("http://127.0.0.1:9")
            await until(lambda: discovery.find("engram") is not None)
            after = discovery.find("hermes")
            circuits += [circuit(discovery, "hermes"), circuit(discovery, "rhetor")]
        await discovery.stop()

        assert before is not None
        assert after is None
        # What failed is gone with the instances that did.
        assert circuits == [BreakerState.OPEN] * 2 + [BreakerState.CLOSED] * 2


class TestFunctions:
    async def test_an_open_discovery_is_what_the_functions_use(self, discovery: Discovery, system: System) -> None:
        memories = await system.serve(1)
        await caught_up(discovery, system.plane)

        found = await find_component("engram")
        by_capability = await find_components_by_capability("memory_storage")
        answer = await call_api("engram", "/api/x")

        assert found is discovery.find("engram")
        assert by_capability == [found]
        assert answer == {"from": "0"}
        assert memories[0].requests == ["GET /api/x"]

    async def test_one_that_is_only_open_begins_to_watch_when_it_is_asked(self, system: System) -> None:
        await system.register("http://127.0.0.1:9")
        discovery = Discovery(system.plane.address)
        discovery.open()
        before = discovery.stale

        found = await asyncio.gather(*(find_component("engram") for _ in range(3)))
        after = discovery.stale
        await discovery.stop()

        assert [each is not None for each in found] == [True] * 3
        assert (before, after) == (math.inf, 0.0)

    async def test_without_a_discovery_all_instances_are_called_too(self, system: System) -> None:
        memories = await system.serve(3)
        found = await find_component("engram", control_plane=system.plane.address)
        assert found is not None

        async with found:
            for _ in range(30):
                await found.call_api("/api/x")

        assert min(len(memory.requests) for memory in memories) > 0

    async def test_who_is_not_known_and_who_cannot_be_called_are_told_apart(self, system: System) -> None:
        where = system.plane.address
        instance = await system.register("http://127.0.0.1:9")
        system.plane.registry.observe("engram", instance, ComponentState.FAILED, "exit 1")

        with pytest.raises(ComponentNotFoundError):
            await call_api("hermes", "/api/x", control_plane=where)
        with pytest.raises(NoUsableInstanceError, match="failed: exit 1"):
            await call_api("engram", "/api/x", control_plane=where)


class TestCalls:
    async def test_calls_are_spread_over_the_instances(self, discovery: Discovery, system: System) -> None:
        await system.serve(4)
        client = await engram(discovery, system.plane)

        answers = await asyncio.gather(*(client.call_api("/api/x") for _ in range(80)))

        counts = Counter(answer["from"] for answer in answers)
        assert len(counts) == 4
        assert max(counts.values()) <= 30

    async def test_an_instance_that_comes_later_is_called_by_the_same_client(
        self, discovery: Discovery, system: System
    ) -> None:
        memories = await system.serve(1)
        client = await engram(discovery, system.plane)
        await system.serve(1)
        await caught_up(discovery, system.plane)

        for _ in range(40):
            await client.call_api("/api/x")

        assert min(len(memory.requests) for memory in memories) > 0

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_one_that_cannot_be_reached_is_replaced_by_another(
        self, discovery: Discovery, system: System, method: str
    ) -> None:
        await system.register(dead_url())
        memories = await system.serve(1)
        client = await engram(discovery, system.plane)

        answers = [await client.call_api("/api/x", method) for _ in range(10)]

        assert answers == [{"from": "0"}] * 10
        assert len(memories[0].requests) == 10

    @pytest.mark.parametrize("behaviour", ["refuse", "hang_up"])
    async def test_what_is_idempotent_is_tried_elsewhere_when_it_fails(
        self, discovery: Discovery, system: System, behaviour: str
    ) -> None:
        memories = await system.serve(2)
        memories[0].behave = getattr(memories[0], behaviour)
        client = await engram(discovery, system.plane)

        for method in ("GET", "PUT", "DELETE"):
            assert await client.call_api("/api/x", method) == {"from": "1"}
        discovery._caller.balancer.keep_only(())
        assert await client.call_api("/api/x", "POST", idempotent=True) == {"from": "1"}

    @pytest.mark.parametrize("behaviour", ["refuse", "hang_up"])
    async def test_what_is_not_idempotent_is_never_sent_twice(
        self, discovery: Discovery, system: System, behaviour: str
    ) -> None:
        memories = await system.serve(3)
        for memory in memories:
            memory.behave = getattr(memory, behaviour)
        client = await engram(discovery, system.plane)
        await discovery._fallbacks.known()
        discovery.breakers.adopt({"engram": None})

        for number in range(12):
            with pytest.raises((TransportError, ProblemError)):
                await client.call_api(f"/api/{number}", "POST", {"a": 1})

        sent = Counter(request for memory in memories for request in memory.requests)
        assert set(sent.values()) == {1}
        assert len(sent) == 12

    async def test_a_refusal_that_is_meant_is_not_tried_elsewhere(self, discovery: Discovery, system: System) -> None:
        async def not_found(_: web.Request) -> web.StreamResponse:
            return web.json_response({"code": "component_not_found", "detail": "x", "component_id": "x"}, status=404)

        memories = await system.serve(2)
        for memory in memories:
            memory.behave = not_found
        client = await engram(discovery, system.plane)

        with pytest.raises(ComponentNotFoundError):
            await client.call_api("/api/x")

        assert sum(len(memory.requests) for memory in memories) == 1

    async def test_all_that_was_tried_is_told(self, discovery: Discovery, system: System) -> None:
        memories = await system.serve(1)
        memories[0].behave = memories[0].refuse
        await system.register(dead_url())
        client = await engram(discovery, system.plane)

        with pytest.raises(AllInstancesFailedError) as failed:
            await client.call_api("/api/x")

        assert failed.value.component_id == "engram"
        assert len(failed.value.causes) == 3
        assert any("connection refused" in cause for cause in failed.value.causes)
        assert any("too much" in cause for cause in failed.value.causes)

    async def test_the_timeout_holds_for_all_attempts_together(self, discovery: Discovery, system: System) -> None:
        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        memories = await system.serve(3)
        for memory in memories:
            memory.behave = never
        client, leaps = await engram(discovery, system.plane), Leaps()

        calling = asyncio.ensure_future(client.call_api("/api/x", timeout=10))
        await until(lambda: any(memory.requests for memory in memories))
        leaps.leap(10)
        with pytest.raises(TransportError, match="no answer within"):
            await calling

        assert sum(len(memory.requests) for memory in memories) == 1

    async def test_one_that_failed_is_remembered(self, discovery: Discovery, system: System) -> None:
        memories = await system.serve(2)
        memories[0].behave = memories[0].refuse
        client = await engram(discovery, system.plane)

        for _ in range(20):
            await client.call_api("/api/x")

        assert len(memories[0].requests) == 1

    async def test_a_storm_of_failures_is_not_answered_by_a_storm_of_retries(self, system: System) -> None:
        memories = await system.serve(2)
        for memory in memories:
            memory.behave = memory.refuse
        retries = Retries(backoff=(0.001, 0.002), savings=5)
        async with Discovery(system.plane.address, retries=retries) as discovery:
            client = await engram(discovery, system.plane)
            for _ in range(50):
                with pytest.raises(TektonError):
                    await client.call_api("/api/x")

        assert sum(len(memory.requests) for memory in memories) <= 50 + 5 + 6

    async def test_connections_are_used_again(self, discovery: Discovery, system: System) -> None:
        ports = set()

        async def note(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            ports.add(request.transport.get_extra_info("peername")[1])
            return web.json_response({})

        memories = await system.serve(1)
        memories[0].behave = note
        client = await engram(discovery, system.plane)
        for _ in range(10):
            await client.call_api("/api/x")

        assert len(ports) == 1

    async def test_a_call_that_is_cancelled_counts_as_over(self, discovery: Discovery, system: System) -> None:
        arrived = asyncio.Event()

        async def never(_: web.Request) -> web.StreamResponse:
            arrived.set()
            await asyncio.Event().wait()
            return web.Response()

        memories = await system.serve(1)
        memories[0].behave = never
        client = await engram(discovery, system.plane)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            call = group.create_task(client.call_api("/api/x"))
            await arrived.wait()
            busy = discovery._caller.balancer.in_flight(client.record)
            call.cancel()

        assert (busy, discovery._caller.balancer.in_flight(client.record)) == (1, 0)


class Hook:
    """Notes every attempt, and keeps those at some instances from being made."""

    def __init__(self) -> None:
        self.notes: list[tuple[str | None, object]] = []
        self.closed_for: set[str | None] = set()

    def before(self, instance: ComponentRecord) -> None:
        if instance.endpoint in self.closed_for:
            raise TransportError("breaker", "open")

    def after(self, instance: ComponentRecord, error: BaseException | None) -> None:
        self.notes.append((instance.endpoint, None if error is None else type(error)))


async def test_a_hook_sees_each_attempt_and_can_prevent_it(system: System) -> None:
    memories = await system.serve(2)
    hook = Hook()
    memories[0].behave = memories[0].refuse
    async with Discovery(system.plane.address, hook=hook, rng=random.Random(3)) as discovery:
        client = await engram(discovery, system.plane)
        for _ in range(10):
            await client.call_api("/api/x")
        failures = [note for note in hook.notes if note[1]]
        hook.closed_for = {memories[1].url}
        discovery._caller.balancer.keep_only(())
        memories[0].behave = memories[0].answer
        elsewhere = await client.call_api("/api/x", "POST")
        hook.closed_for = {memory.url for memory in memories}
        with pytest.raises(AllInstancesFailedError, match="open"):
            await client.call_api("/api/x")

    assert failures == [(memories[0].url, ProblemError)]
    assert elsewhere == {"from": "0"}


async def test_a_hook_is_told_of_answers_from_500_on(system: System) -> None:
    statuses = iter([200, 404, 500, 503])

    async def say(_: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "x", "detail": "x"}, status=next(statuses))

    memories = await system.serve(1)
    memories[0].behave = say
    hook = Hook()
    async with Discovery(system.plane.address, hook=hook) as discovery:
        client = await engram(discovery, system.plane)
        await client.call_api("/api/x", "POST")
        for _ in range(3):
            with pytest.raises(ProblemError):
                await client.call_api("/api/x", "POST")

    assert [error for _, error in hook.notes] == [None, None, ProblemError, ProblemError]


async def test_who_is_refused_everywhere_waits_for_nothing(system: System) -> None:
    await system.serve(3)
    hook = Hook()
    hook.closed_for = {memory.url for memory in system.memories}
    async with Discovery(system.plane.address, hook=hook, retries=Retries(backoff=(3600, 3600))) as discovery:
        client = await engram(discovery, system.plane)
        async with asyncio.timeout(10):
            with pytest.raises(AllInstancesFailedError):
                await client.call_api("/api/x", timeout=7200)
            assert discovery._caller.may_retry()

    assert hook.notes == []


async def test_a_hook_is_told_of_a_call_that_was_given_up(system: System) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    memories = await system.serve(1)
    memories[0].behave = never
    hook = Hook()
    async with Discovery(system.plane.address, hook=hook) as discovery:
        client = await engram(discovery, system.plane)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.call_api("/api/x")

    assert hook.notes == [(memories[0].url, asyncio.CancelledError)]


def described(name: str, capability: str, **known: str) -> ComponentRegistration:
    return ComponentRegistration(
        component_id=name, capabilities=(capability,), max_instances=3, endpoint="http://h:1", **known
    )


async def something_happens(registry: ComponentRegistry, chance: random.Random) -> None:
    name, capability = chance.choice("abcd"), chance.choice("xyz")
    known = registry.instances(name)
    if not known or chance.random() < 0.2:
        await registry.register(described(name, capability))
        return
    instance = chance.choice(known).instance_uuid
    match chance.choice(("ready", "degraded", "failed", "stopping", "serving", "gone", "again")):
        case "ready":
            await registry.make_ready(name, instance)
        case "serving":
            registry.observe_serving(name, instance, chance.random() < 0.5, "")
        case "gone":
            await registry.deregister(name, instance)
        case "again":
            await registry.register(described(name, capability, instance_uuid=instance))
        case state:
            await registry.set_state(name, instance, ComponentState(state))


@pytest.mark.parametrize("seed", range(5))
async def test_the_picture_is_what_the_registry_would_say_whatever_happens(
    discovery: Discovery, plane: InMemoryControlPlane, seed: int
) -> None:
    chance = random.Random(seed)
    registry = plane.registry
    for _ in range(150):
        with suppress(TektonError):
            await something_happens(registry, chance)
    await caught_up(discovery, plane)

    for name in "abcd":
        expected = {one.instance_uuid for one in registry.instances(name) if one.discoverable}
        found = discovery.find(name)
        assert (set() if found is None else {one.instance_uuid for one in found.instances}) == expected
    for capability in "xyz":
        expected = {one.instance_uuid for one in registry.by_capability(capability)}
        offering = discovery.find_by_capability(capability)
        assert {one.instance_uuid for each in offering for one in each.instances} == expected
        assert [each.state for each in offering] == sorted((each.state for each in offering), key=lambda s: s.index)


async def test_a_component_finds_others_through_a_discovery_of_its_own(system: System) -> None:
    from tekton.component import Component, Request

    await system.serve(1)
    hook = Hook()
    app = Component("greeter", port=0, control_plane=system.plane.address, call_hook=hook)

    @app.get("/api/ask")
    async def ask(_: Request) -> Any:
        found = await find_component("engram")
        assert found is not None
        return [await found.call_api("/api/x"), app.discovery.stale]

    with pytest.raises(RuntimeError, match="no control plane"):
        _ = app.discovery
    async with app, tekton_http.HttpClient(str(app.endpoint)) as client:
        assert await client.request("GET", "/api/ask") == [{"from": "0"}, 0.0]

    assert hook.notes == [(system.memories[0].url, None)]
