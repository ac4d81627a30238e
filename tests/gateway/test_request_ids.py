"""The id of a request: in the answer, and in the audit log."""

from typing import Any

import pytest

from tekton.core.attribution import current
from tekton.gateway.app import Request, Route
from tekton.gateway.errors import UnavailableError

NAMED = {"x_request_id": "4f2a.b-1"}


async def quiet(_: Request) -> dict[str, str]:
    return {}


async def entered(_: Request) -> dict[str, str]:
    """As if something was entered in the audit log: somebody asks on whose behalf it is done."""
    by = current()
    return {} if by is None else {"request": by.request}


async def failing(_: Request) -> None:
    current()
    raise UnavailableError("not now")


ROUTES = [
    Route("GET", "/read", quiet, ""),
    Route("POST", "/quiet", quiet, ""),
    Route("POST", "/entered", entered, ""),
    Route("POST", "/failing", failing, ""),
]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/read", 200),
        ("HEAD", "/read", 200),
        ("POST", "/quiet", 200),
        ("POST", "/entered", 200),
        ("POST", "/failing", 503),
        ("GET", "/nowhere", 404),
        ("DELETE", "/read", 405),
    ],
)
async def test_who_sends_an_id_gets_it_back_whatever_the_answer_is(
    serve: Any, method: str, path: str, status: int
) -> None:
    site = await serve(ROUTES)

    answer = await site.request(method, path, **NAMED)

    assert (answer.status, answer.headers.get("x-request-id")) == (status, "4f2a.b-1")


async def test_the_audit_log_has_the_id_that_was_sent(serve: Any) -> None:
    site = await serve(ROUTES)

    answer = await site.request("POST", "/entered", **NAMED)

    assert answer.json == {"request": "4f2a.b-1"}


async def test_without_one_an_id_is_given_when_something_is_entered(serve: Any) -> None:
    site = await serve(ROUTES)

    one, other = [await site.request("POST", "/entered") for _ in range(2)]

    assert one.headers["x-request-id"] == one.json["request"]
    assert other.headers["x-request-id"] == other.json["request"] != one.json["request"]
    assert "x-request-id" in (await site.request("POST", "/failing")).headers
    for method, path in (("GET", "/read"), ("POST", "/quiet")):
        assert "x-request-id" not in (await site.request(method, path)).headers


@pytest.mark.parametrize("wrong", ["a b", "a,b", "x" * 129, "<script>", '"', "%41"])
async def test_what_is_no_id_counts_as_none(serve: Any, wrong: str) -> None:
    site = await serve(ROUTES)

    answer = await site.request("POST", "/entered", x_request_id=wrong)

    assert answer.headers["x-request-id"] == answer.json["request"] != wrong
    assert "x-request-id" not in (await site.request("GET", "/read", x_request_id=wrong)).headers


async def test_two_ids_are_none(serve: Any) -> None:
    site = await serve(ROUTES)

    answer = await site.raw(
        b"GET /read HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nx-request-id: a\r\nx-request-id: b\r\n\r\n" % site.port
    )

    assert (answer.status, "x-request-id" in answer.headers) == (200, False)


async def test_a_page_of_another_origin_may_send_an_id_and_read_it(serve: Any) -> None:
    site = await serve(ROUTES, allowed_origins=["https://ops.example"])

    answer = await site.request("GET", "/read", origin="https://ops.example", **NAMED)

    assert answer.headers["x-request-id"] == "4f2a.b-1"
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
