import asyncio
import re
import string
import zlib
from pathlib import Path

import pytest

from tekton.auth.api_keys import KIND, LIVE_KEYS, STORED_EVERY, USE_KIND, ApiKeys
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.utils.redaction import REDACTED, scrub
from tekton.utils.tekton_errors import InvalidTokenError, KeyLimitError

NOW = 1_700_000_000.0
DIGITS = string.digits + string.ascii_letters


@pytest.fixture
def keys(registry: ComponentRegistry) -> ApiKeys:
    return ApiKeys(registry.documents)


def refusal(keys: ApiKeys, text: str, now: float = NOW) -> str:
    with pytest.raises(InvalidTokenError) as refused:
        keys.verify(text, now)
    return refused.value.reason


def checksum(text: str) -> str:
    """CRC-32 in six digits of base 62."""
    number = zlib.crc32(text.encode())
    return "".join(DIGITS[number // 62**place % 62] for place in reversed(range(6)))


async def test_a_key_is_who_it_was_created_for(keys: ApiKeys) -> None:
    text, created = await keys.create("ci", ["operator"], NOW, component_id="web", label="build")

    key = keys.verify(text, NOW)

    assert key == created
    assert (key.subject, key.roles, key.component_id, key.label) == ("ci", ("operator",), "web", "build")


async def test_a_key_can_be_recognised_and_has_a_secret_of_its_own(keys: ApiKeys) -> None:
    first, _ = await keys.create("ci", [], NOW)
    second, _ = await keys.create("ci", [], NOW)

    for text in (first, second):
        assert re.fullmatch(r"tk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)
    assert first[3:15] != second[3:15]
    assert first[16:59] != second[16:59]


async def test_a_key_that_is_written_into_a_log_is_blacked_out(keys: ApiKeys) -> None:
    text, _ = await keys.create("ci", [], NOW)

    assert scrub(f"using {text} now") == f"using {REDACTED} now"


async def test_the_key_itself_is_kept_nowhere(keys: ApiKeys, registry: ComponentRegistry) -> None:
    text, key = await keys.create("ci", [], NOW)

    kept = b"".join(registry.documents.all(KIND).values()).decode() + repr(key)

    assert text not in kept
    assert text[16:] not in kept
    assert key.digest in kept


async def test_a_mistyped_key_is_known_without_looking_it_up(keys: ApiKeys) -> None:
    text, _ = await keys.create("ci", [], NOW)
    for at in range(3, len(text)):
        wrong = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
        assert refusal(keys, wrong) == "is no API key, or a mistyped one"


@pytest.mark.parametrize(
    "text", ["", "tk_", "tk__", "tk_" + "a" * 62, "tk_é", "TK_" + "0" * 12 + "_" + "0" * 49, "x" * 10**6]
)
async def test_what_is_no_key_is_refused(keys: ApiKeys, text: str) -> None:
    assert refusal(keys, text) == "is no API key, or a mistyped one"


async def test_a_key_of_another_installation_is_refused(keys: ApiKeys) -> None:
    async with ComponentRegistry() as elsewhere:
        text, _ = await ApiKeys(elsewhere.documents).create("ci", [], NOW)

    assert refusal(keys, text) == "is no API key of ours"


async def test_another_secret_under_a_known_id_is_refused(keys: ApiKeys, registry: ComponentRegistry) -> None:
    text, key = await keys.create("ci", [], NOW)
    other, _ = await keys.create("ci", [], NOW)
    body = registry.documents.all(KIND)[key.id]
    await registry.documents.put(KIND, other[3:15], body)

    assert refusal(keys, other) == "is no API key of ours"
    assert keys.verify(text, NOW).id == key.id


async def test_who_knows_the_id_does_not_know_the_secret(keys: ApiKeys) -> None:
    text, key = await keys.create("ci", [], NOW)
    for secret in ("0" * 43, text[16:58] + ("0" if text[58] != "0" else "1")):
        forged = f"tk_{key.id}_{secret}"
        assert refusal(keys, forged + checksum(forged)) == "is no API key of ours"

    assert checksum(text[:59]) == text[59:]


async def test_a_key_ends_when_it_was_said_to(keys: ApiKeys) -> None:
    text, key = await keys.create("ci", [], NOW, expires_at=NOW + 60)

    keys.verify(text, NOW + 59.9)

    assert refusal(keys, text, NOW + 60) == f"is the API key {key.id}, which has expired"


async def test_a_revoked_key_is_refused_at_once(keys: ApiKeys) -> None:
    text, key = await keys.create("ci", [], NOW)
    keys.verify(text, NOW)
    before = keys.epoch

    assert await keys.revoke(key.id)

    assert refusal(keys, text) == "is no API key of ours"
    assert keys.epoch > before
    assert not await keys.revoke(key.id)


async def test_a_subject_has_two_live_keys_at_most(keys: ApiKeys) -> None:
    for _ in range(LIVE_KEYS):
        await keys.create("ci", [], NOW, expires_at=NOW + 60)

    with pytest.raises(KeyLimitError) as refused:
        await keys.create("ci", [], NOW)

    assert (refused.value.subject, refused.value.limit) == ("ci", 2)
    await keys.create("cd", [], NOW)
    await keys.create("ci", [], NOW + 60)


async def test_the_limit_holds_for_who_asks_many_times_at_once(keys: ApiKeys) -> None:
    outcomes = await asyncio.gather(*(keys.create("ci", [], NOW) for _ in range(10)), return_exceptions=True)

    assert sum(isinstance(outcome, KeyLimitError) for outcome in outcomes) == 8
    assert len(keys.listed("ci")) == 2


async def test_a_rotation_overlaps_and_then_the_old_key_is_dead(keys: ApiKeys) -> None:
    old_text, old = await keys.create("ci", ["operator"], NOW, expires_at=NOW + 1_000, label="build")

    rotated = await keys.rotate(old.id, NOW + 100, 60)

    assert rotated is not None
    new_text, new = rotated
    assert (new.subject, new.roles, new.label, new.expires_at) == ("ci", ("operator",), "build", NOW + 1_100)
    for text in (old_text, new_text):
        keys.verify(text, NOW + 159.9)
    assert "expired" in refusal(keys, old_text, NOW + 160)
    keys.verify(new_text, NOW + 160)


async def test_a_rotation_does_not_let_the_old_key_live_longer(keys: ApiKeys) -> None:
    text, old = await keys.create("ci", [], NOW, expires_at=NOW + 10)

    await keys.rotate(old.id, NOW, 3_600)

    assert "expired" in refusal(keys, text, NOW + 10)


async def test_the_next_rotation_waits_for_the_last_one_to_be_over(keys: ApiKeys) -> None:
    _, first = await keys.create("ci", [], NOW)
    rotated = await keys.rotate(first.id, NOW, 60)
    assert rotated is not None

    with pytest.raises(KeyLimitError):
        await keys.rotate(rotated[1].id, NOW + 59, 60)
    assert await keys.rotate(rotated[1].id, NOW + 60, 60) is not None


@pytest.mark.parametrize("key_id", ["", "unknown", "a" * 12])
async def test_what_does_not_exist_is_not_rotated(keys: ApiKeys, key_id: str) -> None:
    assert await keys.rotate(key_id, NOW, 60) is None
    assert keys.listed() == []


async def test_what_has_ended_is_not_rotated(keys: ApiKeys) -> None:
    _, key = await keys.create("ci", [], NOW, expires_at=NOW + 1)

    assert await keys.rotate(key.id, NOW + 1, 60) is None


async def test_the_last_use_is_known_at_once_and_stored_now_and_then(
    keys: ApiKeys, registry: ComponentRegistry
) -> None:
    text, key = await keys.create("ci", [], NOW)
    assert keys.last_used(key.id) is None

    keys.verify(text, NOW + 5)
    assert keys.last_used(key.id) == NOW + 5
    assert registry.documents.all(USE_KIND) == {}

    await keys.store_last_used()
    keys.verify(text, NOW + 6)
    keys.verify(text, NOW + 4)
    changes = registry.documents.changes(USE_KIND)
    await keys.store_last_used()
    assert registry.documents.changes(USE_KIND) == changes == 1
    assert keys.last_used(key.id) == NOW + 6

    keys.verify(text, NOW + 5 + STORED_EVERY)
    await keys.store_last_used()
    assert ApiKeys(registry.documents).last_used(key.id) == NOW + 5 + STORED_EVERY


async def test_storing_the_last_use_is_no_change_of_the_key(keys: ApiKeys) -> None:
    text, _ = await keys.create("ci", [], NOW)
    keys.verify(text, NOW)
    before = keys.epoch

    await keys.store_last_used()

    assert keys.epoch == before


async def test_a_refused_key_was_not_used(keys: ApiKeys) -> None:
    text, key = await keys.create("ci", [], NOW, expires_at=NOW + 1)

    refusal(keys, text, NOW + 1)

    assert keys.last_used(key.id) is None


async def test_nothing_is_left_of_a_key_that_was_revoked(keys: ApiKeys, registry: ComponentRegistry) -> None:
    text, key = await keys.create("ci", [], NOW)
    keys.verify(text, NOW)
    await keys.store_last_used()

    await keys.revoke(key.id)
    await keys.store_last_used()

    assert registry.documents.all(KIND) == registry.documents.all(USE_KIND) == {}
    assert keys.last_used(key.id) is None


async def test_keys_that_ended_long_ago_are_forgotten(keys: ApiKeys) -> None:
    await keys.create("ci", [], NOW, expires_at=NOW + 60)
    await keys.create("ci", [], NOW)

    assert await keys.forget_expired(NOW + 160, 100) == 0
    assert await keys.forget_expired(NOW + 161, 100) == 1
    assert len(keys.listed()) == 1


async def test_keys_are_listed_oldest_first(keys: ApiKeys) -> None:
    _, later = await keys.create("b", [], NOW + 1)
    _, earlier = await keys.create("a", [], NOW)

    assert keys.listed() == [earlier, later]
    assert keys.listed("a") == [earlier]


async def test_keys_are_there_after_a_restart(tmp_path: Path) -> None:
    async with ComponentRegistry(data_dir=tmp_path) as registry:
        text, key = await ApiKeys(registry.documents).create("ci", ["monitor"], NOW)

    async with ComponentRegistry(data_dir=tmp_path) as registry:
        assert ApiKeys(registry.documents).verify(text, NOW) == key


async def test_a_rotation_is_one_change(keys: ApiKeys, registry: ComponentRegistry) -> None:
    _, old = await keys.create("ci", ["operator"], NOW)

    rotated = await keys.rotate(old.id, NOW, 60)

    assert rotated is not None
    last, first = (await registry.audit.page(AuditQuery())).entries
    assert (first.action, first.target) == ("api_key.create", old.id)
    assert (last.action, last.target) == ("api_key.rotate", rotated[1].id)
    assert last.detail == f"ci [operator] in place of {old.id}"


@pytest.mark.parametrize("turns", range(4))
async def test_who_is_cancelled_in_a_rotation_leaves_no_old_key_that_does_not_end(
    keys: ApiKeys, registry: ComponentRegistry, turns: int
) -> None:
    _, old = await keys.create("ci", [], NOW)
    caller = asyncio.ensure_future(keys.rotate(old.id, NOW, 60))
    for _ in range(turns):
        await asyncio.sleep(0)

    caller.cancel()
    await asyncio.wait([caller])
    await registry.flush()

    assert len([key for key in keys.listed("ci") if key.expires_at is None]) == 1


async def test_who_is_cancelled_while_his_key_is_made_has_it_counted(keys: ApiKeys) -> None:
    await keys.create("ci", [], NOW)
    caller = asyncio.ensure_future(keys.create("ci", [], NOW))
    await asyncio.sleep(0)
    later = asyncio.ensure_future(keys.create("ci", [], NOW))
    await asyncio.sleep(0)

    caller.cancel()

    with pytest.raises(KeyLimitError):
        await later
    assert len(keys.listed("ci")) == LIVE_KEYS
