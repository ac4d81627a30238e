"""Protocols with errors of their own form: below their prefix, whoever refuses."""

from collections.abc import Awaitable, Callable
from typing import Any

from tekton.gateway.app import Request, Response, Route
from tekton.gateway.auth import AccessPolicy
from tekton.gateway.dialects import dialect_of
from tekton.gateway.problems import status_of


class Upper:
    """Answers in capital letters."""

    prefix = "/up"

    def refuse(self, path: str, error: Exception) -> Response:
        text = f"{path} {type(error).__name__}".upper()
        return Response(status_of(error), text.encode(), media_type="text/plain")


async def fine(request: Request) -> dict[str, str]:
    return {"origin": request.origin}


async def broken(_: Request) -> None:
    raise ZeroDivisionError


ROUTES = [
    Route("GET", "/up/fine", fine, "Fine", slash=True),
    Route("GET", "/up/broken", broken, "Broken"),
    Route("GET", "/up/closed", fine, "Closed", "auth:manage"),
    Route("GET", "/upper", broken, "Elsewhere"),
]

Serve = Callable[..., Awaitable[Any]]


def test_a_prefix_ends_where_a_segment_does() -> None:
    upper = Upper()

    assert dialect_of([upper], "/up") is dialect_of([upper], "/up/a/b") is upper
    assert dialect_of([upper], "/upper") is dialect_of([upper], "/") is dialect_of([], "/up") is None


async def test_all_errors_below_the_prefix_are_of_its_form(serve: Serve, keyed_policy: Any) -> None:
    site = await serve(ROUTES, dialects=[Upper()], policy=keyed_policy(anonymous="nobody"))
    wire = await site.connect()

    answers = [
        await wire.request("GET", "/up/broken"),
        await wire.request("GET", "/up/nothing"),
        await wire.request("POST", "/up/fine"),
        await wire.request("GET", "/up/closed"),
        await wire.request("GET", "/up/fine", host="evil.example"),
    ]

    assert isinstance(keyed_policy(), AccessPolicy)
    assert [(one.status, one.body.split()[-1]) for one in answers] == [
        (500, b"ZERODIVISIONERROR"),
        (404, b"ROUTENOTFOUNDERROR"),
        (405, b"METHODNOTALLOWEDERROR"),
        (401, b"CREDENTIALREQUIREDERROR"),
        (421, b"MISDIRECTEDREQUESTERROR"),
    ]
    assert {one.headers["content-type"] for one in answers} == {"text/plain"}


async def test_elsewhere_they_are_problems(serve: Serve) -> None:
    site = await serve(ROUTES, dialects=[Upper()])

    answer = await site.request("GET", "/upper")

    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")


async def test_what_the_method_allows_is_said_without_an_error(serve: Serve) -> None:
    site = await serve(ROUTES, dialects=[Upper()])

    answer = await site.request("OPTIONS", "/up/fine")

    assert (answer.status, answer.headers["allow"]) == (204, "get, head, options")


async def test_a_path_may_have_a_slash_behind_it(serve: Serve) -> None:
    site = await serve(ROUTES)

    for path in ("/up/fine", "/up/fine/"):
        assert (await site.request("GET", path)).json == {"origin": site.url}
    assert (await site.request("GET", "/up/broken/")).status == 404
