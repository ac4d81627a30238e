"""Tokens for calls, from a control plane with the real rules."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tekton.testing.control_plane import InMemoryControlPlane
from tekton.utils import call_tokens
from tekton.utils.call_tokens import CallTokens
from tekton.utils.control_plane import ControlPlane


@pytest.fixture
async def plane() -> AsyncIterator[InMemoryControlPlane]:
    async with InMemoryControlPlane() as plane, asyncio.timeout(30):
        yield plane


@pytest.fixture
async def tokens(plane: InMemoryControlPlane) -> AsyncIterator[CallTokens]:
    """Those of the component `web`."""
    tokens = CallTokens(plane.address_of(await plane.token("web", "component", "operator")), "web")
    yield tokens
    await tokens.close()


async def test_a_token_is_for_one_component_and_says_no_more_than_who_we_are(
    plane: InMemoryControlPlane, tokens: CallTokens
) -> None:
    token = await tokens.renewed("engram")

    assert token is not None
    claims = plane.security.verify(token)
    assert (claims.subject, claims.roles, claims.all["aud"]) == ("web", ("component",), "engram")
    assert claims.expires_at - claims.issued_at <= call_tokens.LIFE


async def test_nothing_is_shown_to_a_component_that_has_not_asked(tokens: CallTokens) -> None:
    assert await tokens.known("engram") is None

    token = await tokens.renewed("engram")
    assert await tokens.known("engram") == token
    assert await tokens.known("rhetor") is None


async def test_a_token_is_kept_and_made_once_for_all_who_wait(tokens: CallTokens) -> None:
    made = await asyncio.gather(*(tokens.renewed("engram") for _ in range(20)))

    assert len(set(made)) == 1
    assert await tokens.renewed("engram", refused="another") == made[0]


async def test_a_token_that_was_refused_is_replaced_once(tokens: CallTokens) -> None:
    first = await tokens.renewed("engram")
    made = await asyncio.gather(*(tokens.renewed("engram", refused=first) for _ in range(20)))

    assert set(made) == {await tokens.known("engram")} != {first}


async def test_a_token_is_renewed_before_it_expires(tokens: CallTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_tokens, "RENEWED_AT", 0.0)
    first = await tokens.renewed("engram")

    assert await tokens.known("engram") not in (None, first)


async def test_who_lacks_the_role_of_a_component_shows_who_it_is_and_no_role(plane: InMemoryControlPlane) -> None:
    tokens = CallTokens(plane.address_of(await plane.token("web", "monitor")), "web")
    token = await tokens.renewed("engram")
    await tokens.close()

    assert token is not None
    assert (plane.security.verify(token).subject, plane.security.verify(token).roles) == ("web", ())


async def test_who_has_nothing_to_show_gets_none_and_does_not_ask_at_each_call(plane: InMemoryControlPlane) -> None:
    tokens = CallTokens(plane.address, "web")
    assert await tokens.renewed("engram") is None

    await plane.security.bind("web", ["component"])
    tokens._plane = plane.address_of(await plane.token("web", "component"))
    assert await tokens.renewed("engram") is None
    await tokens.close()


async def test_without_a_control_plane_there_is_none() -> None:
    tokens = CallTokens(ControlPlane("http://127.0.0.1:1", credential="x"), "web")

    assert await tokens.renewed("engram") is None
    assert await tokens.known("engram") is None
    await tokens.close()


async def test_no_more_than_a_thousand_are_kept(tokens: CallTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_tokens, "_MOST", 3)
    for name in ("a", "b", "c", "d"):
        await tokens.renewed(name)

    assert [await tokens.known(name) is not None for name in ("a", "b", "c", "d")] == [False, True, True, True]
