"""`POST /v1/traces` and `GET /api/traces`, on a real port, with OpenTelemetry's own exporter."""

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tekton.auth.principal import Principal
from tekton.auth.roles import Role, RoleTable
from tekton.core.history.store import MemoryTelemetryStore
from tekton.core.tracing import Span
from tekton.gateway.app import Gateway
from tekton.gateway.auth import AccessPolicy, Anonymous, InvalidCredentialError
from tekton.gateway.server import GatewayServer
from tekton.service.api import traces
from tekton.service.system import System
from tekton.service.tracing import Tracing
from tekton.utils import otlp

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}


ROLES = RoleTable({"shipper": Role(frozenset({"components:heartbeat"}), ("e*",))})


def identify(credential: str) -> Principal:
    """The credential of a component is its name; `shipper` may speak for those whose names begin with an e."""
    if not credential.isalpha():
        raise InvalidCredentialError("unknown")
    if credential == "shipper":
        return Principal(subject="shipper", roles=("shipper",), via="token", grants=ROLES.grants(["shipper"]))
    return Principal(
        subject=credential,
        roles=("component",),
        component_id=credential,
        via="credential",
        grants=RoleTable().grants(["component"], credential),
    )


class Receiver:
    """The routes, and what reaches the store."""

    def __init__(self, anonymous: Anonymous = "local") -> None:
        self.tracing = Tracing(MemoryTelemetryStore())
        self.policy = AccessPolicy(identify, anonymous=anonymous, guarded=lambda name: name == "rhetor")
        security = SimpleNamespace(policy=self.policy)
        routes = traces.routes(cast(System, SimpleNamespace(tracing=self.tracing, security=security)))
        self.server = GatewayServer(Gateway(routes, policy=self.policy), "127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def spans(self) -> list[Span]:
        return await self.tracing.trace(f"{7:032x}")

    async def post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/v1/traces", data=body, headers=headers) as answer,
        ):
            return answer.status, answer.content_type, await answer.read()

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}") as answer:
            return await answer.json(content_type=None)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.server.start()
    yield receiver
    await receiver.server.stop(timeout=1.0)


def span(name: str = "work", component: str = "rhetor", **fields: Any) -> Span:
    given = {"trace_id": f"{7:032x}", "span_id": f"{8:016x}", "started_at": 1.0, "duration": 0.5}
    return Span(name=name, component=component, **{**given, **fields})


class Noting(SpanExporter):
    """An exporter that remembers what came of each batch."""

    def __init__(self, inner: SpanExporter) -> None:
        self.inner = inner
        self.results: list[SpanExportResult] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.results.append(self.inner.export(spans))
        return self.results[-1]

    def shutdown(self) -> None:
        self.inner.shutdown()


def exported(url: str, **options: Any) -> tuple[list[SpanExportResult], str]:
    """Trace a piece of work by OpenTelemetry, and send it to *url*: what came of that, and the trace id."""
    exporter = Noting(OTLPSpanExporter(f"{url}/v1/traces", **options))
    provider = TracerProvider(resource=Resource({"service.name": "greeter", "service.instance.id": "one"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    attributes = {"n": 1, "many": ["a", "b"]}
    with (
        tracer.start_as_current_span("outer") as outer,
        tracer.start_as_current_span("inner", attributes=attributes) as inner,
    ):
        inner.add_event("tick", {"x": 0.5})
        inner.set_status(StatusCode.ERROR, "odd")
    trace_id = f"{outer.get_span_context().trace_id:032x}"
    provider.shutdown()
    return exporter.results, trace_id


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_the_exporter_of_opentelemetry_is_understood(receiver: Receiver, compression: Compression) -> None:
    results, trace_id = await asyncio.to_thread(exported, receiver.url, compression=compression)

    assert results == [SpanExportResult.SUCCESS] * 2
    shown = await receiver.get(f"/api/traces/{trace_id}")
    assert shown["trace"] | {"started_at": 0, "duration": 0} == {
        "trace_id": trace_id, "name": "outer", "component": "greeter", "started_at": 0, "duration": 0,
        "status": "error", "spans": 2, "errors": 1, "components": ["greeter"],
    }  # fmt: skip
    outer, inner = shown["spans"]
    assert (inner["parent_id"], inner["depth"], inner["instance"]) == (outer["span_id"], 1, "one")
    assert (inner["attributes"], inner["message"]) == ({"n": 1, "many": '["a","b"]'}, "odd")
    assert [(one["name"], one["attributes"]) for one in inner["events"]] == [("tick", {"x": 0.5})]


async def test_json_is_taken_as_well(receiver: Receiver) -> None:
    answer = await receiver.post(otlp.encode([span()]), {"content-type": "application/json; charset=utf-8"})

    assert answer == (200, "application/json", b"{}")
    assert [one.name for one in await receiver.spans()] == ["work"]


async def test_what_is_left_out_is_told_in_the_answer(receiver: Receiver) -> None:
    body = otlp.encode([span(), span(trace_id="0" * 32)])

    status, _, answer = await receiver.post(body, JSON)

    assert (status, json.loads(answer)["partialSuccess"]["rejectedSpans"]) == (200, "1")
    assert len(await receiver.spans()) == 1


async def test_nothing_is_a_request_too(receiver: Receiver) -> None:
    assert await receiver.post(b"", PROTOBUF) == (200, "application/x-protobuf", b"")
    assert ExportTraceServiceResponse.FromString(b"") == ExportTraceServiceResponse()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400),
        (b"x", {**PROTOBUF, "content-encoding": "br"}, 400),
        (gzip.compress(bytes(otlp.MAX_UNPACKED + 1), mtime=0), {**PROTOBUF, "content-encoding": "gzip"}, 413),
        (b'{"resourceSpans":[' + b"{}," * 250_000 + b"{}]}", JSON, 413),
    ],
)
async def test_what_cannot_be_read_is_refused_in_the_way_of_otlp(
    receiver: Receiver, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, media_type, answer = await receiver.post(body, headers)

    assert found == status
    if media_type == "application/json":
        assert json.loads(answer).keys() == {"message"}
    else:
        # google.rpc.Status: its field 2 is the message.
        assert (media_type, answer[0]) == ("application/x-protobuf", 0x12)
    assert await receiver.spans() == []


async def test_a_body_of_another_kind_is_refused(receiver: Receiver) -> None:
    status, media_type, answer = await receiver.post(b"x", {"content-type": "text/plain"})

    assert (status, media_type) == (415, "application/problem+json")
    problem = json.loads(answer)
    assert problem["code"] == "unsupported_media_type"
    assert problem["hint"] == "send content-type: application/x-protobuf or application/json"


async def test_a_body_that_is_too_long_is_not_even_read(receiver: Receiver) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.server.port)
    fields = f"host: 127.0.0.1\r\ncontent-type: application/x-protobuf\r\ncontent-length: {traces.MAX_BODY + 1}"
    writer.write(f"POST /v1/traces HTTP/1.1\r\n{fields}\r\n\r\n".encode())

    async with asyncio.timeout(5):
        assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_a_component_that_shows_who_it_is_speaks_for_itself_alone(receiver: Receiver) -> None:
    body = otlp.encode([span(component="rhetor"), span(component="engram")])

    status, _, _ = await receiver.post(body, {**JSON, "authorization": "Bearer engram"})

    assert status == 200
    assert {one.component for one in await receiver.spans()} == {"engram"}


async def test_who_may_speak_for_some_components_does_not_speak_for_others(receiver: Receiver) -> None:
    body = otlp.encode([span(component="rhetor"), span(component="engram", span_id=f"{9:016x}")])

    await receiver.post(body, {**JSON, "authorization": "Bearer shipper"})

    assert {one.component for one in await receiver.spans()} == {"engram", "shipper"}


async def test_callers_on_this_machine_need_show_nothing(receiver: Receiver) -> None:
    # A program with an OpenTelemetry SDK has no credential; what it says of itself is taken as said.
    await receiver.post(otlp.encode([span(component="rhetor")]), JSON)

    assert [one.component for one in await receiver.spans()] == ["rhetor"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer no-one"}])
async def test_where_everybody_must_show_who_he_is_others_are_refused(headers: dict[str, str]) -> None:
    receiver = Receiver(anonymous="nobody")
    await receiver.server.start()

    assert (await receiver.post(otlp.encode([span()]), {**JSON, **headers}))[0] == 401
    assert (await receiver.post(otlp.encode([span()]), {**JSON, "authorization": "Bearer rhetor"}))[0] == 200
    await receiver.server.stop(timeout=1.0)


async def test_traces_are_listed_in_pages(receiver: Receiver) -> None:
    for number in range(1, 6):
        await receiver.post(otlp.encode([span(f"work {number}", trace_id=f"{number:032x}")]), JSON)
        await receiver.tracing.trace("0")

    first = await receiver.get("/api/traces?limit=3&name=work&component=rhetor")
    second = await receiver.get(f"/api/traces?limit=3&cursor={first['cursor']!r}")

    assert [one["name"] for one in first["items"]] == ["work 5", "work 4", "work 3"]
    assert [one["name"] for one in second["items"]] == ["work 2", "work 1"]
    assert second["cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "status=unset", "min_duration=-1", "since=x", "cursor=-1", "nothing=1"]
)
async def test_a_query_that_makes_no_sense_is_refused(receiver: Receiver, query: str) -> None:
    assert (await receiver.get(f"/api/traces?{query}"))["code"] == "invalid_parameter"


async def test_a_trace_that_is_not_there_is_not_found(receiver: Receiver) -> None:
    problem = await receiver.get(f"/api/traces/{'f' * 32}")

    assert (problem["status"], problem["code"], problem["trace_id"]) == (404, "trace_not_found", "f" * 32)


async def test_only_so_many_large_bodies_are_read_at_a_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(otlp, "unpack", lambda body, _: gzip.decompress(body) if go.wait(10) else b"")
    body = {**JSON, "content-encoding": "gzip"}, gzip.compress(otlp.encode([span()]))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = [group.create_task(receiver.post(body[1], body[0])) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        go.set()
        assert [task.result()[0] for task in done] == [503]

    assert sorted(task.result()[0] for task in waiting) == [200, 200, 503]


async def test_a_trace_of_many_and_long_spans_is_told_whole(receiver: Receiver) -> None:
    spans = [
        Span(
            trace_id="a" * 32, span_id=f"{number:016x}", parent_id=f"{number // 2:016x}" if number > 1 else "",
            name=f"work {number}", component="billing", started_at=1e9 + number, duration=0.5,
            attributes={"text": "ä" * 1000},
        )
        for number in range(1, 401)
    ]  # fmt: skip
    receiver.tracing.receive(spans)

    told = await receiver.get(f"/api/traces/{'a' * 32}")
    listed = await receiver.get("/api/traces")

    assert told["trace"] == listed["items"][0]
    assert (told["trace"]["spans"], told["trace"]["name"]) == (400, "work 1")
    assert {one["name"] for one in told["spans"]} == {one.name for one in spans}
    assert [one["depth"] for one in told["spans"][:4]] == [0, 1, 2, 3]
