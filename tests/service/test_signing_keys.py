"""The keys that sign tokens, in a control plane: who rotates them, when, and that nobody notices."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.auth.key_file import KeyFile
from tekton.auth.keys import LEEWAY, MAX_KEYS, MAX_LIFE, PUBLISH_DELAY, KeyRing
from tekton.auth.tokens import TokenIssuer, TokenVerifier
from tekton.core.attribution import Attribution, attributed
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.service.signing_keys import LOOK, SigningKeys
from tekton.testing.clock import ManualClock
from tekton.testing.faults import FaultyStore
from tekton.utils.tekton_errors import InvalidTokenError, KeyFileError, KeyRotationError, StorageFullError

DAY = 86_400.0


class Plane:
    """What a control plane has of keys. `changes` counts how often it was told of others."""

    def __init__(self, data_dir: Path) -> None:
        self.clock = ManualClock()
        self.store = FaultyStore(MemoryStore())
        self.registry = ComponentRegistry(store=self.store, clock=self.clock)
        self.file = KeyFile(data_dir)
        self.ring = self.file.load_or_create(self.now)
        self.changes = 0
        self.changed_once = asyncio.Event()
        self.keys = SigningKeys(
            self.ring, self.file, self.registry.audit, life=90 * DAY, clock=self.clock, changed=self.changed
        )

    @property
    def now(self) -> float:
        return self.clock.time()

    def changed(self) -> None:
        self.changes += 1
        self.changed_once.set()

    def states(self) -> list[str]:
        return [key.state for key in self.keys.listed()]

    def token(self) -> str:
        return TokenIssuer(self.ring).issue("web", [], 3600, {}, self.now)

    def accepts(self, token: str) -> bool:
        try:
            TokenVerifier(self.ring).verify(token, self.now)
        except InvalidTokenError:
            return False
        return True

    async def audited(self) -> list[tuple[str, str, str, str]]:
        await self.registry.flush()
        entries = (await self.registry.audit.page(AuditQuery())).entries[::-1]
        return [(entry.actor, entry.action, entry.target, entry.outcome) for entry in entries]


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made = Plane(tmp_path)
    yield made
    await made.keys.stop()
    made.store.full = False
    await made.registry.close()


async def test_a_key_is_published_signs_verifies_and_retires(plane: Plane) -> None:
    first = plane.ring.keys[0].kid
    made = await plane.keys.rotate()

    assert (plane.states(), made.state) == (["signs", "published"], "published")
    assert made.signs_from == plane.now + PUBLISH_DELAY
    plane.clock.advance(PUBLISH_DELAY)
    assert plane.states() == ["verifies", "signs"]
    before, after = plane.keys.listed()
    assert (before.kid, before.retires_at, after.retires_at) == (first, made.signs_from + MAX_LIFE + LEEWAY, None)
    plane.clock.advance(MAX_LIFE + LEEWAY)
    assert plane.states() == ["retired", "signs"]
    await plane.keys.rotate()
    assert plane.states() == ["signs", "published"]
    assert plane.changes == 2


async def test_a_rotation_is_on_the_disk_and_in_the_audit_log(plane: Plane) -> None:
    before = plane.ring.keys[0].kid
    with attributed(Attribution("ann", "token")):
        made = await plane.keys.rotate()

    assert [key.kid for key in plane.file.load()] == [before, made.kid]
    assert await plane.audited() == [
        ("ann", "signing_key.rotate", before, "intent"),
        ("ann", "signing_key.rotate", before, "done"),
    ]
    (last, _) = (await plane.registry.audit.page(AuditQuery())).entries
    assert last.detail.startswith(f"{made.kid} signs tokens from 2023-11-14 22:14:20 UTC")


async def test_without_overlap_the_new_key_signs_at_once_and_tokens_from_before_are_void(plane: Plane) -> None:
    old = plane.token()

    made = await plane.keys.rotate(overlap=False)

    assert (plane.states(), made.state) == (["signs"], "signs")
    assert (plane.accepts(old), plane.accepts(plane.token())) == (False, True)
    assert plane.changes == 1


async def test_a_key_that_is_old_enough_gets_a_successor(plane: Plane) -> None:
    plane.clock.advance(90 * DAY - 1)
    await plane.keys.look()
    assert plane.states() == ["signs"]

    plane.clock.advance(1)
    await plane.keys.look()
    await plane.keys.look()

    assert plane.states() == ["signs", "published"]
    assert {actor for actor, *_ in await plane.audited()} == {"tekton"}


async def test_keys_are_never_rotated_by_themselves_where_that_is_set(plane: Plane) -> None:
    plane.keys.life = None
    plane.clock.advance(3_650 * DAY)

    await plane.keys.look()

    assert plane.states() == ["signs"]


async def test_the_age_is_looked_at_when_the_control_plane_starts(plane: Plane) -> None:
    plane.clock.advance(91 * DAY)

    plane.keys.start()
    async with asyncio.timeout(5):
        await plane.changed_once.wait()

    assert plane.states() == ["signs", "published"]


async def test_a_key_that_another_process_has_made_is_published_long_before_it_signs(plane: Plane) -> None:
    other = KeyFile(plane.file.path.parent.parent)
    other.rotate(other.load_or_create(plane.now), plane.now)
    assert plane.states() == ["signs"]

    await plane.keys.look()

    assert plane.states() == ["signs", "published"]
    assert (plane.changes, len(plane.ring.jwks(plane.now)["keys"])) == (1, 2)
    assert LOOK * 3 < PUBLISH_DELAY


async def test_looking_at_a_file_that_is_as_before_changes_nothing(plane: Plane) -> None:
    await plane.keys.rotate()
    epoch = plane.ring.epoch

    for _ in range(3):
        await plane.keys.look()

    assert (plane.ring.epoch, plane.changes) == (epoch, 1)


async def test_rotations_at_once_are_made_one_after_the_other(plane: Plane) -> None:
    made = await asyncio.gather(*(plane.keys.rotate() for _ in range(5)))

    assert [key.kid for key in plane.file.load()][1:] == [key.kid for key in made]
    assert [key.kid for key in plane.ring.keys] == [key.kid for key in plane.file.load()]


@pytest.mark.parametrize("turns", range(5))
async def test_who_is_cancelled_takes_no_rotation_back(plane: Plane, turns: int) -> None:
    caller = asyncio.ensure_future(plane.keys.rotate())
    for _ in range(turns):
        await asyncio.sleep(0)

    caller.cancel()
    await asyncio.wait([caller])
    await plane.keys.rotate()

    assert len(plane.file.load()) == (2 if turns == 0 else 3)
    assert [key.kid for key in plane.ring.keys] == [key.kid for key in plane.file.load()]
    assert [outcome for *_, outcome in await plane.audited()].count("failed") == 0


async def test_what_cannot_be_entered_in_the_audit_log_is_not_rotated(plane: Plane) -> None:
    plane.store.full = True

    with pytest.raises(StorageFullError):
        await plane.keys.rotate()

    assert len(plane.file.load()) == len(plane.ring.keys) == 1


async def test_a_file_that_cannot_be_used_leaves_everything_as_it_was(
    plane: Plane, caplog: pytest.LogCaptureFixture
) -> None:
    token = plane.token()
    plane.file.path.chmod(0o644)
    plane.clock.advance(1)
    with pytest.raises(KeyFileError):
        await plane.keys.rotate()
    plane.clock.advance(91 * DAY)

    with caplog.at_level(logging.WARNING, "tekton.security"):
        for _ in range(3):
            await plane.keys.look()

    assert len(caplog.records) == 1
    assert "open to others" in caplog.text
    assert len(plane.ring.keys) == 1
    assert [outcome for *_, outcome in await plane.audited()][:2] == ["intent", "failed"]
    plane.file.path.chmod(0o600)
    await plane.keys.look()
    assert plane.states() == ["signs", "published"]
    plane.clock.set_wall(plane.now - 91 * DAY)
    assert plane.accepts(token)


async def test_more_keys_than_can_retire_are_refused_before_anything_is_done(plane: Plane) -> None:
    for _ in range(MAX_KEYS - 1):
        plane.file.rotate(plane.ring, plane.now)

    with pytest.raises(KeyRotationError, match="still verify"):
        await plane.keys.rotate()

    assert await plane.audited() == []


async def test_a_secret_is_not_rotated_and_it_is_said_why(plane: Plane) -> None:
    ring = KeyRing.of_secret("a secret that nobody can guess, of 40 bytes")
    keys = SigningKeys(ring, None, plane.registry.audit, life=1.0, clock=plane.clock)
    keys.start()

    with pytest.raises(KeyRotationError, match="`jwt_secret`"):
        await keys.rotate()

    (only,) = keys.listed()
    assert (only.algorithm, only.state, only.retires_at) == ("HS256", "signs", None)
    await keys.stop()
    assert await plane.audited() == []
