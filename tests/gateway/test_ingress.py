"""What is checked of a request before anything else looks at it."""

from collections.abc import Callable
from typing import Any

import pytest

from tekton.gateway.errors import (
    ForeignOriginError,
    GatewayError,
    HeadersTooLargeError,
    MalformedRequestError,
    MisdirectedRequestError,
    TargetTooLongError,
    TooManyHeadersError,
)
from tekton.gateway.ingress import Ingress
from tekton.gateway.request import Request

Check = Callable[..., GatewayError | None]


@pytest.fixture
def check(scope: Any, headers: Any) -> Check:
    """The error for a request with these headers, or None."""
    ingress = Ingress(["tekton.example", "fe80::1"], ["https://app.example"])

    def check(
        *pairs: tuple[str, str],
        method: str = "GET",
        path: str = "/a",
        query: str = "",
        upgrade: bool = False,
        **more: Any,
    ) -> GatewayError | None:
        try:
            seen = scope(**more)
            ingress.check(seen, Request(seen, None, headers(*pairs), method, path), query, upgrade=upgrade)
        except GatewayError as error:
            return error
        return None

    return check


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8010",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:65535",
        "tekton.example:8010",
        "[fe80::1]:8010",
    ],
)
def test_a_host_of_ours_is_accepted_with_any_port(check: Check, host: str) -> None:
    for _ in range(2):
        assert check(("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:80:80",
        "localhost:",
        "localhost:x",
        "user@localhost",
        "localhost/x",
        "",
        "[::1",
        "::1",
        " localhost",
    ],
)
def test_a_foreign_host_is_misdirected(check: Check, host: str) -> None:
    assert isinstance(check(("host", host)), MisdirectedRequestError)


def test_exactly_one_host_is_required(check: Check) -> None:
    assert isinstance(check(), MalformedRequestError)
    assert isinstance(check(("host", "localhost"), ("host", "localhost")), MalformedRequestError)


def test_an_absolute_target_must_name_the_same_host(check: Check) -> None:
    assert check(("host", "localhost"), authority="localhost") is None
    assert isinstance(check(("host", "localhost"), authority="evil.example"), MalformedRequestError)


@pytest.mark.parametrize("path", ["/api/health", "/api/ready"])
def test_probes_may_use_any_host(check: Check, path: str) -> None:
    assert check(("host", "10.0.0.7:8010"), path=path) is None
    assert isinstance(check(("host", "10.0.0.7"), path=f"{path}/x"), MisdirectedRequestError)


def test_remembered_hosts_are_bounded(scope: Any, headers: Any) -> None:
    ingress = Ingress()

    for port in range(1, 1000):
        request = Request(scope(), None, headers(("host", f"localhost:{port}")), "GET", "/")
        ingress.check(scope(), request, "")

    assert len(ingress._good_hosts) <= 256


@pytest.mark.parametrize("origin", ["http://localhost:8010", "HTTP://LOCALHOST:8010", "https://app.example"])
def test_pages_of_ours_may_act(check: Check, origin: str) -> None:
    assert check(("host", "localhost:8010"), ("origin", origin), method="POST") is None


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "https://localhost:8010", "http://localhost", "http://localhost:8010.evil"],
)
def test_pages_of_others_may_not(check: Check, origin: str) -> None:
    pairs = ("host", "localhost:8010"), ("origin", origin)

    assert isinstance(check(*pairs, method="POST"), ForeignOriginError)
    assert isinstance(check(*pairs, method="DELETE"), ForeignOriginError)
    assert isinstance(check(*pairs, upgrade=True), ForeignOriginError)
    assert check(*pairs) is None


def test_two_origins_are_no_origin(check: Check) -> None:
    pairs = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://localhost")]

    assert isinstance(check(*pairs, method="POST"), ForeignOriginError)


def test_headers_and_target_have_limits(check: Check) -> None:
    host = ("host", "localhost")

    assert isinstance(check(host, *((f"x-{number}", "") for number in range(64))), TooManyHeadersError)
    assert check(host, *((f"x-{number}", "") for number in range(63))) is None
    assert isinstance(check(host, *(("x", "") for _ in range(64))), TooManyHeadersError)
    assert check(host, *(("x", "") for _ in range(63))) is None
    assert isinstance(check(host, path="/" + "x" * 8192), TargetTooLongError)
    assert isinstance(check(host, query="x" * 8192), TargetTooLongError)


def test_headers_have_a_limit_all_together(check: Check) -> None:
    host = ("host", "localhost")
    rest = 16_384 - len("hostlocalhost")

    assert check(host, ("x", "y" * (rest - 1))) is None
    assert isinstance(check(host, ("x", "y" * rest)), HeadersTooLargeError)
    assert isinstance(check(host, ("x" * rest, "y")), HeadersTooLargeError)
    assert isinstance(check(host, *((f"x-{number:03}", "y" * 400) for number in range(41))), HeadersTooLargeError)
    assert isinstance(check(host, *(("x", "y" * 400) for _ in range(41))), HeadersTooLargeError)
