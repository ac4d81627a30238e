"""The gateway over real connections: what it answers, and what it does to bad input."""

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from tekton.gateway.app import Request, Response, Route
from tekton.utils.tekton_errors import ComponentNotFoundError, IllegalTransitionError, StorageFullError


class Item(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0
    extra: Any = None


class Options(msgspec.Struct, forbid_unknown_fields=True):
    force: bool = False


class Query(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, msgspec.Meta(ge=1)] = 100


ERRORS: dict[str, Callable[[], Exception]] = {
    "missing": lambda: ComponentNotFoundError("rhetr", "rhetor"),
    "illegal": lambda: IllegalTransitionError("a", "ready", "unknown", ["degraded"]),
    "full": lambda: StorageFullError("no room"),
    "defect": lambda: ZeroDivisionError("hunter2"),
}


class Api:
    """Handlers of every kind."""

    async def ok(self, _: Request) -> dict[str, str]:
        return {"status": "ok"}

    async def echo(self, request: Request) -> Item:
        body: Item = request.body
        return body

    async def options(self, request: Request) -> Options:
        body: Options = request.body
        return body

    async def query(self, request: Request) -> dict[str, Any]:
        return {"limit": request.query.limit, **request.params}

    async def nothing(self, _: Request) -> None:
        return None

    async def raw(self, _: Request) -> bytes:
        return b'{"raw":true}'

    async def created(self, _: Request) -> Response:
        return Response.json({"made": 1}, 201, [("location", "/api/items/1")])

    async def page(self, _: Request) -> Response:
        return Response(200, b"<p>hello", media_type="text/html")

    async def fail(self, request: Request) -> None:
        raise ERRORS[request.params["error"]]()

    async def unencodable(self, _: Request) -> dict[str, Any]:
        return {"value": object()}

    async def where(self, request: Request) -> dict[str, Any]:
        return {"client": request.client, "local": request.peer_is_local, "socket": request.peer == "socket"}


@pytest.fixture
async def site(serve: Any) -> Any:
    api = Api()
    return await serve(
        [
            Route("GET", "/api/health", api.ok, ""),
            Route("GET", "/api/ok", api.ok, ""),
            Route("POST", "/api/items", api.echo, "", body=Item, max_body=1000),
            Route("POST", "/api/large", api.echo, "", body=Item, max_body=8 * 1024 * 1024),
            Route("POST", "/api/options", api.options, "", body=Options),
            Route("GET", "/api/items/{name}", api.query, "", query=Query),
            Route("DELETE", "/api/items/{name}", api.nothing, ""),
            Route("GET", "/api/raw", api.raw, ""),
            Route("POST", "/api/created", api.created, ""),
            Route("GET", "/page", api.page, ""),
            Route("GET", "/api/fail/{error}", api.fail, ""),
            Route("GET", "/api/unencodable", api.unencodable, ""),
            Route("GET", "/api/where", api.where, ""),
        ]
    )


# Answers


async def test_a_struct_is_answered_as_json(site: Any) -> None:
    answer = await site.request("POST", "/api/items", b'{"name":"a"}')

    assert (answer.status, answer.json) == (200, {"name": "a", "size": 0, "extra": None})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


async def test_handlers_may_answer_with_anything_that_has_a_meaning(site: Any) -> None:
    nothing = await site.request("DELETE", "/api/items/a")
    raw = await site.request("GET", "/api/raw")
    created = await site.request("POST", "/api/created")
    page = await site.request("GET", "/page")

    assert (nothing.status, nothing.body) == (204, b"")
    assert (raw.status, raw.body, raw.headers["content-type"]) == (200, b'{"raw":true}', "application/json")
    assert (created.status, created.json, created.headers["location"]) == (201, {"made": 1}, "/api/items/1")
    assert (page.body, page.headers["content-type"]) == (b"<p>hello", "text/html")
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_path_and_query_are_decoded(site: Any) -> None:
    assert (await site.request("GET", "/api/items/rhetor?limit=5")).json == {"limit": 5, "name": "rhetor"}
    assert (await site.request("GET", "/api/items/a%2Db")).json == {"limit": 100, "name": "a-b"}


async def test_an_absent_body_is_fine_where_everything_has_a_default(site: Any) -> None:
    assert (await site.request("POST", "/api/options")).json == {"force": False}
    assert (await site.request("POST", "/api/options", b"{}")).json == {"force": False}
    missing = await site.request("POST", "/api/items")
    assert (missing.status, missing.json["code"], missing.json["offset"]) == (400, "malformed", 0)


async def test_head_has_the_headers_of_get_and_no_body(site: Any) -> None:
    wire = await site.connect()

    head = await wire.request("HEAD", "/api/ok")
    get = await wire.request("GET", "/api/ok")

    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


async def test_options_tells_the_methods(site: Any) -> None:
    answer = await site.request("OPTIONS", "/api/items/a")

    assert (answer.status, answer.headers["allow"]) == (204, "get, head, delete, options")
    assert (await site.request("OPTIONS", "/nowhere")).status == 404


async def test_a_request_knows_where_it_comes_from(site: Any) -> None:
    plain = (await site.request("GET", "/api/where")).json
    proxied = (await site.request("GET", "/api/where", x_forwarded_for="1.2.3.4")).json

    assert plain["client"].startswith("127.0.0.1:")
    assert (plain["local"], plain["socket"]) == (True, False)
    assert (proxied["local"], proxied["socket"]) == (False, False)


# Refusals


@pytest.mark.parametrize(
    ("error", "status", "fields"),
    [
        ("missing", 404, {"code": "component_not_found", "nearest": "rhetor", "hint": "did you mean 'rhetor'?"}),
        ("illegal", 409, {"current": "ready", "requested": "unknown", "legal": ["degraded"]}),
        ("full", 503, {"code": "storage_full"}),
    ],
)
async def test_errors_of_handlers_are_problems(site: Any, error: str, status: int, fields: dict[str, Any]) -> None:
    answer = await site.request("GET", f"/api/fail/{error}")

    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert fields.items() <= answer.json.items()
    assert answer.json["instance"] == f"/api/fail/{error}"


@pytest.mark.parametrize("path", ["/api/fail/defect", "/api/unencodable"])
async def test_a_defect_is_a_500_that_tells_nothing_and_is_logged(
    site: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    answer = await site.request("GET", path)

    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert b"hunter2" not in answer.body
    assert b"Traceback" not in answer.body
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "tekton.gateway"
    assert record.exc_info is not None


async def test_a_connection_outlives_every_refusal(site: Any) -> None:
    wire = await site.connect()

    for method, path, body, status in (
        ("GET", "/nowhere", None, 404),
        ("PUT", "/api/ok", None, 405),
        ("POST", "/api/items", b"{", 400),
        ("POST", "/api/items", b"{}", 422),
        ("GET", "/api/items/a?limit=x", None, 422),
        ("GET", "/api/fail/defect", None, 500),
        ("POST", "/api/items", b'{"name":"a"}', 200),
    ):
        assert (await wire.request(method, path, body)).status == status


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b'{"name":', 400, {"code": "malformed", "offset": 8}),
        (b'{"name":"a",}', 400, {"offset": 12}),
        (b'{"name":"\xff"}', 400, {"offset": 9}),
        (b"\xef\xbb\xbf{}", 400, {"offset": 0}),
        (b'{"name":"a","extra":NaN}', 400, {"offset": 20}),
        (b'{"name":1}', 422, {"code": "invalid", "pointer": "/name"}),
        (b'{"name":"a","siz":1}', 422, {"pointer": "/siz", "nearest": "size", "hint": "did you mean 'size'?"}),
        (b"[]", 422, {"pointer": ""}),
    ],
)
async def test_a_bad_body_is_refused_with_the_place(
    site: Any, body: bytes, status: int, fields: dict[str, Any]
) -> None:
    answer = await site.request("POST", "/api/items", body)

    assert answer.status == status
    assert fields.items() <= answer.json.items()


async def test_a_nesting_bomb_is_refused(site: Any) -> None:
    for opening in (b"[", b'{"a":', b'{"name":"a","extra":['):
        answer = await site.request("POST", "/api/large", opening + b"[" * 5_000_000)

        assert (answer.status, answer.json["code"]) == (400, "malformed")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_said_to_be_json_is_refused(site: Any, media_type: str) -> None:
    answer = await site.request("POST", "/api/items", b'{"name":"a"}', content_type=media_type)

    assert answer.status == 415


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(site: Any) -> None:
    answer = await site.raw(
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1001\r\n\r\n"
    )

    assert (answer.status, answer.json["limit"]) == (413, 1000)


async def test_a_body_that_nobody_asked_for_is_taken_before_the_answer(serve: Any) -> None:
    answered: list[str] = []

    async def answer(request: Request) -> bytes:
        answered.append(request.path)
        return b"{}"

    site = await serve([Route("POST", "/poke", answer, ""), Route("POST", "/other", answer, "")])
    wire = await site.connect()
    await wire.send(b"POST /poke HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n")
    assert (await site.request("POST", "/other")).status == 200
    assert answered == ["/other"]

    await wire.send(b"{}")

    assert (await wire.answer()).status == 200
    assert (await wire.request("POST", "/poke", b"{}")).status == 200
    assert answered == ["/other", "/poke", "/poke"]


async def test_a_body_in_pieces_is_read_and_limited(site: Any) -> None:
    head = b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"

    assert (await site.raw(head + b'5\r\n{"nam\r\n6\r\ne":"a"\r\n1\r\n}\r\n0\r\n\r\n')).json["name"] == "a"
    wire = await site.connect()
    await wire.send(head)
    for _ in range(12):
        await wire.send(b"64\r\n" + b" " * 100 + b"\r\n")
    assert (await wire.answer()).status == 413


@pytest.mark.parametrize("rest", [b"FFFFFFFFFFFFFFFFFF\r\n", b"xyz\r\n", b"0\r\ntrailer: x\r\n\r\n"])
async def test_a_body_in_broken_pieces_is_malformed(site: Any, rest: bytes) -> None:
    head = b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    complete = b'transfer-encoding: chunked\r\n\r\nc\r\n{"name":"a"}\r\n'

    assert (await site.raw(head + complete + rest)).status == 400


@pytest.mark.parametrize("framing", [b'content-length: 12\r\n\r\n{"na', b'transfer-encoding: chunked\r\n\r\nc\r\n{"na'])
async def test_a_body_that_does_not_come_is_given_up_and_the_connection_closed(serve: Any, framing: bytes) -> None:
    site = await serve([Route("POST", "/api/items", Api().echo, "", body=Item)], body_timeout=0.2)
    wire = await site.connect()
    await wire.send(b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" + framing)

    answer = await wire.answer()

    assert (answer.status, answer.json["code"]) == (408, "body_timeout")
    assert await wire.closed()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", 400),
        (b"host: localhost\r\nhost: localhost\r\n", 400),
        (b"host: evil.example\r\n", 421),
        (b"host: localhost\xff\r\n", 400),
        (b"host: \r\n", 421),
        (b"host: localhost@evil\r\n", 421),
    ],
)
async def test_a_host_that_is_missing_doubled_or_foreign_is_refused(site: Any, lines: bytes, status: int) -> None:
    for path in (b"/api/ok", b"/nowhere"):
        answer = await site.raw(b"GET " + path + b" HTTP/1.1\r\n" + lines + b"\r\n")
        assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_probes_may_use_an_address(site: Any) -> None:
    assert (await site.raw(b"GET /api/health HTTP/1.1\r\nhost: 10.1.2.3:8010\r\n\r\n")).status == 200


async def test_an_absolute_target_must_agree_with_the_host(site: Any) -> None:
    same = b"GET http://localhost/api/ok HTTP/1.1\r\nhost: localhost\r\n\r\n"
    other = b"GET http://evil.example/api/ok HTTP/1.1\r\nhost: localhost\r\n\r\n"

    assert (await site.raw(same)).status == 200
    assert (await site.raw(other)).status == 400


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost", "https://127.0.0.1"])
async def test_a_page_of_another_origin_may_not_change_anything(site: Any, origin: str) -> None:
    answer = await site.request("POST", "/api/items", b'{"name":"a"}', origin=origin)

    assert (answer.status, answer.json["code"]) == (403, "foreign_origin")
    assert (await site.request("POST", "/api/items", b'{"name":"a"}', origin=site.url)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/ok/",
        "//api/ok",
        "/api//ok",
        "/api/./ok",
        "/api/x/../ok",
        "/api/%2e/ok",
        "/api/x/%2e%2e/ok",
        "/api/items/..",
        "/api/items/%2e%2e",
        "/api/items/%2e",
        "/api/items/a%00",
        "/api/items/%ff",
        "/api/items/a%252fb",
        "/api/items/%c3%a4",
        "/api/ok%00",
        "/api/ok;x",
        "/api/ok%20",
        "/API/OK",
    ],
)
async def test_a_path_that_is_not_canonical_is_no_route(site: Any, path: str) -> None:
    answer = await site.request("GET", path)

    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["TRACE", "BREW", "PATCH", "PUT"])
async def test_a_method_that_is_not_there_is_refused_with_those_that_are(site: Any, method: str) -> None:
    answer = await site.request(method, "/api/ok")

    assert (answer.status, answer.headers["allow"]) == (405, "get, head, options")
    assert answer.json["allowed"] == ["GET", "HEAD", "OPTIONS"]


@pytest.mark.parametrize("line", [b"CONNECT evil.example:80", b"OPTIONS *", b"GET *", b"get /api/ok"])
async def test_targets_and_methods_for_other_servers_are_refused(site: Any, line: bytes) -> None:
    answer = await site.raw(line + b" HTTP/1.1\r\nhost: localhost\r\n\r\n")

    assert answer.status in (400, 404, 405)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /api/ok HTTP/1.1\r\nhost: localhost\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(70)) + b"\r\n",
        b"GET /api/ok HTTP/1.1\r\nhost: localhost\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"GET /api/ok HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /api/ok?" + b"x" * 9000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n{}",
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"nonsense\r\n\r\n",
    ],
)
async def test_oversized_and_ambiguous_heads_are_refused(site: Any, request_: bytes) -> None:
    answer = await site.raw(request_)

    assert answer.status in (400, 414, 431)
    assert (await site.request("GET", "/api/ok")).status == 200


async def test_a_length_beside_chunks_is_never_a_second_request(site: Any) -> None:
    wire = await site.connect()
    await wire.send(
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /api/ok HTTP/1.1\r\nhost: localhost\r\n\r\n"
    )

    assert (await wire.answer()).status == 400
    assert await wire.closed()


@pytest.mark.parametrize(
    "line", [b"cookie: \xc3\xa4", b"x-thing: \xff", b"authorization: Bearer \xff", b"content-type: \xff"]
)
async def test_headers_that_are_not_ascii_do_no_harm(site: Any, line: bytes) -> None:
    assert (await site.raw(b"GET /api/ok HTTP/1.1\r\nhost: localhost\r\n" + line + b"\r\n\r\n")).status == 200


async def test_pipelined_requests_are_answered_in_order(site: Any) -> None:
    wire = await site.connect()
    paths = ["/api/ok", "/nowhere", "/api/items/a", "/api/raw"] * 25
    await wire.send("".join(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n" for path in paths).encode())

    assert [(await wire.answer()).status for _ in paths] == [200, 404, 200, 200] * 25


async def test_without_a_policy_strangers_to_the_socket_may_not_control(serve: Any) -> None:
    control = Route("POST", "/api/stop", Api().nothing, "", "system:control")
    site = await serve([control], policy=None)

    answer = await site.request("POST", "/api/stop")

    assert (answer.status, answer.json["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "bearer"
    assert answer.json["hint"]


async def test_who_may_not_is_not_asked_for_the_body(serve: Any, keyed_policy: Any) -> None:
    route = Route("POST", "/api/items", Api().echo, "", "system:control", body=Item)
    site = await serve([route], policy=keyed_policy())

    answer = await site.raw(
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
    )

    assert answer.status == 401


async def test_a_handler_can_wait_for_the_client_to_leave(serve: Any) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def wait(request: Request) -> None:
        begun.set()
        await request.disconnected()
        left.set()

    site = await serve([Route("GET", "/wait", wait, "")])
    wire = await site.connect()
    await wire.send(b"GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        await begun.wait()
        wire.writer.close()
        await left.wait()


@pytest.mark.parametrize(
    "lines",
    [
        b"content-type: application/json; charset=utf-16\r\n",
        b"content-type: application/json\r\ncontent-type: text/plain\r\n",
        b"content-type: application/json, text/plain\r\n",
        b"content-type: application/json\r\ncontent-encoding: gzip\r\n",
        b"content-type: \xff\r\n",
    ],
)
async def test_a_body_that_others_could_read_otherwise_is_refused(site: Any, lines: bytes) -> None:
    answer = await site.raw(
        b"POST /api/items HTTP/1.1\r\nhost: localhost\r\n" + lines + b'content-length: 12\r\n\r\n{"name":"a"}'
    )

    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")


async def test_a_key_that_is_there_twice_is_refused_with_its_place(serve: Any) -> None:
    api = Api()
    lenient = Route("POST", "/api/many", api.echo, "", body=Item, unique_keys=False)
    site = await serve([Route("POST", "/api/items", api.echo, "", body=Item), lenient])
    body = b'{"name":"a","extra":{"b":1,"b":2}}'

    refused, taken = await site.request("POST", "/api/items", body), await site.request("POST", "/api/many", body)

    assert (refused.status, refused.json["code"], refused.json["pointer"]) == (422, "invalid", "/extra/b")
    assert (taken.status, taken.json["extra"]) == (200, {"b": 2})


async def test_what_a_type_passes_over_may_not_be_nested_without_end(serve: Any) -> None:
    class Loose(msgspec.Struct):
        name: str = ""

    async def echo(request: Request) -> Loose:
        body: Loose = request.body
        return body

    site = await serve([Route("POST", "/api/loose", echo, "", body=Loose)])
    answer = await site.request("POST", "/api/loose", b'{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}")

    assert (answer.status, answer.json["code"]) == (400, "malformed")


async def test_the_client_behind_a_trusted_proxy_is_known_and_never_local(serve: Any) -> None:
    api = Api()
    site = await serve(
        [Route("GET", "/api/where", api.where, "")], trusted_proxies=["127.0.0.1"], allowed_hosts=["tekton.example"]
    )

    proxied = await site.request("GET", "/api/where", x_forwarded_for="127.0.0.1, 192.0.2.7")
    through = await site.request("GET", "/api/where", x_forwarded_for="127.0.0.1")
    named = await site.request("GET", "/api/where", host="inner", forwarded="for=192.0.2.7;host=tekton.example")
    foreign = await site.request("GET", "/api/where", forwarded="for=192.0.2.7;host=evil.example")
    broken = await site.request("GET", "/api/where", forwarded="nonsense")

    assert (proxied.json["client"], proxied.json["local"]) == ("192.0.2.7:0", False)
    assert (through.json["client"], through.json["local"]) == ("127.0.0.1:0", False)
    assert named.json["client"] == "192.0.2.7:0"
    assert [foreign.status, broken.status] == [421, 400]


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 999])
def test_an_answer_has_a_final_status(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        Response(status)
    with pytest.raises(ValueError, match="status"):
        Route("GET", "/x", Api().ok, "", status=status)


@pytest.mark.parametrize(
    "header", [("x-a", "1\r\nx-evil: 1"), ("x-a", "1\nb"), ("x-a", "\0"), ("x a", "1"), ("x-a\r\nx-b", "1"), ("", "1")]
)
def test_an_answer_has_no_header_that_could_become_two(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is not a header"):
        Response(200, b"", [header])
    with pytest.raises(ValueError, match="is not a header"):
        Response(200, b"x", media_type=header[1] + "\r\nx: y")
