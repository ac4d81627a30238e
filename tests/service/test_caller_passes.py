"""What a component is shown of the one for whom it is called: how long it holds, and for whom it is made again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.auth.tokens import Claims
from tekton.service.caller_passes import LIFE, CallerPasses, OnBehalf
from tekton.testing.control_plane import InMemoryControlPlane

ADA = Principal(subject="ada", roles=("operator",), via="token", grants=RoleTable().grants(["operator"]))


class Desk:
    """Passes of a control plane, and what they state."""

    def __init__(self, plane: InMemoryControlPlane) -> None:
        self.security = plane.security
        self.passes = CallerPasses(plane.security)

    async def shown(self, left: float | None) -> Claims:
        """What a component is shown for Ada, whose own credential is valid for *left* seconds."""
        ends = None if left is None else self.security.now() + left
        headers = await self.passes.headers(OnBehalf(replace(ADA, expires_at=ends), is_local=False), "shop")
        return self.security.verify(headers["Authorization"].removeprefix("Bearer "))


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> AsyncIterator[Desk]:
    monkeypatch.chdir(tmp_path)
    async with InMemoryControlPlane() as plane:
        yield Desk(plane)


async def test_a_pass_does_not_outlive_what_is_shown_now_though_more_was_shown_before(desk: Desk) -> None:
    for before in (None, 600.0):
        await desk.shown(before)

        assert (await desk.shown(30.0)).expires_at <= desk.security.now() + 30


async def test_what_is_valid_for_longer_does_with_the_pass_that_there_is(desk: Desk) -> None:
    first = await desk.shown(LIFE)

    assert [(await desk.shown(left)).token_id for left in (600.0, None)] == [first.token_id] * 2


async def test_a_short_pass_is_shown_again_to_whoever_may_have_it(desk: Desk) -> None:
    first = await desk.shown(30.0)

    assert (await desk.shown(40.0)).token_id == first.token_id
    assert (await desk.shown(20.0)).expires_at < first.expires_at
