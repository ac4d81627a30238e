"""The keys that sign agent cards: made once, apart from the others; what cannot be used takes down nothing."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tekton.auth.key_file import KeyFile
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.service.card_keys import OVERLAP, CardKeys
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import KeyFileError


@pytest.fixture
async def registry() -> AsyncIterator[ComponentRegistry]:
    async with ComponentRegistry() as registry:
        yield registry


async def test_the_key_is_made_once_and_kept_apart_where_only_its_owner_reads(
    registry: ComponentRegistry, tmp_path: Path
) -> None:
    tokens = KeyFile(tmp_path).load_or_create(0.0)
    first = await CardKeys.open(tmp_path, registry.audit, ManualClock())
    again = await CardKeys.open(tmp_path, registry.audit, ManualClock())

    assert [key.kid for key in again.listed()] == [key.kid for key in first.listed()]
    assert first.listed()[0].kid != tokens.keys[0].kid
    assert (first.listed()[0].use, first.listed()[0].state, first.problems) == ("cards", "signs", [])
    path = tmp_path / "keys" / "cards.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_rotation_is_kept_and_told_and_the_key_before_has_thirty_days(
    registry: ComponentRegistry, tmp_path: Path
) -> None:
    clock = ManualClock()
    keys = await CardKeys.open(tmp_path, registry.audit, clock)
    (before,) = keys.listed()

    made = await keys.rotate()

    assert [(key.kid, key.state) for key in keys.listed()] == [(before.kid, "verifies"), (made.kid, "signs")]
    assert made.signs_from == clock.time()
    assert keys.listed()[0].retires_at == clock.time() + OVERLAP + 30
    assert [key.kid for key in (await CardKeys.open(tmp_path, registry.audit, clock)).listed()] == [
        before.kid,
        made.kid,
    ]
    (done, _) = (await registry.audit.page(AuditQuery())).entries
    assert (done.action, done.target) == ("signing_key.rotate", before.kid)
    assert done.detail.startswith(f"{made.kid} signs cards from ")
    await keys.stop()


async def test_a_key_that_has_become_known_is_given_up_and_nothing_of_it_is_kept(
    registry: ComponentRegistry, tmp_path: Path
) -> None:
    keys = await CardKeys.open(tmp_path, registry.audit, ManualClock())

    made = await keys.rotate(overlap=False)

    assert [key.kid for key in keys.listed()] == [made.kid]
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["cards.json"]
    await keys.stop()


@pytest.mark.parametrize("damage", ["not readable", "open to others", "no file"])
async def test_a_file_that_cannot_be_used_takes_down_nothing_and_is_told(
    registry: ComponentRegistry, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys" / "cards.json"
    await CardKeys.open(tmp_path, registry.audit, ManualClock())
    if damage == "not readable":
        path.write_bytes(b"\0" * 100)
    elif damage == "open to others":
        path.chmod(0o644)
    else:
        path.unlink()
        path.mkdir()
    left = path.read_bytes() if path.is_file() else b""

    keys = await CardKeys.open(tmp_path, registry.audit, ManualClock())

    keys.start()
    assert (keys.ring, keys.listed(), keys.problems) == (None, [], ["agent cards: not signed"])
    assert "agent cards are not signed: " in caplog.text
    with pytest.raises(KeyFileError, match=r"cards\.json"):
        await keys.rotate()
    assert (path.read_bytes() if path.is_file() else b"") == left
    await keys.stop()
