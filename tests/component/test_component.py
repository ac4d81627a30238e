"""Components served for real, beside a control plane with the real registry."""

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leaps import Leaps

from tekton.component import Component, Request, Response, readiness
from tekton.component.membership import Membership
from tekton.core.degradation.deadline import time_left
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration, ComponentState
from tekton.testing import free_port
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.component_client import ControlPlane, find_component
from tekton.utils.tekton_errors import InvalidIdError, PortInUseError, TransportError
from tekton.utils.tekton_http import Answer, HttpClient


def greeter(plane: InMemoryControlPlane | None, **options: Any) -> Component:
    """The component of the documentation."""
    where = {"control_plane": plane.address} if plane else {"register": False}
    app = Component("greeter", capabilities=["greet"], **{"port": 0, **where, **options})

    @app.get("/api/greet/{name}")
    async def greet(request: Request) -> dict[str, str]:
        """Greet someone by name."""
        return {"text": f"Hello, {request.params['name']}."}

    return app


async def get(app: Component, path: str) -> Answer:
    async with HttpClient(f"http://127.0.0.1:{app.port}", timeout=60) as client:
        return await client.send("GET", path)


async def read(app: Component, path: str) -> Any:
    answer = await get(app, path)
    assert answer.status == 200, answer
    return msgspec.json.decode(answer.body)


def is_in(state: ComponentState) -> Callable[[ComponentRecord | None], bool]:
    return lambda record: record is not None and record.state is state


async def reaches(plane: InMemoryControlPlane, state: ComponentState) -> ComponentRecord:
    async with asyncio.timeout(5):
        record = await plane.registry.wait_until("greeter", is_in(state))
    assert record is not None
    return record


async def test_a_component_serves_its_routes_and_the_standard_ones() -> None:
    async with greeter(None, version="1.2.0") as app:
        await app.wait_ready()

        assert await read(app, "/api/greet/Ada") == {"text": "Hello, Ada."}
        assert await read(app, "/api/health") == {"status": "ok", "component_id": "greeter"}
        assert await read(app, "/api/ready") == {"ready": True, "reason": None}
        assert (await read(app, "/api/version"))["version"] == "1.2.0"
        document = await read(app, "/openapi.json")
        assert document["paths"]["/api/greet/{name}"]["get"]["summary"] == "Greet someone by name."


async def test_a_component_that_has_ended_leaves_the_registry_when_it_said_so(plane: InMemoryControlPlane) -> None:
    async with greeter(plane, forget_after=0.0) as app:
        assert (await reaches(plane, ComponentState.READY)).forget_after == 0.0
        await app.stop()
        async with asyncio.timeout(5):
            await plane.registry.wait_until("greeter", lambda record: record is None)

    newest, *_ = await plane.registry.get_history("greeter")
    # Who leaves before it has heard that it is READY is FAILED first.
    assert newest.reason in ("forgotten 0 s after it stopped", "forgotten 0 s after it failed")


async def test_a_component_registers_and_becomes_ready(plane: InMemoryControlPlane) -> None:
    async with greeter(plane, depends_on=["hermes"], name="Greeter", metadata={"team": "a"}) as app:
        record = await reaches(plane, ComponentState.READY)

        assert record.endpoint == f"http://127.0.0.1:{app.port}" == app.endpoint
        assert (record.component_name, record.capabilities) == ("Greeter", ("greet",))
        assert (record.dependencies, record.metadata) == (("hermes",), {"team": "a"})


async def test_where_it_is_the_environment_knows_better(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOST", "0.0.0.0"), ("URL", "http://pod-7:80/api"), ("MAX_INSTANCES", "3")):
        monkeypatch.setenv(f"GREETER_{name}", value)

    async with greeter(plane, host="127.0.0.9") as app:
        record = await reaches(plane, ComponentState.READY)

        assert (record.endpoint, record.max_instances) == ("http://pod-7:80", 3)
        async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
            named = await client.send("GET", "/api/version", headers={"host": "pod-7"})
            foreign = await client.send("GET", "/api/version", headers={"host": "pod-8"})
        assert (named.status, foreign.status) == (200, 421)


async def test_of_one_that_is_supervised_the_supervisor_knows_where_it_is(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ComponentRegistration(component_id="greeter")
    await plane.registry.register_component(given)
    for name, value in (("TEKTON_COMPONENT_ID", "greeter"), ("TEKTON_INSTANCE_UUID", str(given.instance_uuid))):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GREETER_URL", "http://elsewhere:1")

    async with greeter(plane) as app:
        assert app.endpoint == f"http://127.0.0.1:{app.port}"


async def test_heartbeats_carry_the_numbers_of_the_process_and_of_the_component(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    app.metrics["queue"] = 3

    async with app, asyncio.timeout(5):
        await reaches(plane, ComponentState.READY)
        while not (metrics := plane.monitor.metrics("greeter")):  # noqa: ASYNC110 (nothing tells when it changes)
            await asyncio.sleep(0.01)

    assert metrics["queue"] == 3
    assert metrics["memory_mib"] > 0
    assert {"cpu_percent", "memory_percent", "requests_total"} <= metrics.keys()


async def test_while_it_starts_only_health_answers(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    may_start = asyncio.Event()
    app.on_start(may_start.wait)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        starting = group.create_task(app.start())
        await reaches(plane, ComponentState.REGISTERING)
        health, ready, greeting = [await get(app, path) for path in ("/api/health", "/api/ready", "/api/greet/Ada")]
        may_start.set()
        await starting
        await reaches(plane, ComponentState.READY)
        assert (await get(app, "/api/greet/Ada")).status == 200
        await app.stop()

    assert (health.status, ready.status, greeting.status) == (200, 503, 503)
    assert msgspec.json.decode(ready.body) == {"ready": False, "reason": "starting"}


async def test_a_start_hook_that_fails_ends_the_start_and_is_told(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)

    @app.on_start
    async def load() -> None:
        await reaches(plane, ComponentState.REGISTERING)
        raise RuntimeError("no model")

    with pytest.raises(RuntimeError, match="no model"):
        await app.start()

    record = plane.record("greeter")
    assert (record.state, record.reason) == (ComponentState.FAILED, "start failed: RuntimeError('no model')")
    assert app.port is None


async def test_conditions_hold_readiness_back_and_take_it_away(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    answers = {"warm": False}

    @app.ready_when
    async def the_cache_is_warm() -> bool:
        return answers["warm"]

    async with app:
        await reaches(plane, ComponentState.REGISTERING)
        before = await get(app, "/api/ready")
        answers["warm"] = True
        await reaches(plane, ComponentState.READY)
        async with asyncio.timeout(5):  # the control plane knows it first
            while (during := await get(app, "/api/ready")).status != 200:
                pass
        answers["warm"] = False
        after = await get(app, "/api/ready")

        assert (before.status, during.status, after.status) == (503, 200, 503)
        assert b"the cache is warm does not hold" in after.body
        assert plane.record("greeter").state is ComponentState.READY


async def test_who_finds_a_component_ready_finds_it_registered_unless_the_control_plane_is_away() -> None:
    asked = asyncio.Queue[asyncio.StreamWriter]()
    slow = await asyncio.start_server(lambda _, writer: asked.put_nowait(writer), "127.0.0.1", 0)
    host, port = slow.sockets[0].getsockname()

    away = ControlPlane(f"http://{host}:{port}")
    async with asyncio.timeout(20), greeter(None, register=True, control_plane=away) as app:
        registering = await asked.get()
        before = await get(app, "/api/ready")
        slow.close()
        registering.close()
        while (await get(app, "/api/ready")).status != 200:
            pass

    assert (before.status, msgspec.json.decode(before.body)["reason"]) == (503, "registering")


async def test_a_component_that_cannot_take_requests_is_not_found_until_it_can(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "SERVING_POLL", 0.01)
    app = greeter(plane)
    answers = {"warm": True}

    @app.ready_when
    async def the_cache_is_warm() -> bool:
        return answers["warm"]

    async with app, asyncio.timeout(5):
        await reaches(plane, ComponentState.READY)
        before = await find_component("greeter", control_plane=plane.address)
        answers["warm"] = False
        taken = await plane.registry.wait_until("greeter", lambda record: record is not None and not record.serving)
        during = await find_component("greeter", control_plane=plane.address)
        answers["warm"] = True
        await plane.registry.wait_until("greeter", lambda record: record is not None and record.serving)
        after = await find_component("greeter", control_plane=plane.address)

    assert taken is not None
    assert (taken.state, taken.reason) == (ComponentState.READY, None)
    assert [found is not None for found in (before, during, after)] == [True, False, True]


async def test_plain_functions_may_be_hooks_and_conditions() -> None:
    app = greeter(None)
    threads: dict[str, int] = {}

    @app.on_start
    def load() -> None:
        threads["load"] = threading.get_ident()

    @app.ready_when
    def loaded() -> bool:
        threads["loaded"] = threading.get_ident()
        return True

    @app.on_stop
    def save() -> None:
        threads["save"] = threading.get_ident()

    async with app, asyncio.timeout(5):
        await app.wait_ready()

    assert threads.keys() == {"load", "loaded", "save"}
    assert threading.get_ident() not in threads.values()


async def test_a_component_is_not_started_twice() -> None:
    async with greeter(None) as app:
        port = app.port
        with pytest.raises(RuntimeError, match="greeter is started already"):
            await app.start()

        assert app.port == port
        assert (await get(app, "/api/health")).status == 200


@pytest.mark.parametrize("argument", ["capabilities", "depends_on"])
def test_one_string_where_a_list_is_expected_is_refused(argument: str) -> None:
    with pytest.raises(TypeError, match=rf"{argument} is a list: {argument}=\['greet'\]"):
        Component("greeter", **{argument: "greet"})  # type: ignore[arg-type]


async def test_a_condition_that_raises_does_not_hold() -> None:
    app = greeter(None)

    @app.ready_when
    async def hermes_answers() -> bool:
        raise TransportError("hermes", "connection refused")

    async with app:
        answer = await get(app, "/api/ready")

    assert answer.status == 503
    assert b"connection refused" in answer.body


async def test_a_stop_is_told_and_the_hooks_run_last_one_first(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    seen: list[tuple[str, ComponentState]] = []

    @app.on_stop
    async def first() -> None:
        seen.append(("first", plane.record("greeter").state))

    @app.on_stop
    async def second() -> None:
        seen.append(("second", plane.record("greeter").state))
        raise RuntimeError("already closed")

    async with app:
        await reaches(plane, ComponentState.READY)

    assert seen == [("second", ComponentState.STOPPING), ("first", ComponentState.STOPPING)]
    assert plane.record("greeter").state is ComponentState.STOPPED


async def test_a_request_in_progress_is_answered_before_the_end() -> None:
    app = greeter(None)
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    @app.get("/api/slow")
    async def slow(_: Request) -> dict[str, bool]:
        arrived.set()
        await may_answer.wait()
        return {"done": True}

    await app.start()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        answer = group.create_task(get(app, "/api/slow"))
        await arrived.wait()
        stop = group.create_task(app.stop())
        await asyncio.sleep(0)
        may_answer.set()
        await stop

    assert answer.result().body == b'{"done":true}'


async def test_a_tool_call_in_progress_has_its_result_before_the_end_though_it_is_a_stream() -> None:
    app = greeter(None)
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    @app.tool
    async def slow() -> str:
        arrived.set()
        await may_answer.wait()
        return "done"

    async def call() -> bytes:
        async with HttpClient(f"http://127.0.0.1:{app.port}") as client:
            return (await client.send("POST", "/api/tools/slow", {}, headers={"accept": "text/event-stream"})).body

    await app.start()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        answer = group.create_task(call())
        await arrived.wait()
        stop = group.create_task(app.stop())
        while app.port is not None:  # noqa: ASYNC110 (nothing tells that the stop has begun)
            await asyncio.sleep(0)
        may_answer.set()
        await stop

    assert b'event: result\ndata: {"result":"done"}' in answer.result()


async def test_a_stop_hook_that_hangs_is_cut_off(plane: InMemoryControlPlane) -> None:
    app, leaps = greeter(plane, stop_timeout=60.0), Leaps()

    @app.on_stop
    async def hang() -> None:
        leaps.leap(60.0)
        await asyncio.Event().wait()

    async with app:
        await reaches(plane, ComponentState.READY)

    assert plane.record("greeter").state is ComponentState.STOPPED


async def is_served(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_a_control_plane_that_does_not_answer_leaves_time_for_the_rest_of_the_stop() -> None:
    asked, silent, leaps = asyncio.Event(), list[asyncio.StreamWriter](), Leaps()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)
        asked.set()
        if (await reader.readline()).startswith(b"PUT "):  # the goodbye, which has a third of the time
            leaps.leap(20.0)

    mute = await asyncio.start_server(hear, "127.0.0.1", 0)
    host, port = mute.sockets[0].getsockname()
    app = greeter(None, register=True, control_plane=ControlPlane(f"http://{host}:{port}"), stop_timeout=60.0)
    arrived, may_answer, stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
    app.on_stop(stopped.set)

    @app.get("/api/slow")
    async def slow(_: Request) -> dict[str, bool]:
        arrived.set()
        await may_answer.wait()
        return {"done": True}

    async with asyncio.timeout(50):
        await app.start()
        own = app.port
        assert own is not None
        await asked.wait()
        async with mute, asyncio.TaskGroup() as group:
            answer = group.create_task(get(app, "/api/slow"))
            await arrived.wait()
            group.create_task(app.stop())
            await asyncio.sleep(0)
            may_answer.set()
        for writer in silent:
            writer.close()
            await writer.wait_closed()

    assert answer.result().body == b'{"done":true}'
    assert stopped.is_set()
    assert not await is_served(own)


async def test_a_stop_that_runs_out_of_time_gives_the_port_back() -> None:
    app = greeter(None, stop_timeout=0.2)
    asked = asyncio.Event()

    @app.ready_when
    async def it_can_be_stopped() -> bool:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()
        return True

    async with asyncio.timeout(10):
        await app.start()
        port = app.port
        assert port is not None
        await asked.wait()
        await app.stop()

    assert not await is_served(port)


async def test_what_had_failed_before_is_raised_by_the_stop_after_everything_has_ended(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()

    def fail(_: Membership) -> None:
        failed.set()
        raise RuntimeError("lost")

    monkeypatch.setattr(Membership, "mark_ready", fail)
    app = greeter(plane)
    seen: list[ComponentState] = []
    app.on_stop(lambda: seen.append(plane.record("greeter").state))

    async with asyncio.timeout(10):
        await app.start()
        port = app.port
        assert port is not None
        await reaches(plane, ComponentState.REGISTERING)
        await failed.wait()
        with pytest.raises(RuntimeError, match="lost"):
            await app.stop()

    assert seen == [ComponentState.STOPPING]
    assert not await is_served(port)


async def test_it_serves_without_a_control_plane_and_registers_when_there_is_one() -> None:
    port = free_port()
    async with Component("greeter", port=0, control_plane=ControlPlane(f"http://127.0.0.1:{port}")) as app:
        await app.wait_ready()
        assert (await get(app, "/api/health")).status == 200

        async with InMemoryControlPlane(port=port) as plane:
            await reaches(plane, ComponentState.READY)


async def test_under_a_supervisor_it_is_the_instance_that_was_started(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ComponentRegistration(component_id="greeter")
    await plane.registry.register(given, supervised=True)
    monkeypatch.setenv("TEKTON_URL", plane.address.url)
    monkeypatch.setenv("TEKTON_COMPONENT_ID", "greeter")
    monkeypatch.setenv("TEKTON_INSTANCE_UUID", given.instance_uuid)

    async with Component("something_else", port=0):
        record = await reaches(plane, ComponentState.READY)

    assert (record.instance_uuid, record.supervised) == (given.instance_uuid, True)
    assert plane.record("greeter").state is ComponentState.READY  # the supervisor sees the exit


async def test_each_start_is_an_instance_of_its_own(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    async with app:
        first = await reaches(plane, ComponentState.READY)
    async with app:
        second = await reaches(plane, ComponentState.READY)
        assert (await get(app, "/api/greet/Ada")).status == 200

    assert first.instance_uuid != second.instance_uuid
    assert (first.generation, second.generation) == (1, 2)


async def test_plain_functions_and_bodies_and_own_answers() -> None:
    app = greeter(None)

    @app.post("/api/sum")
    def add(request: Request) -> dict[str, int]:
        return {"sum": sum(request.body["numbers"])}

    @app.delete("/api/sum")
    async def refuse(_: Request) -> Response:
        return Response.json({"why": "sums stay"}, status=409)

    async with app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        assert await client.request("POST", "/api/sum", {"numbers": [1, 2]}) == {"sum": 3}
        assert (await client.send("POST", "/api/sum", [1, 2])).status == 422
        assert (await client.send("DELETE", "/api/sum")).status == 409


class TestPort:
    @pytest.fixture
    def free(self) -> int:
        return free_port()

    async def test_the_argument_comes_first(self, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", "1")

        async with greeter(None, port=free) as app:
            assert app.port == free

    async def test_then_the_environment(self, free: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORT", str(free))

        async with greeter(None, port=None) as app:
            assert app.port == free

    async def test_then_the_configuration(self, free: int, tmp_path: Path) -> None:
        (tmp_path / "tekton.json").write_text("{}")
        (tmp_path / "ports.json").write_text(f'{{"ports": {{"greeter": {free}}}}}')

        async with greeter(None, port=None) as app:
            assert app.port == free

    async def test_then_any_free_one(self) -> None:
        async with greeter(None, port=None) as app:
            assert app.port

    async def test_a_port_that_is_taken_is_an_error(self, plane: InMemoryControlPlane) -> None:
        async with greeter(None) as first:
            second = greeter(plane, port=first.port)
            with pytest.raises(PortInUseError):
                await second.start()

        assert plane.registry.find("greeter") is None


async def test_a_cancelled_start_leaves_nothing_behind(plane: InMemoryControlPlane) -> None:
    app = greeter(plane)
    app.on_start(asyncio.Event().wait)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        starting = group.create_task(app.start())
        await reaches(plane, ComponentState.REGISTERING)
        starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting

    assert app.port is None
    assert plane.record("greeter").state is ComponentState.FAILED


def test_a_wrong_id_is_refused_at_once() -> None:
    with pytest.raises(InvalidIdError):
        Component("Greeter", control_plane=ControlPlane())


def test_it_is_one_of_the_names_of_the_package() -> None:
    import tekton

    assert tekton.Component is Component


@pytest.mark.parametrize(
    ("header", "limited"), [("60", True), ("-1", False), ("nan", False), ("soon", False), (None, False)]
)
async def test_what_a_handler_calls_has_no_more_time_than_its_caller_gives(header: str | None, limited: bool) -> None:
    async def asgi(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(time_left() is not None).encode()})

    app = greeter(None)
    app.get("/left")(lambda _: time_left() is not None)
    app.mount("/mounted", asgi)
    headers = {} if header is None else {"Tekton-Timeout": header}
    async with app, HttpClient(f"http://127.0.0.1:{app.port}") as client:
        found = [await client.request("GET", path, headers=headers) for path in ("/left", "/mounted")]

    assert found == [limited, limited]
