"""Signed heads, and who keeps them."""

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import AuditHead
from tekton.core.audit.heads import Check, HeadFile, HeadKeeper, Sign, Signature, SignedHead
from tekton.core.audit.query import AuditQuery
from tekton.core.component_lifecycle import ComponentRegistry
from tekton.core.component_lifecycle.store import MemoryStore
from tekton.testing import ManualClock

HEAD = AuditHead(7, b"\x07" * 32)


@pytest.fixture
def file(tmp_path: Path) -> HeadFile:
    return HeadFile(tmp_path / "heads.jsonl")


def test_a_signed_head_is_right_and_a_changed_one_is_not(sign: Sign, check: Check) -> None:
    signed = SignedHead.sign(HEAD, 5.0, sign)

    assert (signed.seq, signed.hash, signed.at, signed.key) == (7, "07" * 32, 5.0, "one")
    assert signed.check(check) is True
    for changed in ({"seq": 8}, {"hash": "08" * 32}, {"at": 6.0}, {"signature": "00"}, {"signature": "x"}):
        assert msgspec.structs.replace(signed, **changed).check(check) is False
    assert msgspec.structs.replace(signed, key="two").check(check) is None


def test_heads_are_read_as_they_were_added(file: HeadFile, sign: Sign) -> None:
    heads = [SignedHead.sign(AuditHead(seq, b"x" * 32), seq / 3, sign) for seq in (1, 5, 9)]

    for head in heads:
        file.append(head)

    assert file.read() == (heads, 0)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_there_are_no_heads_where_there_is_no_file(file: HeadFile) -> None:
    assert file.read() == ([], 0)


def test_what_a_crash_has_left_of_a_line_spoils_no_other(file: HeadFile, sign: Sign) -> None:
    head = SignedHead.sign(HEAD, 5.0, sign)
    file.append(head)
    whole = file.path.read_bytes()

    for left in (1, len(whole) // 2, len(whole) - 1):
        file.path.write_bytes(whole + whole[:left])
        file.append(head)
        heads, unreadable = file.read()

        # All of it but the end of the line is a head.
        assert len(heads) + unreadable == 3
        assert heads[-1] == head


def test_a_link_is_not_followed(file: HeadFile, sign: Sign, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    file.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        file.append(SignedHead.sign(HEAD, 5.0, sign))

    assert (tmp_path / "elsewhere").read_text() == "precious"


async def test_a_head_is_signed_when_there_are_new_entries(
    registry: ComponentRegistry, file: HeadFile, sign: Sign, clock: ManualClock
) -> None:
    keeper = HeadKeeper(registry.audit, file, sign, clock)

    await keeper.keep()
    assert file.read() == ([], 0)
    await registry.audit.record("a")
    await keeper.keep()
    await keeper.keep()
    await registry.audit.record("b")
    await keeper.keep()

    heads, _ = file.read()
    assert [head.seq for head in heads] == [1, 2]
    assert heads[-1].hash == registry.audit.head.hash.hex()
    assert heads[-1].at == clock.time()


async def test_it_signs_at_intervals_and_when_it_stops(
    registry: ComponentRegistry, file: HeadFile, sign: Sign, clock: ManualClock
) -> None:
    signed: asyncio.Queue[bytes] = asyncio.Queue()

    def sign_and_tell(message: bytes) -> Signature:
        signed.put_nowait(message)
        return sign(message)

    await registry.audit.record("a")
    keeper = HeadKeeper(registry.audit, file, sign_and_tell, clock, interval=0.01)
    keeper.start()
    async with asyncio.timeout(10):
        await signed.get()
        await registry.audit.record("b")
        await signed.get()
    registry.audit.note(Attribution("ann"), ("c", ""), "done", "", None)

    await keeper.stop()

    assert [head.seq for head in file.read()[0]] == [1, 2, 3]


async def test_old_entries_go_when_a_head_is_kept(file: HeadFile, sign: Sign, clock: ManualClock) -> None:
    async with ComponentRegistry(store=MemoryStore(audit_limit=3), clock=clock) as registry:
        for _ in range(10):
            await registry.audit.record("a")
        assert len((await registry.audit.page(AuditQuery())).entries) == 10

        await HeadKeeper(registry.audit, file, sign, clock).keep()

        assert [entry.seq for entry in (await registry.audit.page(AuditQuery())).entries] == [10, 9, 8]


async def test_where_no_head_can_be_kept_nothing_is_dropped_and_it_is_tried_again(
    tmp_path: Path, sign: Sign, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    file = HeadFile(tmp_path / "missing" / "heads.jsonl")
    async with ComponentRegistry(store=MemoryStore(audit_limit=3), clock=clock) as registry:
        for _ in range(10):
            await registry.audit.record("a")
        keeper = HeadKeeper(registry.audit, file, sign, clock)

        with caplog.at_level(logging.WARNING, "tekton.audit"):
            await keeper.keep()
            await keeper.keep()

        assert len((await registry.audit.page(AuditQuery())).entries) == 10
        assert ["No such file" in record.getMessage() for record in caplog.records] == [True]
        file.path.parent.mkdir()
        await keeper.keep()
        assert [head.seq for head in file.read()[0]] == [10]
        assert len((await registry.audit.page(AuditQuery())).entries) == 3


def test_the_signature_is_of_more_than_the_hash(sign: Sign) -> None:
    messages: list[bytes] = []

    SignedHead.sign(HEAD, 5.0, lambda message: messages.append(message) or Signature("one", b""))  # type: ignore[func-returns-value]

    assert messages == [b'tekton audit head\n[7,"' + b"07" * 32 + b'",5.0]']
