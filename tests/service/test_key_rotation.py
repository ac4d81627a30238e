"""Keys are rotated over and over while tokens are issued, kept and shown over HTTP, and nobody notices.

Time is that of a clock that the test moves, so that a rotation every two seconds is as many as the overlap bears: keys
are published for six seconds, and tokens live for twenty at most.
"""

import json
import os
import random
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import jwt
import pytest

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import LEEWAY, KeyRing
from tekton.auth.tokens import TokenIssuer, TokenVerifier
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.app import Gateway
from tekton.gateway.server import GatewayServer
from tekton.service.api import auth, signing_keys
from tekton.service.card_keys import CardKeys
from tekton.service.component_credentials import ComponentCredentials
from tekton.service.security import Security
from tekton.service.signing_keys import SigningKeys
from tekton.service.system import System
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig

ROTATIONS = int(os.environ.get("TEKTON_ROTATIONS", "60"))
EVERY, PUBLISHED, LIFE = 2.0, 6.0, 20.0
SECRET = "a secret that nobody can guess, of 40 bytes"


class Plane:
    """A control plane of nothing but its authentication, on a port."""

    def __init__(self, directory: Path, secret: str | None = None) -> None:
        (directory / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(directory / "data")}}))
        (directory / "security.json").write_text(json.dumps({"principals": {"mona": ["monitor"]}}))
        config = TektonConfig.load(directory / "tekton.json", environ={})
        self.clock = ManualClock()
        self.registry = ComponentRegistry(clock=self.clock)
        self.file = KeyFile(directory / "data", max_life=LIFE, publish_delay=PUBLISHED)
        ring = self.file.load_or_create(self.clock.time()) if secret is None else KeyRing.of_secret(secret)
        self.security = Security(
            config,
            self.registry.documents,
            ring,
            credential="the-credential-of-the-owner",
            components=ComponentCredentials(directory / "data", "run", self.clock.time),
            clock=self.clock,
            report=lambda *_: None,
        )
        self.keys = SigningKeys(
            ring,
            self.file if secret is None else None,
            self.registry.audit,
            life=None,
            clock=self.clock,
            changed=self.security.keys_changed,
        )
        self.system = SimpleNamespace(
            registry=self.registry, security=self.security, signing_keys=self.keys, card_keys=CardKeys(None)
        )
        system = cast(System, self.system)
        routes = [*auth.routes(system), *signing_keys.routes(system)]
        self.server = GatewayServer(Gateway(routes, policy=self.security.policy), "127.0.0.1", 0, None)

    async def ask(self, session: aiohttp.ClientSession, method: str, path: str, token: str = "", **more: Any) -> Any:
        """The status, and the answer."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"http://127.0.0.1:{self.server.port}{path}"
        async with session.request(method, url, headers=headers, **more) as answer:
            return answer.status, await answer.json(content_type=None)

    def ring_kids(self) -> list[str]:
        return [key.kid for key in self.security.ring.keys]

    async def owner(self, session: aiohttp.ClientSession, method: str, path: str, **more: Any) -> Any:
        return await self.ask(session, method, path, "the-credential-of-the-owner", **more)


@pytest.fixture
async def plane(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Plane]:
    made = Plane(tmp_path, getattr(request, "param", None))
    await made.server.start()
    yield made
    await made.server.stop(timeout=2.0)
    await made.keys.stop()
    await made.registry.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def test_keys_that_are_rotated_every_two_seconds_fail_no_request(
    plane: Plane, session: aiohttp.ClientSession
) -> None:
    rng = random.Random(4)
    script = KeyFile(plane.file.path.parent.parent, max_life=LIFE, publish_delay=PUBLISHED)
    live: deque[tuple[str, float]] = deque()
    published: deque[tuple[float, frozenset[str], KeyRing]] = deque()
    failed: list[str] = []
    signed: set[str] = set()
    asked = 0
    for number in range(ROTATIONS):
        plane.clock.advance(EVERY)
        now = plane.clock.time()
        if number % 3 == 2:  # somebody else, in another process
            script.add(now)
            await plane.keys.look()
        else:
            assert (await plane.owner(session, "POST", "/api/auth/signing-keys/rotate"))[0] == 201
        status, document = await plane.ask(session, "GET", "/.well-known/jwks.json")
        published.append((now, frozenset(key["kid"] for key in document["keys"]), KeyRing.of_jwks(document)))
        while published[0][0] < now - PUBLISHED + EVERY:
            published.popleft()

        # One from the control plane, one from a script that reads the file.
        order = {"subject": "mona", "roles": ["monitor"], "expires_in": LIFE}
        status, made = await plane.owner(session, "POST", "/api/auth/token", json=order)
        assert status == 201
        own = TokenIssuer(script.load_or_create(now)).issue("mona", ["monitor"], LIFE, {}, now)
        live.extend((token, now + LIFE) for token in (made["token"], own))
        while live[0][1] <= now:
            live.popleft()

        for token in (made["token"], own):
            signed.add(kid_of(token))
            _, names, ring = published[0]
            assert kid_of(token) in names, "who asked for the keys some seconds ago knows the one that signs"
            TokenVerifier(ring).verify(token, now)
        assert plane.keys.listed()[0].state != "retired"
        for token, _ in rng.sample(live, min(4, len(live))):
            asked += 1
            status, who = await plane.ask(session, "GET", "/api/auth/whoami", token)
            if (status, who.get("roles")) != (200, ["monitor"]):
                failed.append(f"after {number + 1} rotations: {status} {who}")

    assert failed == []
    assert asked > 3 * ROTATIONS
    assert len(signed) > ROTATIONS - 5
    assert len(plane.ring_kids()) <= (LIFE + LEEWAY + PUBLISHED) / EVERY + 2
    assert len(plane.file.load_retired()) > ROTATIONS - (LIFE + LEEWAY + PUBLISHED) / EVERY - 3


async def test_a_key_that_has_become_known_makes_nothing_valid_any_more(
    plane: Plane, session: aiohttp.ClientSession
) -> None:
    token = (await plane.security.issue("mona", ["monitor"], LIFE)).text
    assert (await plane.ask(session, "GET", "/api/auth/whoami", token))[0] == 200

    rotation = {"overlap": False}
    status, made = await plane.owner(session, "POST", "/api/auth/signing-keys/rotate", json=rotation)

    assert (status, made["state"], made["retires_at"]) == (201, "signs", None)
    assert (await plane.ask(session, "GET", "/api/auth/whoami", token))[0] == 401
    token = (await plane.security.issue("mona", ["monitor"], LIFE)).text
    assert (await plane.ask(session, "GET", "/api/auth/whoami", token))[0] == 200


async def test_what_is_told_of_keys_is_no_secret(plane: Plane, session: aiohttp.ClientSession) -> None:
    now = plane.clock.time()
    _, made = await plane.owner(session, "POST", "/api/auth/signing-keys/rotate")

    status, told = await plane.owner(session, "GET", "/api/auth/signing-keys")

    first, second = told["items"]
    assert (status, second, told["life"]) == (200, made, None)
    assert {**first, "id": ""} == {
        "id": "",
        "use": "tokens",
        "algorithm": "EdDSA",
        "state": "signs",
        "published_at": now,
        "signs_from": now,
        "retires_at": now + PUBLISHED + LIFE + LEEWAY,
    }
    entries = (await plane.registry.audit.page(AuditQuery(action="signing_key.rotate"))).entries
    assert [(entry.actor, entry.outcome, entry.target) for entry in entries] == [
        ("owner", "done", first["id"]),
        ("owner", "intent", first["id"]),
    ]


async def test_the_keys_of_cards_are_rotated_apart_from_those_of_tokens(
    plane: Plane, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    cards = plane.system.card_keys = await CardKeys.open(tmp_path / "data", plane.registry.audit, plane.clock)
    tokens = plane.ring_kids()
    (before,) = cards.listed()

    status, made = await plane.owner(session, "POST", "/api/auth/signing-keys/rotate", json={"use": "cards"})
    _, told = await plane.owner(session, "GET", "/api/auth/signing-keys")
    _, void = await plane.owner(
        session, "POST", "/api/auth/signing-keys/rotate", json={"use": "cards", "overlap": False}
    )

    assert (status, made["use"], made["state"]) == (201, "cards", "signs")
    assert [(one["id"], one["use"], one["state"]) for one in told["items"]] == [
        (tokens[0], "tokens", "signs"),
        (before.kid, "cards", "verifies"),
        (made["id"], "cards", "signs"),
    ]
    assert [key.kid for key in cards.listed()] == [void["id"]]
    assert plane.ring_kids() == tokens
    await cards.stop()


async def test_who_does_not_manage_authentication_neither_sees_nor_rotates(
    plane: Plane, session: aiohttp.ClientSession
) -> None:
    token = (await plane.security.issue("mona", ["monitor"], LIFE)).text

    for method, path in (("GET", "/api/auth/signing-keys"), ("POST", "/api/auth/signing-keys/rotate")):
        assert (await plane.ask(session, method, path, token))[0] == 403

    assert len(plane.ring_kids()) == 1


@pytest.mark.parametrize("plane", [SECRET], indirect=True)
async def test_a_secret_in_place_of_keys_is_a_conflict_that_says_why(
    plane: Plane, session: aiohttp.ClientSession
) -> None:
    status, problem = await plane.owner(session, "POST", "/api/auth/signing-keys/rotate")
    _, told = await plane.owner(session, "GET", "/api/auth/signing-keys")

    assert (status, problem["code"]) == (409, "key_rotation")
    assert "`jwt_secret`" in problem["detail"]
    assert [(key["algorithm"], key["state"]) for key in told["items"]] == [("HS256", "signs")]
    assert SECRET not in json.dumps(told)
