"""Requests with an Idempotency-Key, over a real port and a registry in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from tekton.auth.principal import Principal
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.steps import Step
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.core.idempotency import LIFETIME
from tekton.core.lifecycle import ComponentRecord, ComponentRegistration
from tekton.gateway.app import Request, Response, Route
from tekton.gateway.errors import UnavailableError
from tekton.testing import ManualClock
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import ComponentError, StorageFullError

UUID = "00000000-0000-4000-8000-000000000001"


class Name(msgspec.Struct):
    name: str = "rhetor"


class Backend:
    """A registry behind a few routes. `calls` are the bodies that a handler has been given."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore()
        self.store = FaultyStore(self.memory)
        self.registry = ComponentRegistry(store=self.store, clock=self.clock)
        self.calls: list[str] = []
        self.go_on = asyncio.Event()
        self.reached = asyncio.Event()
        self.over = asyncio.Event()
        self.handler: asyncio.Task[Any] | None = None
        self.fail: Exception | None = None
        self.large = 0

    def routes(self) -> list[Route]:
        def route(path: str, handler: Callable[[Request], Awaitable[Any]], **more: Any) -> Route:
            return Route(more.pop("method", "POST"), path, handler, summary="", body=Name, **more)

        return [
            route("/api/register", self.register, status=201, answer_of=self.registered),
            route("/api/plain", self.register, status=201),
            route("/api/effect", self.effect),
            route("/api/nothing", self.nothing),
            route("/api/secret", self.secret, repeats="known", status=201),
            route("/api/harmless", self.nothing, repeats="harmless"),
            route("/api/empty", self.empty, method="DELETE"),
            route("/elsewhere", self.nothing),
        ]

    async def register(self, request: Request) -> ComponentRecord:
        self.calls.append(request.body.name)
        registration = ComponentRegistration(component_id=request.body.name, instance_uuid=UUID)
        record, _ = await self.registry.register(registration)
        return record

    def registered(self, steps: Sequence[Step]) -> ComponentRecord:
        return steps[0].record

    async def effect(self, request: Request) -> Response:
        """Something that is done to a process: slow, and it may fail."""
        self.calls.append(request.body.name)
        with await self.registry.audit.intend("kill", request.body.name):
            self.handler = asyncio.current_task()
            self.reached.set()
            await self.go_on.wait()
            if self.fail is not None:
                raise self.fail
        self.over.set()
        return Response.json({"done": request.body.name}, 202, [("x-note", "n")])

    async def nothing(self, request: Request) -> dict[str, str]:
        self.calls.append(request.body.name)
        if self.fail is not None:
            raise self.fail
        return {"name": request.body.name * (self.large or 1)}

    async def secret(self, request: Request) -> dict[str, str]:
        self.calls.append(request.body.name)
        await self.registry.audit.record("token.issue", request.body.name)
        return {"token": "t0p-s3cret"}

    async def empty(self, request: Request) -> None:
        self.calls.append(request.body.name)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    yield backend
    await backend.registry.close()


@pytest.fixture
async def site(backend: Backend, serve: Any) -> Any:
    def policy(request: Request, _: Route) -> None:
        subject = request.headers.get("x-who") or "ann"
        request.principal = Principal(subject=subject, roles=(), via="token", grants=request.principal.grants)

    return await serve(backend.routes(), keys=backend.registry.idempotency_keys, policy=policy)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(5):
        await event.wait()


async def send(site: Any, path: str, key: str = "k", name: str = "rhetor", method: str = "POST", **headers: str) -> Any:
    body = json.dumps({"name": name}).encode()
    return await site.request(method, path, body, idempotency_key=key, **headers)


@pytest.mark.parametrize("path", ["/api/register", "/api/plain"])
async def test_a_repeated_request_is_answered_as_before_and_not_carried_out(
    backend: Backend, site: Any, path: str
) -> None:
    first = await send(site, path)
    second = await send(site, path)

    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["content-type"] == "application/json"
    assert second.headers["cache-control"] == "no-store"
    assert backend.calls == ["rhetor"]


async def test_other_headers_and_statuses_are_repeated_too(backend: Backend, site: Any) -> None:
    backend.go_on.set()
    first, second = [await send(site, "/api/effect") for _ in range(2)]

    assert (second.status, second.body, second.headers["x-note"]) == (202, first.body, "n")


async def test_an_empty_answer_is_repeated_as_one(backend: Backend, site: Any) -> None:
    first, second = [await send(site, "/api/empty", method="DELETE") for _ in range(2)]

    assert (first.status, second.status, second.body) == (204, 204, b"")
    assert second.headers["idempotency-replayed"] == "true"
    assert backend.calls == ["rhetor"]


async def test_a_refusal_is_an_answer_like_any_other(backend: Backend, site: Any) -> None:
    backend.fail = ComponentError("rhetor", "no")
    first = await send(site, "/api/nothing")
    backend.fail = None
    second = await send(site, "/api/nothing")

    assert (first.status, second.status) == (409, 409)
    assert first.body == second.body
    assert second.headers["content-type"] == "application/problem+json"
    assert backend.calls == ["rhetor"]


async def test_without_a_key_everything_is_carried_out(backend: Backend, site: Any) -> None:
    for _ in range(2):
        assert (await site.request("POST", "/api/nothing", b"{}")).status == 200

    assert len(backend.calls) == 2
    assert len(backend.registry.idempotency_keys) == 0


@pytest.mark.parametrize("path", ["/api/harmless", "/elsewhere"])
async def test_the_header_means_nothing_where_repeating_does_no_harm(backend: Backend, site: Any, path: str) -> None:
    for _ in range(2):
        assert (await send(site, path, key="not a key")).status == 200

    assert len(backend.calls) == 2


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 256, "schlüssel", "tab\tbed"])
async def test_a_key_that_is_none_is_refused(backend: Backend, site: Any, key: str) -> None:
    body = b"{}"
    head = f"POST /api/nothing HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\ncontent-length: 2\r\n"
    answer = await site.raw(head.encode() + b"content-type: application/json\r\n\r\n" + body)

    assert answer.status == 422
    assert answer.json["code"] == "idempotency_key_invalid"
    assert backend.calls == []


async def test_two_keys_are_refused(backend: Backend, site: Any) -> None:
    head = b"POST /api/nothing HTTP/1.1\r\nhost: localhost\r\nidempotency-key: a\r\nidempotency-key: a\r\n"
    answer = await site.raw(head + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    assert answer.json["code"] == "idempotency_key_invalid"
    assert backend.calls == []


@pytest.mark.parametrize("key", ["!", "~" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"'])
async def test_visible_ascii_is_a_key(site: Any, key: str) -> None:
    assert (await send(site, "/api/nothing", key=key)).status == 200


async def test_a_key_means_one_request(backend: Backend, site: Any) -> None:
    assert (await send(site, "/api/nothing")).status == 200
    others = [
        await send(site, "/api/nothing", name="hermes"),
        await send(site, "/api/plain"),
        await send(site, "/api/empty", method="DELETE"),
    ]

    assert {(answer.status, answer.json["code"]) for answer in others} == {(422, "idempotency_key_reused")}
    assert backend.calls == ["rhetor"]


async def test_keys_belong_to_who_sends_them(backend: Backend, site: Any) -> None:
    first = await send(site, "/api/nothing", x_who="ann")
    second = await send(site, "/api/nothing", x_who="bob", name="hermes")

    assert (first.status, second.status) == (200, 200)
    assert backend.calls == ["rhetor", "hermes"]


async def test_a_request_that_was_not_understood_has_not_used_up_its_key(backend: Backend, site: Any) -> None:
    refused = await site.request("POST", "/api/nothing", b'{"name": 1}', idempotency_key="k")

    assert refused.status == 422
    assert (await send(site, "/api/nothing")).status == 200


async def test_the_same_request_at_the_same_time_is_told_to_wait(backend: Backend, site: Any) -> None:
    first = asyncio.ensure_future(send(site, "/api/effect"))
    await soon(backend.reached)

    second = await send(site, "/api/effect")
    backend.go_on.set()

    assert (second.status, second.json["code"], second.headers["retry-after"]) == (409, "request_running", "1")
    assert (await first).status == 202
    assert (await send(site, "/api/effect")).headers["idempotency-replayed"] == "true"
    assert backend.calls == ["rhetor"]


async def test_a_client_that_leaves_finds_the_answer_when_it_comes_back(backend: Backend, site: Any) -> None:
    wire = await site.connect()
    body = b'{"name": "rhetor"}'
    head = "POST /api/effect HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\ncontent-type: application/json\r\n"
    await wire.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    await soon(backend.reached)
    wire.writer.transport.abort()
    backend.go_on.set()

    await soon(backend.over)
    await backend.registry.flush()

    answer = await send(site, "/api/effect")

    assert (answer.status, answer.headers["idempotency-replayed"]) == (202, "true")
    assert backend.calls == ["rhetor"]


async def test_what_the_store_had_no_room_for_is_done_when_it_comes_again(backend: Backend, site: Any) -> None:
    backend.store.full = True
    first = await send(site, "/api/register")
    backend.store.full = False
    second = await send(site, "/api/register")

    assert (first.status, first.json["code"]) == (503, "storage_full")
    assert second.status == 201
    assert "idempotency-replayed" not in second.headers


async def test_an_answer_that_finds_no_room_is_given_and_afterwards_unknown(backend: Backend, site: Any) -> None:
    first = asyncio.ensure_future(send(site, "/api/effect"))
    await soon(backend.reached)
    backend.store.full = True
    backend.go_on.set()

    assert (await first).status == 202
    assert (await send(site, "/api/effect")).json["code"] == "outcome_unknown"
    assert backend.calls == ["rhetor"]


async def test_what_was_begun_and_given_up_is_unknown(backend: Backend, site: Any) -> None:
    backend.go_on.set()
    backend.fail = UnavailableError("the control plane is stopping")
    first = await send(site, "/api/effect")
    second = await send(site, "/api/effect")

    assert first.status == 503
    assert (second.status, second.json["code"]) == (409, "outcome_unknown")
    assert "retry-after" not in second.headers
    assert second.json["begun_at"] == backend.clock.time()
    assert backend.calls == ["rhetor"]


async def test_the_audit_log_names_the_key_of_what_is_unknown(backend: Backend, site: Any) -> None:
    backend.go_on.set()
    backend.fail = UnavailableError("the control plane is stopping")
    await send(site, "/api/effect", key="find-me")
    await backend.registry.flush()

    entries = (await backend.registry.audit.page(AuditQuery())).entries

    assert [(entry.action, entry.actor, entry.request, entry.outcome) for entry in entries] == [
        ("kill", "ann", "find-me", "failed"),
        ("kill", "ann", "find-me", "intent"),
    ]


@pytest.mark.parametrize("error", [RuntimeError("bug"), StorageFullError("full"), UnavailableError("busy")])
async def test_what_failed_and_did_nothing_is_done_when_it_comes_again(
    backend: Backend, site: Any, error: Exception
) -> None:
    backend.fail = error
    assert (await send(site, "/api/nothing")).status in (500, 503)
    backend.fail = None

    answer = await send(site, "/api/nothing")

    assert answer.status == 200
    assert "idempotency-replayed" not in answer.headers


async def test_a_defect_after_the_effect_is_not_tried_again(backend: Backend, site: Any) -> None:
    backend.go_on.set()
    backend.fail = RuntimeError("bug")
    first = await send(site, "/api/effect")
    backend.fail = None
    second = await send(site, "/api/effect")

    assert (first.status, second.status, second.body) == (500, 500, first.body)
    assert backend.calls == ["rhetor"]


async def test_a_secret_is_answered_once_and_not_kept(backend: Backend, site: Any) -> None:
    first = await send(site, "/api/secret")
    second = await send(site, "/api/secret")

    assert first.json == {"token": "t0p-s3cret"}
    assert (second.status, second.json["code"], second.json["answered"]) == (409, "answer_not_kept", 201)
    assert backend.calls == ["rhetor"]
    assert not any("t0p-s3cret" in (row.answer or "") for row in backend.memory._keys.values())


@pytest.mark.parametrize(("large", "kept"), [(60_000, True), (70_000, False)])
async def test_answers_of_up_to_64_kib_are_kept(backend: Backend, site: Any, large: int, kept: bool) -> None:
    backend.large = large
    first = await send(site, "/api/nothing", name="x")
    second = await send(site, "/api/nothing", name="x")

    assert len(first.body) > large
    assert second.body == first.body if kept else second.json["code"] == "answer_not_kept"
    assert backend.calls == ["x"]


async def test_a_key_is_forgotten_after_a_day(backend: Backend, site: Any) -> None:
    await send(site, "/api/nothing")
    backend.clock.advance(LIFETIME - 1)
    late = await send(site, "/api/nothing")
    backend.clock.advance(1)
    anew = await send(site, "/api/nothing", name="hermes")

    assert late.headers["idempotency-replayed"] == "true"
    assert anew.status == 200
    assert backend.calls == ["rhetor", "hermes"]


async def test_a_handler_that_is_cut_off_leaves_an_unknown_outcome(backend: Backend, site: Any) -> None:
    keys = backend.registry.idempotency_keys
    hung = asyncio.ensure_future(send(site, "/api/effect"))
    await soon(backend.reached)
    # What the server does with handlers that have not ended when it stops.
    assert backend.handler is not None
    backend.handler.cancel()

    assert (await hung).status == 503
    assert (await send(site, "/api/effect")).json["code"] == "outcome_unknown"
    assert len(keys) == 1
