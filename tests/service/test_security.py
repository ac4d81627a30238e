"""Who is who in a control plane: what credentials prove, and what becomes of that."""

import json
import os
import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.keys import LEEWAY, KeyRing
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.auth import InvalidCredentialError
from tekton.service.component_credentials import RENEW_AFTER, ComponentCredentials
from tekton.service.security import Security
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig
from tekton.utils.tekton_errors import InvalidTokenError

GUESSES = int(os.environ.get("TEKTON_GUESSES", "3000"))
POLICY = {
    "roles": {"deployer": {"permissions": ["manage_components"], "components": ["web-*"]}},
    "principals": {"mona": ["monitor", "deployer"], "billing": ["component"]},
}


class Plane:
    """The security of a control plane, in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.registry = ComponentRegistry()
        self.reviews: list[None] = []
        self.running = {"worker"}
        self.line_up = 0
        (directory / "data" / "run").mkdir(parents=True)
        (directory / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(directory / "data")}}))
        self.security = Security(
            self.config(POLICY),
            self.registry.documents,
            KeyRing.generate(self.clock.time()),
            credential="the-credential-of-the-owner",
            components=ComponentCredentials(directory / "data", "run", self.clock.time),
            clock=self.clock,
            report=lambda *_: None,
        )
        self.security.know_components(lambda component_id: component_id in self.running, lambda: self.line_up)
        self.security.on_loss(lambda: self.reviews.append(None))

    def config(self, policy: Any) -> TektonConfig:
        (self.directory / "security.json").write_text(json.dumps(policy))
        return TektonConfig.load(self.directory / "tekton.json", environ={})

    def roles(self, credential: str) -> tuple[str, ...] | None:
        """The roles that *credential* gives; None when it is refused."""
        try:
            return self.security.identify(credential).roles
        except InvalidCredentialError:
            return None

    async def token(self, subject: str, *roles: str, expires_in: float = 600) -> str:
        return (await self.security.issue(subject, roles, expires_in)).text


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made = Plane(tmp_path)
    yield made
    await made.registry.close()


async def test_a_role_of_the_configuration_names_subjects_besides(plane: Plane) -> None:
    cashier = {"permissions": [], "publish": ["payments.>"], "subscribe": ["orders.>"]}
    plane.security.adopt(plane.config({"roles": {"cashier": cashier}, "principals": {"billing": ["cashier"]}}))

    grants = plane.security.identify(await plane.token("billing", "cashier")).grants

    assert (grants.publish, grants.subscribe) == ({"payments.>"}, {"orders.>"})
    assert grants.allows("messages:publish")


async def test_roles_count_that_are_claimed_and_bound(plane: Plane) -> None:
    assert plane.roles(await plane.token("mona", "monitor", "admin", "no-such-role")) == ("monitor",)
    assert plane.roles(await plane.token("mona")) == ()
    assert plane.roles(await plane.token("eve", "admin")) == ()
    assert plane.roles(await plane.token("anonymous", "admin", "anonymous")) == ()


async def test_who_is_run_is_bound_to_be_a_component_for_as_long_as_that(plane: Plane) -> None:
    file = plane.security.components.provide("worker", None)
    assert file is not None
    own, token = file.read_text(), await plane.token("worker", "component", "admin")
    assert (plane.roles(own), plane.roles(token)) == (("component",), ("component",))
    epoch = plane.security._epoch()

    plane.running.clear()
    plane.line_up += 1

    assert (plane.roles(own), plane.roles(token)) == (None, ())
    assert plane.security._epoch() != epoch


async def test_what_an_administrator_binds_is_kept_beside_the_configuration(plane: Plane) -> None:
    await plane.security.bind("ci", ["operator"])
    await plane.security.bind("ci", ["monitor", "operator"])
    await plane.security.bind("mona", ["monitor"])

    assert plane.security.bound("ci") == {"operator", "monitor"}
    assert list(plane.registry.documents.all("principal")) == ["ci"], "what is bound already is not written"
    plane.security.adopt(plane.config({}))
    assert (plane.security.bound("ci"), plane.security.bound("mona")) == ({"operator", "monitor"}, frozenset())


async def test_what_was_bound_is_taken_back_and_counts_in_nothing_that_was_given(plane: Plane) -> None:
    await plane.security.bind("ci", ["operator", "monitor"])
    token = await plane.token("ci", "operator", "monitor")
    epoch = plane.security._epoch()

    assert await plane.security.unbind("ci", ["operator", "admin"]) == ["operator"]

    assert plane.roles(token) == ("monitor",)
    assert plane.security._epoch() != epoch, "who asks again is looked at again"
    assert await plane.security.unbind("ci", ["monitor"]) == ["monitor"]
    assert (plane.security.bound("ci"), dict(plane.registry.documents.all("principal"))) == (frozenset(), {})
    assert await plane.security.unbind("mona", ["monitor"]) == [], "the configuration has bound it"
    assert "monitor" in plane.security.bound("mona")


async def test_another_configuration_changes_what_tokens_give_and_what_is_open(plane: Plane) -> None:
    token = await plane.token("mona", "monitor", "deployer")
    epoch = plane.security._epoch()
    before = plane.security.identify(token).grants
    assert (before.allows("components:control", "web-1"), before.allows("components:control", "db")) == (True, False)

    plane.security.adopt(plane.config({"principals": {"mona": ["monitor"]}}))

    assert plane.roles(token) == ("monitor",)
    assert plane.security._epoch() != epoch
    assert len(plane.reviews) == 1


@pytest.mark.parametrize(
    ("component_id", "guarded"), [("worker", True), ("billing", True), ("mona", False), ("anybody", False)]
)
def test_who_can_prove_to_be_a_component_is_guarded(plane: Plane, component_id: str, guarded: bool) -> None:
    assert plane.security.is_guarded(component_id) is guarded


async def test_a_token_ends_with_the_leeway_of_clocks(plane: Plane) -> None:
    token = await plane.token("mona", "monitor", expires_in=60)
    principal = plane.security.identify(token)

    assert principal.expires_at == int(plane.clock.time()) + 60 + LEEWAY
    plane.clock.advance(60 + LEEWAY)
    assert plane.roles(token) is None


async def test_a_succeeded_credential_says_when_it_ends(plane: Plane) -> None:
    file = plane.security.components.provide("worker", None)
    assert file is not None
    old = file.read_text()
    plane.clock.advance(RENEW_AFTER)
    epoch = plane.security._epoch()

    plane.security.components.renew()

    assert plane.security.identify(old).expires_at == plane.clock.time() + RENEW_AFTER
    assert plane.security.identify(file.read_text()).expires_at is None
    assert plane.security._epoch() != epoch


async def test_the_credential_of_a_component_that_is_barred_is_refused_until_it_is_restored(plane: Plane) -> None:
    file = plane.security.components.provide("worker", None)
    assert file is not None
    assert plane.roles(file.read_text()) == ("component",)

    await plane.security.bar("worker", "it was broken into")

    assert plane.roles(file.read_text()) is None
    await plane.security.restore("worker")
    assert plane.roles(file.read_text()) == ("component",)


async def test_every_kind_of_revocation_is_heard(plane: Plane) -> None:
    security = plane.security
    token, other = await plane.token("mona", "monitor"), await plane.token("mona", "monitor")
    key, stored = await security.api_keys.create("mona", ["monitor"], security.now())
    epochs = [security._epoch()]

    await security.revoke(security.verify(token), "lost")
    epochs.append(security._epoch())
    assert (plane.roles(token), plane.roles(other)) == (None, ("monitor",))
    await security.revoke_id(security.verify(other).token_id, "")
    epochs.append(security._epoch())
    assert plane.roles(other) is None
    await security.bar("mona", "gone")
    epochs.append(security._epoch())
    assert plane.roles(key) is None
    await security.restore("mona")
    assert plane.roles(key) == ("monitor",)
    await security.revoke_key(stored.id)
    epochs.append(security._epoch())

    assert plane.roles(key) is None
    assert len(set(epochs)) == len(epochs)
    assert len(plane.reviews) == 4
    with pytest.raises(InvalidTokenError):
        security.verify(token)


async def test_nothing_that_is_guessed_is_accepted(plane: Plane) -> None:
    rng = random.Random(0)
    token = await plane.token("mona", "monitor")
    key, _ = await plane.security.api_keys.create("mona", ["monitor"], plane.security.now())
    file = plane.security.components.provide("worker", None)
    assert file is not None
    known = [token, key, file.read_text(), "the-credential-of-the-owner"]

    for _ in range(GUESSES):
        text = list(rng.choice(known))
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(text))
            match rng.randrange(3):
                case 0:
                    text[place] = rng.choice(string.ascii_letters + string.digits + ".-_")
                case 1:
                    text.insert(place, rng.choice(string.printable))
                case 2:
                    del text[place]
        guess = "".join(text)
        assert guess in known or plane.roles(guess) is None, guess

    assert all(plane.roles(one) is not None for one in known), "the right ones are accepted as before"


@pytest.mark.parametrize("credential", ["", "\0", "\ud800", "ü" * 100, "tk_", ".", "..", "a.b.c", "x" * 8192])
def test_whatever_is_shown_is_refused_and_nothing_else(plane: Plane, credential: str) -> None:
    assert plane.roles(credential) is None


async def test_a_token_that_follows_a_revocation_is_not_revoked_with_it(plane: Plane, monkeypatch: Any) -> None:
    async def pass_time(seconds: float) -> None:
        plane.clock.advance(seconds)

    monkeypatch.setattr("tekton.service.security.asyncio.sleep", pass_time)
    before = await plane.token("mona", "monitor")
    await plane.security.revoke_issued("mona", "lost")

    after = await plane.token("mona", "monitor")

    assert (plane.roles(before), plane.roles(after)) == (None, ("monitor",))
