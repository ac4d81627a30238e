"""The policy as components are told it, over real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest

from tekton.auth.policy import Policy
from tekton.gateway.errors import CredentialRequiredError, PermissionDeniedError
from tekton.service.api import policy
from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils.tekton_config import RoleSpec
from tekton.utils.tekton_http import HttpClient


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    deployer = RoleSpec(permissions=["manage_components"], components=["web-*"])
    async with InMemoryControlPlane(roles={"deployer": deployer}) as plane, asyncio.timeout(30):
        yield plane


async def policies(plane: InMemoryControlPlane, credential: str | None) -> AsyncIterator[Policy]:
    async with (
        HttpClient(plane.address.url, credential=credential) as client,
        aclosing(client.stream_events("/events/auth")) as events,
    ):
        async for event in events:
            if event.event == "policy":
                yield msgspec.json.decode(event.data, type=Policy)


async def test_a_component_is_told_all_at_once_and_each_change_when_it_happens(plane: InMemoryControlPlane) -> None:
    async with aclosing(policies(plane, await plane.token("web", "component"))) as told:
        first = await anext(told)
        assert first.keys == [plane.security.jwks()[0]["kid"]]
        assert first.roles["deployer"].permissions == ["components:control"]
        assert first.roles["deployer"].components == ["web-*"]
        assert first.principals["web"] == ["component"]
        assert "admin" in first.principals["owner"]
        assert first.revoked == {}

        await plane.security.bind("ada", ["operator"])
        assert (await anext(told)).principals["ada"] == ["operator"]
        await plane.revoke("ada")
        assert list((await anext(told)).revoked) == ["subject:ada"]


async def test_keys_and_components_that_have_changed_are_told_soon(
    plane: InMemoryControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "LOOK", 0.01)
    running: list[str] = []
    plane.security.know_components(running.__contains__, lambda: len(running), lambda: running)

    async with aclosing(policies(plane, await plane.token("web", "component"))) as told:
        await anext(told)
        plane.security.ring.rotate(plane.security.now())
        assert len((await anext(told)).keys) == 2
        running.append("worker")
        assert (await anext(told)).principals["worker"] == ["component"]


async def test_who_is_no_component_is_not_told_who_has_which_role(plane: InMemoryControlPlane) -> None:
    for credential, refusal in (
        (None, CredentialRequiredError),
        (await plane.token("ada", "operator"), PermissionDeniedError),
        (await plane.token("eve"), PermissionDeniedError),
    ):
        with pytest.raises(refusal):
            await anext(aiter(policies(plane, credential)))


async def test_the_stream_ends_when_what_was_shown_is_revoked(plane: InMemoryControlPlane) -> None:
    async with aclosing(policies(plane, await plane.token("web", "component"))) as told:
        await anext(told)
        await plane.revoke("web")
        async for _ in told:
            pass


async def test_the_stream_ends_when_the_role_is_taken_away(plane: InMemoryControlPlane) -> None:
    running = ["web"]
    plane.security.know_components(lambda name: name in running, lambda: len(running), lambda: running)
    token = (await plane.security.issue("web", ["component"], 600)).text

    async with aclosing(policies(plane, token)) as told:
        await anext(told)
        running.clear()
        async for _ in told:
            pass


@pytest.mark.parametrize("audience", ["", "A", "a b", "tekton.", "../x", "x" * 200, "https://greeter"])
async def test_an_audience_that_is_no_component_is_refused(plane: InMemoryControlPlane, audience: str) -> None:
    async with HttpClient(plane.address.url, credential=await plane.token("ada", "operator")) as client:
        answer = await client.send("POST", "/api/auth/token", {"audience": audience})

    assert answer.status == 422
    assert msgspec.json.decode(answer.body)["pointer"] == "/audience"


async def test_a_token_of_any_audience_can_be_revoked_by_its_text(plane: InMemoryControlPlane) -> None:
    async with HttpClient(plane.address.url, credential=await plane.token("ada", "operator")) as client:
        made = await client.request("POST", "/api/auth/token", {"audience": "greeter", "roles": []})
        revoked = await client.request("POST", "/api/auth/revoke", {"token": made["token"]})

    assert made["roles"] == []
    assert revoked == {"revoked": f"token:{made['token_id']}"}
    assert list(plane.security.published().revoked) == [f"token:{made['token_id']}"]
