"""Discovery against the real registry and HTTP interface, and calls to a real server."""

import asyncio
import itertools
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tekton.auth.principal import Principal, owner
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.lifecycle import ComponentRegistration, ComponentState
from tekton.gateway.app import Gateway
from tekton.gateway.auth import AccessPolicy, InvalidCredentialError
from tekton.gateway.changes import ChangeSource
from tekton.gateway.component_topic import ComponentSocket
from tekton.gateway.request import Request, Response
from tekton.gateway.router import Route
from tekton.gateway.server import GatewayServer
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.component_client import (
    ComponentClient,
    ControlPlane,
    call_api,
    find_component,
    find_components_by_capability,
)
from tekton.utils.tekton_errors import (
    ComponentNotFoundError,
    ConfigurationError,
    InvalidIdError,
    ProblemError,
    TransportError,
)
from tekton.utils.tekton_websocket import Snapshot, WebSocketClient


class Memory(msgspec.Struct):
    key: str
    value: object


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane:
        yield plane


@pytest.fixture
async def engram() -> AsyncIterator[GatewayServer]:
    """A small memory, as the specification's example uses it."""
    memories: dict[str, object] = {}

    async def store(request: Request) -> Response:
        memories[request.body.key] = request.body.value
        return Response.json({"stored": request.body.key}, status=201)

    async def recall(request: Request) -> Memory:
        if request.params["key"] not in memories:
            raise ComponentNotFoundError(request.params["key"])
        return Memory(request.params["key"], memories[request.params["key"]])

    async def teapot(_: Request) -> Response:
        return Response.json({"what": "a teapot"}, status=418)

    routes = [
        Route("POST", "/api/memory/store", store, summary="Store", body=Memory),
        Route("GET", "/api/memory/{key}", recall, summary="Recall"),
        Route("GET", "/api/teapot", teapot, summary="Refuse"),
    ]
    server = GatewayServer(Gateway(routes), "127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop()


async def register(plane: InMemoryControlPlane, component_id: str, server: GatewayServer | None = None) -> str:
    """A READY component that stores memories."""
    registration = ComponentRegistration(
        component_id=component_id,
        capabilities=("memory_storage",),
        endpoint=f"http://127.0.0.1:{server.port}" if server else None,
    )
    await plane.registry.register(registration)
    await plane.registry.make_ready(component_id, registration.instance_uuid)
    return registration.instance_uuid


async def found(plane: InMemoryControlPlane, component_id: str) -> ComponentClient:
    component = await find_component(component_id, control_plane=plane.address)
    assert component is not None
    return component


async def test_a_component_is_found_and_called(plane: InMemoryControlPlane, engram: GatewayServer) -> None:
    await register(plane, "engram", engram)

    component = await found(plane, "engram")
    stored = await component.call_api(
        "/api/memory/store", method="POST", data={"key": "my_data", "value": {"some": "data"}}
    )
    recalled = await component.call_api("/api/memory/my_data")

    assert (component.component_id, component.state) == ("engram", ComponentState.READY)
    assert component.capabilities == ("memory_storage",)
    assert stored == {"stored": "my_data"}
    assert recalled == {"key": "my_data", "value": {"some": "data"}}


async def test_a_call_with_data_that_names_no_method_is_a_post(
    plane: InMemoryControlPlane, engram: GatewayServer
) -> None:
    await register(plane, "engram", engram)

    component = await found(plane, "engram")

    assert await component.call_api("/api/memory/store", data={"key": "other", "value": 1}) == {"stored": "other"}


async def test_what_is_not_there_is_none(plane: InMemoryControlPlane) -> None:
    assert await find_component("engram", control_plane=plane.address) is None


async def test_what_is_no_id_is_refused_before_it_is_sent(plane: InMemoryControlPlane) -> None:
    for attempt in (
        find_component("Bad Name", control_plane=plane.address),
        find_components_by_capability("../components", control_plane=plane.address),
        call_api("a/b", "/api", control_plane=plane.address),
    ):
        with pytest.raises(InvalidIdError):
            await attempt


async def test_what_cannot_be_used_is_not_found(plane: InMemoryControlPlane, engram: GatewayServer) -> None:
    instance = await register(plane, "engram", engram)
    plane.registry.observe("engram", instance, ComponentState.FAILED, "exit 1")

    assert await find_component("engram", control_plane=plane.address) is None
    assert await find_components_by_capability("memory_storage", control_plane=plane.address) == []


async def test_components_are_found_by_capability_ready_ones_first(
    plane: InMemoryControlPlane, engram: GatewayServer
) -> None:
    instance = await register(plane, "a_memory", engram)
    await plane.registry.set_state("a_memory", instance, ComponentState.DEGRADED)
    await register(plane, "engram", engram)

    components = await find_components_by_capability("memory_storage", control_plane=plane.address)

    assert [component.component_id for component in components] == ["engram", "a_memory"]
    assert await find_components_by_capability("flying", control_plane=plane.address) == []


async def test_one_connection_serves_the_calls_inside_a_with_block(
    plane: InMemoryControlPlane, engram: GatewayServer
) -> None:
    await register(plane, "engram", engram)

    async with await found(plane, "engram") as component:
        await component.call_api("api/memory/store", "POST", Memory("a", 1))
        answers = await asyncio.gather(*(component.call_api("/api/memory/a") for _ in range(5)))

    assert answers == [{"key": "a", "value": 1}] * 5


async def test_the_refusal_of_a_component_is_raised(plane: InMemoryControlPlane, engram: GatewayServer) -> None:
    await register(plane, "engram", engram)
    component = await found(plane, "engram")

    with pytest.raises(ComponentNotFoundError):
        await component.call_api("/api/memory/nothing")
    with pytest.raises(ProblemError) as refused:
        await component.call_api("/api/teapot")

    assert refused.value.status == 418


async def test_a_component_without_endpoint_cannot_be_called(plane: InMemoryControlPlane) -> None:
    await register(plane, "engram")
    component = await found(plane, "engram")

    with pytest.raises(TransportError, match="without an endpoint"):
        await component.call_api("/api/health")


async def test_a_control_plane_that_is_away_is_an_error() -> None:
    with pytest.raises(TransportError, match="connection refused"):
        await find_component("engram", control_plane=ControlPlane("http://127.0.0.1:1"))


class TestFromEnvironment:
    @pytest.fixture(autouse=True)
    def nothing_set(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("URL", "PORT", "SOCKET", "CREDENTIAL_FILE", "DATA_DIR", "CONFIG_FILE", "HOST"):
            monkeypatch.delenv(f"TEKTON_{name}", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)

    def test_without_anything_it_is_the_usual_port(self) -> None:
        assert ControlPlane.from_environment() == ControlPlane("http://localhost:8010")

    def test_the_socket_of_the_configured_data_directory_is_used(self, tmp_path: Path) -> None:
        socket = tmp_path / ".tekton" / "data" / "run" / "control.sock"
        socket.parent.mkdir(parents=True)

        with sockets.socket(sockets.AF_UNIX) as listener:
            listener.bind(str(socket))
            listener.listen()
            running = ControlPlane.from_environment()
        killed = ControlPlane.from_environment()

        assert running == ControlPlane("http://localhost:8010", socket)
        assert killed == ControlPlane("http://localhost:8010")
        assert socket.exists()

    def test_the_configured_port_is_used(self, tmp_path: Path) -> None:
        (tmp_path / "tekton.json").write_text('{"tekton": {"port": 8123}}')

        assert ControlPlane.from_environment() == ControlPlane("http://localhost:8123")

    def test_another_place_is_taken_as_it_is(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "credential").write_text("hush\n")
        monkeypatch.setenv("TEKTON_URL", "http://tekton.example:8010/api")
        monkeypatch.setenv("TEKTON_CREDENTIAL_FILE", str(tmp_path / "credential"))

        plane = ControlPlane.from_environment()

        assert plane == ControlPlane("http://tekton.example:8010", credential="hush")
        assert "hush" not in repr(plane)

    def test_the_socket_of_the_environment_is_used_when_it_is_there(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("TEKTON_URL", "http://127.0.0.1:8010")
        monkeypatch.setenv("TEKTON_SOCKET", str(tmp_path / "control.sock"))

        before = ControlPlane.from_environment()
        (tmp_path / "control.sock").touch()
        after = ControlPlane.from_environment()

        assert (before.socket, after.socket) == (None, tmp_path / "control.sock")

    def test_a_malformed_url_is_a_mistake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TEKTON_URL", "tekton")

        with pytest.raises(ConfigurationError):
            ControlPlane.from_environment()

    async def test_discovery_asks_the_control_plane_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with InMemoryControlPlane() as plane:
            monkeypatch.setenv("TEKTON_URL", plane.address.url)
            await register(plane, "engram")

            assert await find_component("engram") is not None


class TestCredentialFile:
    async def test_it_is_sent_and_read_anew_when_it_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        credentials = {"first": owner("credential")}
        async with guarded_plane(credentials) as url:
            (tmp_path / "credential").write_text("first\n")
            monkeypatch.setenv("TEKTON_URL", url)
            monkeypatch.setenv("TEKTON_CREDENTIAL_FILE", str(tmp_path / "credential"))
            plane = ControlPlane.from_environment()
            async with plane.client() as client, WebSocketClient(plane) as sockets:
                assert await client.request("GET", "/x") == {"subject": "owner"}
                (tmp_path / "credential").write_text("second\n")
                del credentials["first"]
                credentials["second"] = owner("credential")

                assert await client.request("GET", "/x") == {"subject": "owner"}
                async with asyncio.timeout(5), aclosing(sockets.watch()) as events:
                    assert isinstance(await anext(events), Snapshot)

    def test_a_file_that_is_gone_has_nothing_to_say(self, tmp_path: Path) -> None:
        plane = ControlPlane(credential="a", credential_file=tmp_path / "credential")

        assert plane.read_credential() is None
        assert ControlPlane().read_credential() is None


@asynccontextmanager
async def guarded_plane(credentials: dict[str, Principal]) -> AsyncIterator[str]:
    """A server that lets in who shows one of *credentials*, as they are at that moment."""

    async def who(request: Request) -> dict[str, str]:
        return {"subject": request.principal.subject}

    async def heard(*_: Any) -> Any:
        raise NotImplementedError

    def identify(credential: str) -> Principal:
        if credential not in credentials:
            raise InvalidCredentialError("unknown")
        return credentials[credential]

    registry = ComponentRegistry()
    # What was found is not remembered: the epoch never stays what it was.
    policy = AccessPolicy(identify, anonymous="nobody", epoch=itertools.count().__next__)
    source = ChangeSource(registry.feed, registry.all_instances)
    routes = [Route("GET", "/x", who, "Who", "components:read")]
    server = GatewayServer(Gateway(routes, policy=policy, websocket=ComponentSocket(source, heard)), "127.0.0.1", 0)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop(timeout=2.0)
    await registry.close()
