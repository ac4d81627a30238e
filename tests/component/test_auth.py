"""Who may call a component: real components, a real control plane, and what goes on to the next one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from tekton.auth.keys import SigningKey
from tekton.component import Component, Request
from tekton.component.auth import Auth
from tekton.service.api import policy
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import remote_auth
from tekton.utils.discovery import Discovery
from tekton.utils.tekton_config import RoleSpec
from tekton.utils.tekton_http import Answer, HttpClient


async def told(scope: Any, receive: Any, send: Any) -> None:
    """A mounted application that tells what it was given."""

    async def tell(request: StarletteRequest) -> JSONResponse:
        principal = getattr(request.state, "principal", None)
        subject = None if principal is None else principal.subject
        return JSONResponse({"subject": subject, "authorization": request.headers.get("authorization")})

    await Starlette(routes=[Route("/{path:path}", tell)])(scope, receive, send)


def greeter(plane: InMemoryControlPlane | None, credential: str | None = None, **options: Any) -> Component:
    """A component with one of everything that can be called."""
    where: dict[str, Any] = {"register": False}
    if plane is not None:
        where = {"control_plane": plane.address if credential is None else plane.address_of(credential)}
    app = Component(options.pop("name", "greeter"), **{"port": 0, **where, **options})

    @app.get("/who")
    async def who(request: Request) -> dict[str, Any]:
        principal = request.principal
        return {"subject": principal.subject, "roles": principal.roles, "via": principal.via}

    @app.get("/open", permission="public")
    async def everybody(request: Request) -> dict[str, Any]:
        return {"subject": request.principal.subject}

    @app.get("/known", permission="authenticated")
    async def known(request: Request) -> dict[str, Any]:
        return {"subject": request.principal.subject}

    @app.post("/restart", permission="components:control")
    async def restart(_: Request) -> dict[str, Any]:
        return {}

    @app.tool
    async def greet() -> str:
        return "Hello."

    @app.tool(permission="components:control")
    async def reset() -> str:
        return "Done."

    app.mount("/mounted", told)
    app.mount("/guarded", told, permission="components:control")
    app.mount("/own", told, permission="public")
    return app


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever judges a token hears what he needs from the control plane, however busy the machine is."""
    monkeypatch.setattr(remote_auth, "TIMEOUT", 20.0)


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    deployer = RoleSpec(permissions=["components:control"], components=["greet*"])
    async with InMemoryControlPlane(interval=0.02, roles={"deployer": deployer}) as plane:
        yield plane


@asynccontextmanager
async def serving(plane: InMemoryControlPlane, **options: Any) -> AsyncIterator[Component]:
    """The component, with a credential of its own, registered."""
    name = options.get("name", "greeter")
    async with greeter(plane, await plane.token(name, "component"), **options) as app, asyncio.timeout(30):
        await plane.registry.wait_until(name, lambda record: record is not None and record.usable)
        yield app


async def ask(
    app: Component, path: str, token: str | None = None, method: str = "GET", headers: dict[str, str] | None = None
) -> Answer:
    async with HttpClient(str(app.endpoint), credential=token) as client:
        return await client.send(method, path, {} if method == "POST" else None, headers)


async def status(app: Component, path: str, token: str | None = None, *, remote: bool = False) -> int:
    method = "POST" if path in ("/restart", "/api/tools/greet", "/api/tools/reset") else "GET"
    return (await ask(app, path, token, method, {"X-Forwarded-For": "192.0.2.1"} if remote else None)).status


def content(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return msgspec.json.decode(answer.body)


PUBLIC = ("/api/health", "/api/ready", "/open", "/own/x")
FOR_CALLERS = (
    *("/who", "/api/tools", "/api/tools/greet", "/api/version", "/openapi.json", "/mounted/x"),
    "/metrics",
)
FOR_SOME = ("/restart", "/api/tools/reset", "/guarded/x")


@pytest.mark.parametrize(
    ("auth", "local", "remote"), [("auto", True, False), (True, False, False), (False, True, True)], ids=str
)
async def test_who_shows_nothing_may_what_the_setting_says(
    plane: InMemoryControlPlane, auth: Auth, local: bool, remote: bool
) -> None:
    async with serving(plane, auth=auth) as app:
        for path in PUBLIC:
            assert [await status(app, path), await status(app, path, remote=True)] == [200, 200], path
        for path in FOR_CALLERS:
            expected = [200 if local else 401, 200 if remote else 401]
            assert [await status(app, path), await status(app, path, remote=True)] == expected, path
        for path in ("/known", *FOR_SOME):
            assert [await status(app, path), await status(app, path, remote=True)] == [401, 401], path


@pytest.mark.parametrize("auth", ["auto", True, False], ids=str)
async def test_who_shows_a_token_may_what_its_roles_permit(plane: InMemoryControlPlane, auth: Auth) -> None:
    tokens = {
        "ada": await plane.token("ada", "operator", audience="greeter"),
        "mona": await plane.token("mona", "monitor", audience="greeter"),
        "dora": await plane.token("dora", "deployer", audience="greeter"),
    }
    async with serving(plane, auth=auth) as app:
        for name, may_control in (("ada", True), ("mona", False), ("dora", True)):
            for path in ("/who", "/known", "/api/tools/greet", "/mounted/x"):
                assert await status(app, path, tokens[name], remote=True) == 200, (name, path)
            for path in FOR_SOME:
                assert await status(app, path, tokens[name], remote=True) == (200 if may_control else 403), (name, path)


async def test_a_role_for_other_components_permits_nothing_here(plane: InMemoryControlPlane) -> None:
    async with serving(plane, name="engram", auth=True) as app:
        token = await plane.token("dora", "deployer", audience="engram")
        assert await status(app, "/who", token) == 200
        assert await status(app, "/restart", token) == 403


async def test_the_handler_sees_who_calls(plane: InMemoryControlPlane) -> None:
    async with serving(plane) as app:
        token = await plane.token("ada", "operator", "monitor", audience="greeter")
        assert content(await ask(app, "/who", token)) == {
            "subject": "ada",
            "roles": ["operator", "monitor"],
            "via": "token",
        }
        assert content(await ask(app, "/who"))["subject"] == "anonymous"
        assert content(await ask(app, "/mounted/x", token)) == {"subject": "ada", "authorization": None}
        assert content(await ask(app, "/mounted/x"))["subject"] == "anonymous"


async def test_what_is_not_valid_is_refused_where_nothing_is_needed_too(plane: InMemoryControlPlane) -> None:
    async with serving(plane) as app:
        answers = [
            await ask(app, "/who", token)
            for token in (
                "x",
                "tk_AbCdEf123456_" + "x" * 49,
                await plane.token("ada", "operator"),  # for the control plane
                await plane.token("ada", "operator", audience="engram"),
                await plane.token("greeter", "component"),  # the component's own credential
            )
        ]

    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1


async def test_a_token_for_a_component_is_none_for_the_control_plane(plane: InMemoryControlPlane) -> None:
    token = await plane.token("ada", "admin", audience="greeter")

    async with HttpClient(plane.address.url, credential=token) as client:
        statuses = {
            (await client.send(method, path, body)).status
            for method, path, body in (
                ("GET", "/api/components", None),
                ("POST", "/api/auth/token", {}),
                ("GET", "/events/auth", None),
            )
        }

    assert statuses == {401}


async def test_a_public_application_is_given_what_is_sent(plane: InMemoryControlPlane) -> None:
    async with serving(plane, auth=True) as app:
        answer = await ask(app, "/own/x", headers={"Authorization": "Basic YTpi"})

    assert content(answer) == {"subject": None, "authorization": "Basic YTpi"}


async def test_readiness_tells_its_reason_to_those_who_may_call(plane: InMemoryControlPlane) -> None:
    app = greeter(plane, await plane.token("greeter", "component"), auth=True)
    app.ready_when(lambda: False)
    token = await plane.token("ada", audience="greeter")

    async with app:
        assert await status(app, "/who", token) == 200
        stranger, known = await ask(app, "/api/ready"), await ask(app, "/api/ready", token)

    assert msgspec.json.decode(stranger.body) == {"ready": False, "reason": None}
    assert msgspec.json.decode(known.body) == {"ready": False, "reason": "<lambda> does not hold"}


# Taking back


async def test_a_revoked_token_is_refused_at_once(plane: InMemoryControlPlane) -> None:
    async with serving(plane) as app:
        token = await plane.token("ada", "operator", audience="greeter")
        assert await status(app, "/who", token) == 200

        await plane.revoke("ada")
        while await status(app, "/who", token) != 401:
            pass


async def test_event_streams_and_sockets_of_who_may_no_longer_have_them_end(plane: InMemoryControlPlane) -> None:
    async with serving(plane, auth=True) as app, aiohttp.ClientSession() as session:
        token = await plane.token("ada", audience="greeter")
        headers = {"Authorization": f"Bearer {token}"}
        base = str(app.endpoint)
        assert (await session.get(f"{base}/events/news")).status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await session.ws_connect(f"{base}/ws")

        async with (
            session.get(f"{base}/events/news", headers=headers) as events,
            session.ws_connect(f"{base}/ws", headers=headers) as socket,
        ):
            await socket.send_str('{"op":"sub","id":1,"topic":"news"}')
            await socket.send_str('{"op":"ping"}')
            assert (await socket.receive_json())["t"] == "pong"
            await plane.revoke("ada")

            last = (await events.content.read()).decode()
            assert "unauthenticated" in last
            frames = [frame.json() async for frame in socket if frame.type is aiohttp.WSMsgType.TEXT]
            assert frames[-1]["reason"] == "unauthenticated"


async def test_a_role_that_is_given_counts_at_once(plane: InMemoryControlPlane) -> None:
    async with serving(plane) as app:
        early = await plane.token("ada", audience="greeter")
        assert await status(app, "/known", early) == 200

        token = await plane.token("ada", "operator", audience="greeter")
        while await status(app, "/restart", token) != 200:
            pass
        assert await status(app, "/restart", early) == 403


async def test_no_request_fails_while_keys_are_rotated(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "LOOK", 0.02)
    ring = plane.security.ring
    refused = 0
    async with serving(plane) as app:
        remote = app._life.callers.remote
        assert remote is not None
        token = await plane.token("ada", audience="greeter")
        assert await status(app, "/known", token) == 200
        old = token
        for _ in range(5):
            now = plane.security.now()
            ring.replace([*ring.keys, SigningKey.generate(now, now + 3600)])
            while not remote._knows(ring.keys[-1].kid):
                refused += await status(app, "/known", token) != 200
            # The delay before it signs is over.
            signing = [*ring.keys[:-1], _signing(ring.keys[-1], now)]
            ring.replace(signing)
            token = await plane.token("ada", audience="greeter")
            refused += await status(app, "/known", token) != 200
            refused += await status(app, "/known", old) != 200

    assert refused == 0


def _signing(key: SigningKey, at: float) -> SigningKey:
    return SigningKey(key.kid, key.algorithm, key.public, key.private, key.published_at, at)


async def test_without_a_control_plane_callers_of_this_machine_are_served_and_tokens_cannot_be_judged(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_auth, "TIMEOUT", 0.2)
    token = await plane.token("ada", audience="greeter")
    await plane._server.stop()

    async with greeter(plane) as app:
        assert await status(app, "/who") == 200
        answer = await ask(app, "/who", token)

    assert answer.status == 503
    assert msgspec.json.decode(answer.body)["code"] == "unavailable"


async def test_a_component_that_cannot_be_told_the_policy_accepts_no_token(plane: InMemoryControlPlane) -> None:
    async with greeter(plane) as app:  # with nothing to show to the control plane
        assert await status(app, "/who", await plane.token("ada", audience="greeter")) == 503


async def test_a_component_by_itself_accepts_no_token() -> None:
    async with greeter(None) as app:
        assert await status(app, "/who") == 200
        assert await status(app, "/who", "x") == 401


async def test_tokens_that_a_secret_signs_are_not_made_for_components_nor_accepted_by_them() -> None:
    async with InMemoryControlPlane(jwt_secret="k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq") as plane:
        ada = await plane.token("ada", "operator")
        async with HttpClient(plane.address.url, credential=ada) as client:
            answer = await client.send("POST", "/api/auth/token", {"audience": "greeter"})
        async with serving(plane) as app:
            assert await status(app, "/who", await plane.token("ada", audience="greeter")) == 401
            assert await status(app, "/who") == 200

    assert answer.status == 422
    assert "jwt_secret" in msgspec.json.decode(answer.body)["detail"]


# Handing on


@asynccontextmanager
async def capturing() -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A server that keeps the headers of what it is sent, and refuses who shows nothing."""
    seen: list[dict[str, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head if line)}
                await reader.readexactly(int(headers.get("content-length", 0)))
                seen.append(headers)
                state = b"200 OK" if "authorization" in headers else b"401 Unauthorized"
                writer.write(b"HTTP/1.1 " + state + b"\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


@asynccontextmanager
async def between(
    plane: InMemoryControlPlane, handler: Callable[[Component, Request], Awaitable[Any]]
) -> AsyncIterator[tuple[Component, list[dict[str, str]]]]:
    """A component `proxy` that calls `backend` in *handler*, and what `backend` was sent."""
    app = Component("proxy", port=0, control_plane=plane.address_of(await plane.token("proxy", "component")))

    @app.post("/forward")
    async def forward(request: Request) -> Any:
        return await handler(app, request)

    async with capturing() as (url, seen), app, asyncio.timeout(30):
        await register(plane, "backend", url)
        yield app, seen


async def register(plane: InMemoryControlPlane, name: str, endpoint: str) -> None:
    async with plane.address.client() as client:
        made = await client.request("POST", "/api/components", {"component_id": name, "endpoint": endpoint})
        instance = {"instance_uuid": made["component"]["instance_uuid"]}
        await client.request("POST", f"/api/components/{name}/ready", instance)


async def naive(app: Component, request: Request) -> Any:
    """What is often written, and hands on what must not be: all that has come in."""
    names = set(request.headers.keys()) - {"content-length"}
    headers = {name: str(request.headers.get(name)) for name in names}
    return await app.discovery.call_api("backend", "/x", "POST", {}, headers=headers)


async def plain(app: Component, _: Request) -> Any:
    return await app.discovery.call_api("backend", "/x", "POST", {})


@pytest.mark.parametrize("handler", [plain, naive])
async def test_what_a_caller_shows_goes_to_nobody_else(plane: InMemoryControlPlane, handler: Any) -> None:
    shown = await plane.token("ada", "admin", audience="proxy")
    own = await plane.token("proxy", "component")

    async with between(plane, handler) as (app, seen):
        await plane.registry.wait_until("proxy", lambda record: record is not None)
        for _ in range(2):
            assert (await ask(app, "/forward", shown, "POST")).status == 200

    credentials = [headers.get("authorization", "") for headers in seen]
    assert all(shown not in credential and own not in credential for credential in credentials)
    # The first call shows nothing, and is told that something is needed.
    assert [bool(credential) for credential in credentials] == [False, True, True]
    claims = plane.security.verify(credentials[-1].removeprefix("Bearer "))
    assert (claims.subject, claims.roles, claims.all["aud"]) == ("proxy", ("component",), "backend")
    assert "ada" not in str(dict(claims.all))


async def test_a_header_of_the_handlers_own_is_sent_as_it_is(plane: InMemoryControlPlane) -> None:
    async def own(app: Component, _: Request) -> Any:
        return await app.discovery.call_api("backend", "/x", "POST", {}, headers={"Authorization": "Bearer mine"})

    async with between(plane, own) as (app, seen):
        assert (await ask(app, "/forward", None, "POST")).status == 200

    assert [headers["authorization"] for headers in seen] == ["Bearer mine"]


async def test_components_that_ask_who_calls_are_told(plane: InMemoryControlPlane) -> None:
    async with serving(plane, auth=True), serving(plane, name="proxy") as proxy:
        who = [await proxy.discovery.call_api("greeter", "/who") for _ in range(2)]

    assert who == [{"subject": "proxy", "roles": ["component"], "via": "token"}] * 2


async def test_a_call_that_was_refused_is_made_once_more_and_done_once(plane: InMemoryControlPlane) -> None:
    done = 0
    app = greeter(plane, await plane.token("greeter", "component"), auth=True)

    @app.post("/count")
    async def count(_: Request) -> dict[str, int]:
        nonlocal done
        done += 1
        return {"done": done}

    async with app, serving(plane, name="proxy") as proxy:
        await plane.registry.wait_until("greeter", lambda record: record is not None and record.usable)
        assert await proxy.discovery.call_api("greeter", "/count", "POST", {}) == {"done": 1}


async def test_a_discovery_by_itself_calls_as_who_has_it(plane: InMemoryControlPlane) -> None:
    address = plane.address_of(await plane.token("ada", "operator"))

    async with serving(plane, auth=True), Discovery(address) as discovery:
        assert await discovery.call_api("greeter", "/who") == {"subject": "ada", "roles": ["operator"], "via": "token"}
        assert await discovery.call_api("greeter", "/restart", "POST", {}) == {}


async def test_a_caller_without_a_credential_gets_the_refusal(plane: InMemoryControlPlane) -> None:
    async with serving(plane, auth=True), Discovery(plane.address) as discovery:
        with pytest.raises(Exception, match="this needs a valid credential"):
            await discovery.call_api("greeter", "/who")


# Defining


@pytest.mark.parametrize("permission", ["", "components:contrl", "admin", "callers", "PUBLIC"])
def test_a_permission_that_there_is_not_is_refused(permission: str) -> None:
    app = Component("greeter", register=False)

    with pytest.raises(ValueError, match="is no permission"):
        app.get("/x", permission=permission)
    with pytest.raises(ValueError, match="is no permission"):
        app.tool(permission=permission)
    with pytest.raises(ValueError, match="is no permission"):
        app.mount("/x", told, permission=permission)


def test_the_nearest_permission_is_named() -> None:
    with pytest.raises(ValueError, match="did you mean 'components:control'"):
        Component("greeter", register=False).get("/x", permission="components:contrl")


@pytest.mark.parametrize("auth", ["yes", None, "", 2])
def test_a_setting_that_there_is_not_is_refused(auth: Any) -> None:
    with pytest.raises(ValueError, match="auth is"):
        Component("greeter", register=False, auth=auth)
