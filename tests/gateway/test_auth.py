"""Who makes a request, and what they may do with it."""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import pytest

from tekton.auth.principal import ANONYMOUS, NOBODY, OWNER, Principal, owner
from tekton.auth.roles import PERMISSIONS, SCOPED, RoleTable
from tekton.core.attribution import Attribution, current
from tekton.gateway.auth import (
    AUTHENTICATED,
    MAX_CREDENTIAL,
    PUBLIC,
    AccessPolicy,
    Anonymous,
    InvalidCredentialError,
    anonymous_access,
)
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError
from tekton.gateway.problems import to_problem
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.testing.clock import ManualClock

OPEN = [PUBLIC]
ANYBODY = ["components:read", "components:register", "components:heartbeat", "metrics:read", "agents:read"]
EVERYTHING = [PUBLIC, AUTHENTICATED, *PERMISSIONS]
REMOTE = "192.0.2.7:5000"
UNIX = ""

MakeRequest = Callable[..., Request]


async def nothing(_: Any) -> None:
    pass


def route(permission: str) -> Route:
    return Route("GET", "/", nothing, "", permission)


def principal(*roles: str, component_id: str | None = None, expires_at: float | None = None) -> Principal:
    """Somebody who has shown a token with these roles."""
    return Principal(
        subject="somebody",
        roles=roles,
        component_id=component_id,
        via="token",
        grants=RoleTable().grants(roles, component_id),
        expires_at=expires_at,
    )


class Credentials:
    """What credentials prove, and what was asked."""

    def __init__(self, **known: Principal) -> None:
        self.known = known
        self.asked: list[str] = []

    def __call__(self, credential: str) -> Principal:
        self.asked.append(credential)
        if credential not in self.known:
            raise InvalidCredentialError(f"{len(credential)} wrong characters")
        return self.known[credential]


def granted(request: Request, policy: AccessPolicy) -> list[str]:
    found = []
    for permission in EVERYTHING:
        try:
            policy(request, route(permission))
        except CredentialRequiredError:
            continue
        found.append(permission)
    return found


@pytest.fixture
def policy() -> AccessPolicy:
    return AccessPolicy(Credentials(s3cret=owner("credential")))


@pytest.mark.parametrize("client", ["127.0.0.1:5", "127.8.9.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"])
def test_anonymous_callers_on_this_machine_may_read_and_speak_for_themselves(
    make_request: MakeRequest, policy: AccessPolicy, client: str
) -> None:
    request = make_request(client=client)

    assert sorted(granted(request, policy)) == sorted(OPEN + ANYBODY)
    assert request.principal is ANONYMOUS


@pytest.mark.parametrize("client", [REMOTE, "[2001:db8::1]:5", "1127.0.0.1:5", "[::ffff:192.0.2.7]:5"])
def test_anonymous_callers_from_elsewhere_get_what_is_public(
    make_request: MakeRequest, policy: AccessPolicy, client: str
) -> None:
    request = make_request(client=client)

    assert granted(request, policy) == OPEN
    assert request.principal is NOBODY


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-whatever"])
def test_what_a_proxy_passes_on_is_not_local(make_request: MakeRequest, policy: AccessPolicy, header: str) -> None:
    assert granted(make_request((header, "for=127.0.0.1")), policy) == OPEN
    assert granted(make_request((header, ""), client=UNIX), policy) == OPEN


@pytest.mark.parametrize(
    ("enable_auth", "local", "remote"), [(True, False, False), ("auto", True, False), (False, True, True)]
)
def test_the_setting_says_from_where_anonymous_callers_are_let_in(
    make_request: MakeRequest, enable_auth: Any, local: bool, remote: bool
) -> None:
    policy = AccessPolicy(anonymous=anonymous_access(enable_auth))

    for request, let_in in (
        (make_request(), local),
        (make_request(client=REMOTE), remote),
        (make_request(("forwarded", "for=10.0.0.1"), client=UNIX), remote),
    ):
        assert sorted(granted(request, policy)) == sorted(OPEN + ANYBODY if let_in else OPEN)


@pytest.mark.parametrize("anonymous", get_args(Anonymous))
def test_callers_on_the_unix_socket_are_the_owner(make_request: MakeRequest, anonymous: Anonymous) -> None:
    request = make_request(client=UNIX)

    assert granted(request, AccessPolicy(anonymous=anonymous)) == EVERYTHING
    assert request.principal is OWNER


@pytest.mark.parametrize("client", ["127.0.0.1:5", REMOTE, UNIX])
@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "])
def test_the_credential_opens_everything_from_everywhere(
    make_request: MakeRequest, policy: AccessPolicy, client: str, value: str
) -> None:
    assert granted(make_request(("authorization", value), client=client), policy) == EVERYTHING


@pytest.mark.parametrize(
    "value", ["Bearer wrong", "Bearer", "", "Basic s3cret", "s3cret", "Bearer s3cret2", "Bearer \u0131"]
)
def test_a_wrong_credential_is_worse_than_none(make_request: MakeRequest, policy: AccessPolicy, value: str) -> None:
    assert granted(make_request(("authorization", value)), policy) == OPEN
    assert granted(make_request(("authorization", value), client=UNIX), policy) == OPEN


def test_two_credentials_are_none(make_request: MakeRequest, policy: AccessPolicy) -> None:
    assert granted(make_request(*[("authorization", "Bearer s3cret")] * 2), policy) == OPEN


def test_the_credential_on_the_unix_socket_decides_who_it_is(make_request: MakeRequest) -> None:
    policy = AccessPolicy(Credentials(abc=principal("monitor")))
    request = make_request(("authorization", "Bearer abc"), client=UNIX)

    policy(request, route("logs:read"))

    assert request.principal.roles == ("monitor",)
    with pytest.raises(PermissionDeniedError):
        policy(request, route("system:control"))


@pytest.mark.parametrize(
    "value",
    ["Bearer wrong", "Bearer s3cret2", "Basic s3cret", "", "Bearer", "Bearer " + "x" * 20_000, "Bearer a.b.c", "x y z"],
)
def test_all_refusals_of_a_credential_look_alike(make_request: MakeRequest, value: str) -> None:
    policy = AccessPolicy(Credentials(), anonymous="nobody")

    with pytest.raises(CredentialRequiredError) as refused:
        policy(make_request(("authorization", value)), route("components:read"))
    with pytest.raises(CredentialRequiredError) as missing:
        policy(make_request(), route("components:read"))

    assert to_problem(refused.value, "/") == to_problem(missing.value, "/")


def test_why_a_credential_was_refused_is_told_to_the_server_alone(make_request: MakeRequest) -> None:
    told: list[tuple[str, str]] = []
    policy = AccessPolicy(Credentials(), report=lambda *what: told.append(what))

    with pytest.raises(CredentialRequiredError) as refused:
        policy(make_request(("authorization", "Bearer wrong"), client=REMOTE), route("components:read"))

    assert told == [(REMOTE, "5 wrong characters")]
    assert b"wrong" not in to_problem(refused.value, "/")


def test_a_missing_credential_is_no_failed_login(make_request: MakeRequest) -> None:
    told: list[tuple[str, str]] = []
    policy = AccessPolicy(Credentials(), report=lambda *what: told.append(what))

    assert granted(make_request(client=REMOTE), policy) == OPEN
    assert told == []


def test_what_is_too_long_is_refused_before_anybody_looks_into_it(make_request: MakeRequest) -> None:
    credentials = Credentials()
    policy = AccessPolicy(credentials)

    granted(make_request(("authorization", "Bearer " + "x" * (MAX_CREDENTIAL + 1))), policy)

    assert credentials.asked == []


# What is remembered


def test_a_credential_is_looked_into_once(make_request: MakeRequest) -> None:
    credentials = Credentials(abc=principal("admin"))
    policy = AccessPolicy(credentials)

    assert granted(make_request(("authorization", "Bearer abc")), policy) == EVERYTHING
    assert credentials.asked == ["abc"]


def test_what_is_remembered_of_a_credential_ends_when_it_expires(make_request: MakeRequest) -> None:
    clock = ManualClock()
    credentials = Credentials(abc=principal("admin", expires_at=clock.time() + 60))
    policy = AccessPolicy(credentials, clock=clock)
    request = make_request(("authorization", "Bearer abc"))

    policy(request, route("auth:manage"))
    clock.advance(59.0)
    policy(request, route("auth:manage"))
    del credentials.known["abc"]
    clock.advance(1.0)

    with pytest.raises(CredentialRequiredError):
        policy(request, route("auth:manage"))


def test_a_change_of_what_is_valid_makes_it_forget(make_request: MakeRequest) -> None:
    epoch = 0
    credentials = Credentials(abc=principal("admin"))
    policy = AccessPolicy(credentials, epoch=lambda: epoch)
    request = make_request(("authorization", "Bearer abc"))
    policy(request, route("auth:manage"))

    credentials.known["abc"] = principal("monitor")
    epoch += 1

    with pytest.raises(PermissionDeniedError):
        policy(request, route("auth:manage"))


def test_a_change_while_a_credential_is_looked_into_is_not_missed(make_request: MakeRequest) -> None:
    epoch = 0

    class Slow(Credentials):
        def __call__(self, credential: str) -> Principal:
            nonlocal epoch
            found = super().__call__(credential)
            epoch += 1
            return found

    credentials = Slow(abc=principal("admin"))
    policy = AccessPolicy(credentials, epoch=lambda: epoch)
    for _ in range(2):
        policy(make_request(("authorization", "Bearer abc")), route("auth:manage"))

    assert credentials.asked == ["abc", "abc"]


def test_what_is_remembered_has_a_bound(make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tekton.gateway.auth._REMEMBERED", 3)
    credentials = Credentials(**{f"c{number}": principal("monitor") for number in range(10)})
    policy = AccessPolicy(credentials)

    for number in range(10):
        policy(make_request(("authorization", f"Bearer c{number}")), route("logs:read"))

    assert len(policy._known) == 3


def test_wrong_credentials_are_not_remembered(make_request: MakeRequest) -> None:
    policy = AccessPolicy(Credentials())

    for number in range(100):
        granted(make_request(("authorization", f"Bearer {number}")), policy)

    assert policy._known == {}


# What it is good for: on whose behalf something is done


async def test_what_changes_something_is_done_on_behalf_of_who_asks_for_it(serve: Any, keyed_policy: Any) -> None:
    seen: dict[str, Attribution | None] = {}

    async def note(request: Request) -> None:
        name = request.params["name"]
        await asyncio.sleep(0)
        seen[name] = current()
        seen[f"{name}, in a task"] = await asyncio.create_task(elsewhere())

    async def elsewhere() -> Attribution | None:
        return current()

    routes = [Route(method, "/x/{name}", note, "", "components:read") for method in ("GET", "POST")]
    site = await serve(routes, policy=keyed_policy())

    await asyncio.gather(
        site.request("POST", "/x/owner", authorization="Bearer s3cret"),
        site.request("POST", "/x/anonymous"),
        site.request("GET", "/x/read"),
    )

    told = {name: by and (by.actor, by.via, by.address.partition(":")[0]) for name, by in seen.items()}
    assert told == {
        "owner": ("owner", "credential", "127.0.0.1"),
        "anonymous": ("anonymous", "none", "127.0.0.1"),
        "read": None,
        "owner, in a task": None,
        "anonymous, in a task": None,
        "read, in a task": None,
    }


# Components


@pytest.mark.parametrize("permission", sorted(SCOPED - {"logs:read"}))
def test_who_speaks_for_one_component_speaks_for_no_other(make_request: MakeRequest, permission: str) -> None:
    policy = AccessPolicy(Credentials(abc=principal("component", component_id="web")))
    request = make_request(("authorization", "Bearer abc"))
    outcomes = {}
    for component_id in ("web", "webs", "we", "db"):
        request.params = {"component_id": component_id}
        try:
            policy(request, route(permission))
            outcomes[component_id] = True
        except PermissionDeniedError:
            outcomes[component_id] = False

    own = permission in ("components:register", "components:heartbeat")
    assert outcomes == {"web": own, "webs": False, "we": False, "db": False}


def test_anonymous_callers_do_not_speak_for_who_can_prove_who_it_is(make_request: MakeRequest) -> None:
    policy = AccessPolicy(guarded=lambda component_id: component_id == "web")
    request = make_request()

    request.params = {"component_id": "web"}
    policy(request, route("components:read"))
    for permission in ("components:register", "components:heartbeat"):
        with pytest.raises(CredentialRequiredError):
            policy(request, route(permission))
    request.params = {"component_id": "db"}
    policy(request, route("components:heartbeat"))


def test_a_refusal_names_the_permission_and_whom_it_is_about() -> None:
    policy = AccessPolicy()

    with pytest.raises(PermissionDeniedError, match="components:control for web is not granted to somebody"):
        policy.permit(principal("monitor"), "components:control", "web")
    with pytest.raises(PermissionDeniedError, match=r"^audit:read is not granted to somebody"):
        policy.permit(principal("monitor"), "audit:read", None)


def test_without_a_component_may_means_for_all_of_them() -> None:
    policy = AccessPolicy()
    somebody = principal("component", component_id="web")

    assert policy.may(somebody, "components:heartbeat", "web")
    assert not policy.may(somebody, "components:heartbeat")
    assert policy.may(somebody, "components:read")


@pytest.mark.parametrize("permission", ["", "Public", "components", "components:*", "anything:else"])
def test_a_route_with_a_permission_that_does_not_exist_is_a_mistake(permission: str) -> None:
    with pytest.raises(ValueError, match="is no permission"):
        route(permission)
