"""The route table: which route a path has, and what no path has."""

from typing import Any

import msgspec
import pytest

from tekton.gateway.errors import MalformedRequestError, MethodNotAllowedError, RouteNotFoundError
from tekton.gateway.router import Route, Router


async def nothing(_: Any) -> None:
    pass


def route(method: str, path: str) -> Route:
    return Route(method, path, nothing, "")


ROUTES = [
    route("GET", "/"),
    route("GET", "/api/health"),
    route("GET", "/api/components"),
    route("POST", "/api/components"),
    route("GET", "/api/components/{component_id}"),
    route("GET", "/api/components/search"),
    route("POST", "/api/components/{component_id}/heartbeat"),
    route("GET", "/api/components/{component_id}/{part}"),
    route("GET", "/api/components/search/{word}"),
]
ROUTER = Router(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "template", "params"),
    [
        ("GET", "/", "/", {}),
        ("POST", "/api/components", "/api/components", {}),
        ("GET", "/api/components/rhetor", "/api/components/{component_id}", {"component_id": "rhetor"}),
        ("GET", "/api/components/a/b", "/api/components/{component_id}/{part}", {"component_id": "a", "part": "b"}),
        ("POST", "/api/components/a/heartbeat", "/api/components/{component_id}/heartbeat", {"component_id": "a"}),
    ],
)
def test_a_path_leads_to_its_route(method: str, path: str, template: str, params: dict[str, str]) -> None:
    for _ in range(2):  # the second time from memory
        found, values = ROUTER.match(method, path)

        assert (found.method, found.path, values) == (method, template, params)


def test_a_literal_segment_wins_over_a_parameter() -> None:
    assert ROUTER.match("GET", "/api/components/search")[0].path == "/api/components/search"
    assert ROUTER.match("GET", "/api/components/search/x")[0].path == "/api/components/search/{word}"


def test_head_is_served_by_get() -> None:
    assert ROUTER.match("HEAD", "/api/health")[0].method == "GET"
    assert ROUTER.match("HEAD", "/api/components/rhetor")[0].method == "GET"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/api",
        "/api/health/",
        "//api/health",
        "/api//health",
        "/api/./health",
        "/api/x/../health",
        "/API/health",
        "/api/health;x",
        "/api/health\0",
        "/api/components/a/b/c",
        "api/health",
    ],
)
def test_a_path_that_is_not_in_the_table_is_nobodys(path: str) -> None:
    with pytest.raises(RouteNotFoundError):
        ROUTER.match("GET", path)


@pytest.mark.parametrize("value", ["", ".", "..", "a\0", "a%2e", "a b", "ä", "\ufffd", "a\n", "x" * 257, 'a"', "a\\b"])
def test_a_segment_that_is_not_canonical_is_no_parameter(value: str) -> None:
    with pytest.raises(MalformedRequestError):
        ROUTER.match("GET", f"/api/components/{value}")


def test_another_method_is_refused_with_those_allowed() -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTER.match("DELETE", "/api/components")
    assert caught.value.allowed == ["GET", "HEAD", "POST", "OPTIONS"]

    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTER.match("GET", "/api/components/a/heartbeat")
    assert caught.value.allowed == ["POST", "OPTIONS"]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", "get"])
def test_a_method_unknown_to_http_is_refused_on_every_path(method: str) -> None:
    for path in ("/api/health", "/api/components/a", "/nowhere", ""):
        with pytest.raises(MethodNotAllowedError):
            ROUTER.match(method, path)


def test_remembered_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.gateway.router._MAX_RECENT", 4)
    router = Router(ROUTES)

    for number in range(20):
        assert router.match("GET", f"/api/components/c{number}")[1] == {"component_id": f"c{number}"}

    assert len(router._recent) <= 4


@pytest.mark.parametrize(
    "routes",
    [
        [route("GET", "/a"), route("GET", "/a")],
        [route("GET", "/a/{x}"), route("GET", "/a/{x}")],
        [route("GET", "/a/{x}"), route("POST", "/a/{y}")],
        [route("GET", "a")],
        [route("GET", "/a/")],
        [route("GET", "/a/x{y}")],
    ],
)
def test_a_table_that_contradicts_itself_is_refused(routes: list[Route]) -> None:
    with pytest.raises(ValueError, match=r"/|a"):
        Router(routes)


def test_head_and_options_are_not_for_routes() -> None:
    with pytest.raises(ValueError, match="HEAD"):
        route("HEAD", "/a")


def test_an_absent_body_is_an_empty_object_only_where_everything_has_a_default() -> None:
    class Optional(msgspec.Struct):
        wait: bool = False

    class Required(msgspec.Struct):
        name: str

    assert Route("POST", "/a", nothing, "", body=Optional).no_body == b"{}"
    assert Route("POST", "/a", nothing, "", body=Required).no_body == b""
