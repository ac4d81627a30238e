"""Who may do what."""

from collections.abc import Callable
from typing import Any

import pytest

from tekton.gateway.auth import LocalPolicy
from tekton.gateway.errors import CredentialRequiredError
from tekton.gateway.request import Request
from tekton.gateway.router import Route

OPEN = ["public"]
ANONYMOUS = ["components:read", "components:register", "components:heartbeat"]
OWNER = ["components:control", "system:control", "anything:else"]
REMOTE = "192.0.2.7:5000"
UNIX = ""

MakeRequest = Callable[..., Request]


async def nothing(_: Any) -> None:
    pass


def granted(request: Request, credential: str | None = "s3cret") -> list[str]:
    policy = LocalPolicy(credential)
    found = []
    for permission in OPEN + ANONYMOUS + OWNER:
        try:
            policy(request, Route("GET", "/", nothing, "", permission))
        except CredentialRequiredError:
            continue
        found.append(permission)
    return found


@pytest.mark.parametrize("client", ["127.0.0.1:5", "127.8.9.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"])
def test_anonymous_callers_on_this_machine_may_read_and_speak_for_themselves(
    make_request: MakeRequest, client: str
) -> None:
    assert granted(make_request(client=client)) == OPEN + ANONYMOUS


@pytest.mark.parametrize("client", [REMOTE, "[2001:db8::1]:5", "1127.0.0.1:5", "[::ffff:192.0.2.7]:5"])
def test_anonymous_callers_from_elsewhere_get_what_is_public(make_request: MakeRequest, client: str) -> None:
    assert granted(make_request(client=client)) == OPEN


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-whatever"])
def test_what_a_proxy_passes_on_is_not_local(make_request: MakeRequest, header: str) -> None:
    assert granted(make_request((header, "for=127.0.0.1"))) == OPEN
    assert granted(make_request((header, ""), client=UNIX)) == OPEN


def test_callers_on_the_unix_socket_may_do_everything(make_request: MakeRequest) -> None:
    assert granted(make_request(client=UNIX)) == OPEN + ANONYMOUS + OWNER
    assert granted(make_request(client=UNIX), credential=None) == OPEN + ANONYMOUS + OWNER


@pytest.mark.parametrize("client", ["127.0.0.1:5", REMOTE, UNIX])
@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "])
def test_the_credential_opens_everything_from_everywhere(make_request: MakeRequest, client: str, value: str) -> None:
    assert granted(make_request(("authorization", value), client=client)) == OPEN + ANONYMOUS + OWNER


@pytest.mark.parametrize(
    "value", ["Bearer wrong", "Bearer", "", "Basic s3cret", "s3cret", "Bearer s3cret2", "Bearer \u0131"]
)
def test_a_wrong_credential_is_worse_than_none(make_request: MakeRequest, value: str) -> None:
    assert granted(make_request(("authorization", value))) == OPEN
    assert granted(make_request(("authorization", value), client=UNIX)) == OPEN


def test_two_credentials_are_none(make_request: MakeRequest) -> None:
    twice = [("authorization", "Bearer s3cret")] * 2

    assert granted(make_request(*twice)) == OPEN


def test_without_a_credential_nothing_is_the_credential(make_request: MakeRequest) -> None:
    for value in ("Bearer", "Bearer ", "Bearer None"):
        assert granted(make_request(("authorization", value)), credential=None) == OPEN
        assert granted(make_request(("authorization", value)), credential="") == OPEN
