"""Whatever is done to a log, it is found, and where."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import EMPTY, AuditHead, Row, chained, draft
from tekton.core.audit.heads import Check, Sign, Signature, SignedHead
from tekton.core.audit.verification import MAX_PROBLEMS, Ends, Verdict, verify

Rows = list[Row]


def made(number: int, first: int = 1) -> Rows:
    """A log of *number* entries, the first with the number *first*."""
    said = [draft(seq, Attribution(f"actor-{seq}"), "kill", "hermes") for seq in range(first, first + number)]
    return chained(AuditHead(first - 1, EMPTY.hash), said)


def ends(rows: Rows, base: AuditHead = EMPTY) -> Ends:
    return Ends(base, AuditHead(rows[-1].seq, rows[-1].hash))


def chained_anew(rows: Rows) -> Rows:
    """What somebody makes of *rows* who can write the database: a chain that is sound in itself."""
    drafts = [row.draft() for row in rows]
    return chained(EMPTY, drafts)


@pytest.fixture
def head_of(sign: Sign) -> Callable[[Row], SignedHead]:
    return lambda row: SignedHead.sign(AuditHead(row.seq, row.hash), 1_700_000_000.0, sign)


@pytest.fixture
def found(check: Check) -> Callable[..., Verdict]:
    """Verifies rows, which the database says are all there are."""

    def found(rows: Sequence[Row], of: Ends, heads: Sequence[SignedHead] = (), **more: Any) -> Verdict:
        return verify(rows, of, heads, check, **more)

    return found


Found = Callable[..., Verdict]
HeadOf = Callable[[Row], SignedHead]


def test_a_log_that_was_left_alone_is_sound(found: Found, head_of: HeadOf) -> None:
    rows = made(10)

    verdict = found(rows, ends(rows), [head_of(rows[2]), head_of(rows[7])])

    assert verdict.sound
    assert (verdict.entries, verdict.first, verdict.last) == (10, 1, 10)
    assert (verdict.heads, verdict.vouched) == (2, 8)


def test_an_empty_log_is_sound(found: Found) -> None:
    verdict = found([], Ends(EMPTY, EMPTY))

    assert verdict.sound
    assert (verdict.entries, verdict.first, verdict.last) == (0, None, None)


def test_a_changed_entry_is_found(found: Found) -> None:
    rows = made(10)
    rows[4] = rows[4]._replace(body=rows[4].body.replace("actor-5", "actor-6"))

    assert found(rows, ends(rows)).problems == ["entry 5 was changed, or does not follow entry 4"]


def test_a_changed_entry_with_a_hash_that_suits_it_is_found_at_the_next(found: Found) -> None:
    rows = made(10)
    changed = rows[4].draft()
    changed.actor = "nobody"
    rows[4] = chained(AuditHead(4, rows[3].hash), [changed])[0]

    assert found(rows, ends(rows)).problems == ["entry 6 was changed, or does not follow entry 5"]


def test_an_entry_that_was_taken_out_is_missed(found: Found) -> None:
    rows = made(10)
    of = ends(rows)

    assert found([*rows[:4], *rows[5:]], of).problems == ["entry 5 is missing"]
    assert found([*rows[:4], *rows[7:]], of).problems == ["entries 5 to 7 are missing"]
    assert found(rows[1:], of).problems == ["entry 1 is missing"]


def test_entries_that_were_moved_up_to_hide_the_gap_are_found(found: Found) -> None:
    rows = made(10)
    moved = [*rows[:4], *(row._replace(seq=row.seq - 1) for row in rows[5:])]

    problems = found(moved, ends(moved)).problems

    assert problems[0] == "entry 5 was changed, or does not follow entry 4"
    assert "entry 5 was written as entry 6" in problems


def test_an_entry_that_was_put_in_is_found(found: Found) -> None:
    rows = made(10)
    put_in = chained(AuditHead(4, rows[3].hash), [draft(4, Attribution("mallory"), "kill", "x")])
    changed = [*rows[:4], *put_in, *(row._replace(seq=row.seq + 1) for row in rows[4:])]

    assert found(changed, ends(changed)).problems[0] == "entry 6 was changed, or does not follow entry 5"


def test_two_entries_that_changed_places_are_found(found: Found) -> None:
    rows = made(10)
    rows[2], rows[3] = rows[3]._replace(seq=3), rows[2]._replace(seq=4)

    problems = found(rows, ends(rows)).problems

    assert problems[:2] == ["entry 3 was changed, or does not follow entry 2", "entry 3 was written as entry 4"]


def test_a_cut_end_is_found_by_what_the_database_has_noted(found: Found) -> None:
    rows = made(10)

    assert found(rows[:7], ends(rows)).problems == ["entries 8 to 10 are missing at the end"]
    assert found([], ends(rows)).problems == ["entries 1 to 10 are missing at the end"]


def test_a_cut_end_is_found_by_a_signed_head_when_the_database_was_made_to_agree(found: Found, head_of: HeadOf) -> None:
    rows = made(10)

    verdict = found(rows[:7], ends(rows[:7]), [head_of(rows[9])])

    assert verdict.problems == [
        "the log ends with entry 7, but entry 10 was signed at 2023-11-14 22:13:20 UTC",
    ]


def test_a_chain_that_was_made_anew_contradicts_a_signed_head(found: Found, head_of: HeadOf) -> None:
    rows = made(10)
    heads = [head_of(rows[5])]
    changed = rows[:]
    changed[2] = Row(3, rows[2].body.replace("actor-3", "mallory"), b"")
    changed = chained_anew(changed)
    assert found(changed, ends(changed)).sound

    assert found(changed, ends(changed), heads).problems == [
        "entry 6 is not the one that was signed at 2023-11-14 22:13:20 UTC"
    ]


def test_a_head_with_a_signature_that_is_not_ours_is_found(found: Found, head_of: HeadOf) -> None:
    rows = made(10)
    forged = msgspec.structs.replace(head_of(rows[5]), hash=rows[6].hash.hex())

    for head in (forged, msgspec.structs.replace(forged, signature="no hexadecimal")):
        assert "has a signature that is not ours" in found(rows, ends(rows), [head]).problems[0]


def test_a_head_of_a_key_that_is_not_known_vouches_for_nothing(found: Found) -> None:
    rows = made(10)
    head = SignedHead.sign(AuditHead(5, rows[4].hash), 1.0, lambda _: Signature("old", b""))

    verdict = found(rows, ends(rows), [head])

    assert verdict.sound
    assert (verdict.heads, verdict.unchecked, verdict.vouched) == (0, 1, 0)


def test_a_log_whose_old_entries_were_dropped_is_sound_if_a_head_vouches_for_them(
    found: Found, head_of: HeadOf
) -> None:
    rows = made(10)
    base = AuditHead(4, rows[3].hash)
    heads = [head_of(rows[1]), head_of(rows[5])]

    verdict = found(rows[4:], ends(rows, base), heads)

    assert verdict.sound
    assert (verdict.first, verdict.vouched) == (5, 6)
    assert found(rows[4:], ends(rows, base), heads[:1]).problems == [
        "the entries up to 4 were dropped, and no signed head vouches for them"
    ]


def test_a_backup_is_older_than_its_log(found: Found, head_of: HeadOf) -> None:
    rows = made(10)

    verdict = found(rows[:7], ends(rows[:7]), [head_of(rows[4]), head_of(rows[9])], complete=False)

    assert verdict.sound
    assert (verdict.vouched, verdict.later) == (5, 1)


def restored(rows: Rows, kept: int, action: str = "restore") -> Rows:
    """*rows*, of which a restore has left *kept* ones, with an entry about that behind a gap."""
    said = [draft(1, Attribution("owner"), action, "backup"), draft(2, Attribution("ann"), "kill", "x")]
    return [*rows[:kept], *chained(AuditHead(len(rows), rows[kept - 1].hash), said)]


def test_what_was_lost_with_a_restore_is_told_and_no_fault(found: Found, head_of: HeadOf) -> None:
    rows = made(10)
    heads = [head_of(rows[3]), head_of(rows[8])]
    after = restored(rows, kept=6)

    verdict = found(after, ends(after), [*heads, head_of(after[-1])])

    assert verdict.sound
    assert verdict.restores == [11]
    assert (verdict.last, verdict.vouched) == (12, 12)


def test_a_gap_before_anything_but_a_restore_is_a_fault(found: Found) -> None:
    after = restored(made(10), kept=6, action="kill")

    assert found(after, ends(after)).problems == ["entries 7 to 10 are missing"]


def test_an_entry_that_cannot_be_read_is_found(found: Found) -> None:
    rows = made(3)
    rows[1] = rows[1]._replace(body="nonsense")

    assert found(rows, ends(rows)).problems == ["entry 2 was changed, or does not follow entry 1"]


def test_not_all_problems_are_told_of(found: Found) -> None:
    rows = [row._replace(hash=b"x") for row in made(100)]

    assert len(found(rows, ends(rows)).problems) == MAX_PROBLEMS


@given(st.data())
def test_no_change_of_a_signed_part_passes(data: st.DataObject) -> None:
    """Whoever can write the database, but not sign, cannot take back what was signed: here in all ways at once."""
    rows = made(data.draw(st.integers(2, 12), label="entries"))
    signed = data.draw(st.integers(1, len(rows)), label="signed")
    head = SignedHead(signed, rows[signed - 1].hash.hex(), 1.0, "one", "00")
    at = data.draw(st.integers(0, signed - 1), label="at")
    kind = data.draw(st.sampled_from(["change", "remove", "insert", "swap", "cut"]), label="kind")
    drafts = [row.draft() for row in rows]
    if kind == "change":
        drafts[at].actor = "mallory"
    elif kind == "remove":
        del drafts[at]
    elif kind == "insert":
        drafts.insert(at, draft(1, Attribution("mallory"), "kill", "x"))
    elif kind == "swap":
        other = (at + 1) % len(drafts)
        drafts[at], drafts[other] = drafts[other], drafts[at]
    else:
        del drafts[at:]
    forged = chained(EMPTY, drafts)

    verdict = verify(forged, ends(forged) if forged else Ends(EMPTY, EMPTY), [head], lambda _m, _s: True)

    assert not verdict.sound
