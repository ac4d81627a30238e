"""What is read of security: what is given out, taken back, refused, and how old keys are."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tekton.auth.keys import KeyRing
from tekton.core.audit.failed_logins import FailedLogins, kind_of
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.gateway.auth import InvalidCredentialError
from tekton.service.component_credentials import ComponentCredentials
from tekton.service.readings.security import SOON, api_keys, credentials, refused
from tekton.service.security import Security
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_config import TektonConfig

Read = Callable[..., Any]


class Plane:
    """The security of a control plane, in memory."""

    def __init__(self, directory: Path, registry: ComponentRegistry) -> None:
        self.clock = ManualClock()
        self.failed = FailedLogins(registry.audit)
        (directory / "data" / "run").mkdir(parents=True)
        (directory / "tekton.json").write_text(json.dumps({"tekton": {"data_dir": str(directory / "data")}}))
        self.security = Security(
            TektonConfig.load(directory / "tekton.json", environ={}),
            registry.documents,
            KeyRing.generate(self.clock.time()),
            credential="that of the owner",
            components=ComponentCredentials(directory / "data", "run", self.clock.time),
            clock=self.clock,
            report=self.failed.note,
        )

    def refuse(self, credential: str) -> None:
        """Have *credential* refused, as a request would."""
        with pytest.raises(InvalidCredentialError) as error:
            self.security.identify(credential)
        self.failed.note("192.0.2.7:1", error.value.reason)

    async def token(self) -> str:
        return (await self.security.issue("ada", ["monitor"], 600)).text


@pytest.fixture
async def plane(tmp_path: Path, registry: ComponentRegistry) -> Plane:
    return Plane(tmp_path, registry)


async def an_expired_token(plane: Plane) -> None:
    token = await plane.token()
    plane.clock.advance(700)
    plane.refuse(token)


async def an_expired_key(plane: Plane) -> None:
    now = plane.clock.time()
    text, _ = await plane.security.api_keys.create("ada", ["monitor"], now, expires_at=now + 1)
    plane.clock.advance(2)
    plane.refuse(text)


async def a_revoked_token(plane: Plane) -> None:
    token = await plane.token()
    await plane.security.revoke(plane.security.verify(token), "test")
    plane.refuse(token)


async def a_key_of_somebody_barred(plane: Plane) -> None:
    text, _ = await plane.security.api_keys.create("ada", ["monitor"], plane.clock.time())
    await plane.security.bar("ada", "test")
    plane.refuse(text)


async def a_removed_key(plane: Plane) -> None:
    text, key = await plane.security.api_keys.create("ada", ["monitor"], plane.clock.time())
    await plane.security.revoke_key(key.id)
    plane.refuse(text)


async def a_token_of_another_control_plane(plane: Plane) -> None:
    token = await plane.token()
    plane.security.ring.replace(KeyRing.generate(plane.clock.time()).keys)
    plane.refuse(token)


async def no_credential_at_all(plane: Plane) -> None:
    plane.refuse("sesame")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (an_expired_token, "expired"),
        (an_expired_key, "expired"),
        (a_revoked_token, "revoked"),
        (a_key_of_somebody_barred, "revoked"),
        (a_removed_key, "unknown"),
        (a_token_of_another_control_plane, "unknown"),
        (no_credential_at_all, "malformed"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_refused_credential_is_counted_by_what_was_the_matter(
    plane: Plane, read: Read, act: Callable[[Plane], Awaitable[None]], reason: str
) -> None:
    await act(plane)

    counts = read(partial(refused, plane.failed), "tekton_auth_failures")

    assert {labels: count for labels, count in counts.items() if count} == {(reason,): 1}


@pytest.mark.parametrize("reason", ["several Authorization headers", "not a bearer credential", "too long"])
def test_what_is_no_credential_is_malformed(reason: str) -> None:
    assert kind_of(reason) == "malformed"


async def test_what_is_given_out_and_taken_back_is_counted(plane: Plane, read: Read) -> None:
    security = plane.security
    token = await plane.token()
    _, key = await security.api_keys.create("bob", ["monitor"], plane.clock.time())

    await security.revoke(security.verify(token), "test")
    await security.revoke_id("another", "test")
    await security.revoke_issued("ada", "test")
    await security.bar("ada", "test")
    await security.revoke_key(key.id)

    reader = partial(credentials, security)
    assert read(reader, "tekton_tokens_issued") == 1
    assert read(reader, "tekton_credentials_revoked") == 5
    assert read(reader, "tekton_logins_throttled") == 0


async def test_the_age_of_keys_is_told_and_which_expire_soon(plane: Plane, read: Read) -> None:
    keys, now = plane.security.api_keys, plane.clock.time()
    await keys.create("ada", ["monitor"], now, expires_at=now + 1)
    await keys.create("bob", ["monitor"], now + 10)
    await keys.create("cyd", ["monitor"], now + 50, expires_at=now + SOON)
    plane.clock.advance(100)

    names = ("api_keys_expiring", "api_key_oldest_age", "signing_keys", "signing_key_age")

    def both() -> Any:
        yield from credentials(plane.security)
        yield from api_keys(plane.security)

    assert read(both, "tekton_api_keys") == {("live",): 2, ("expired",): 1}
    assert [read(both, f"tekton_{name}") for name in names] == [1, 90, 1, 100]
