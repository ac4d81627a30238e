"""Entries and their chain."""

from hashlib import sha256

import msgspec
import pytest

from tekton.core.attribution import Attribution
from tekton.core.audit.entry import EMPTY, GENESIS, MAX_TEXT, AuditHead, Draft, Row, chained, draft

ANN = Attribution("ann", "token", "192.0.2.7:4711", "r1")


def made(detail: str = "", target: str = "hermes") -> Draft:
    return draft(1700000000.25, ANN, "component.kill", target, detail=detail)


def test_an_entry_says_who_did_what_to_whom_and_what_came_of_it() -> None:
    said = draft(1700000000.25, ANN, "component.kill", "hermes", outcome="failed", detail="no process", intent=7)

    (row,) = chained(AuditHead(8, b"x" * 32), [said])
    entry = row.entry(b"x" * 32)

    assert (entry.seq, entry.at) == (9, 1700000000.25)
    assert (entry.actor, entry.via, entry.address, entry.request) == ("ann", "token", "192.0.2.7:4711", "r1")
    assert (entry.action, entry.target, entry.outcome) == ("component.kill", "hermes", "failed")
    assert (entry.detail, entry.intent) == ("no process", 7)
    assert (entry.previous_hash, entry.hash) == ("78" * 32, row.hash.hex())


def test_each_hash_is_that_of_the_hash_before_and_the_text() -> None:
    previous = GENESIS
    for number, row in enumerate(chained(EMPTY, [made("a"), made("ü"), made("b")]), 1):
        assert row.seq == number
        assert row.hash == sha256(previous + row.body.encode()).digest()
        assert msgspec.json.decode(row.body)[-1] == number
        previous = row.hash


def test_a_chain_that_is_made_in_pieces_is_the_same() -> None:
    whole = chained(EMPTY, [made(str(number)) for number in range(5)])
    first = chained(EMPTY, [made(str(number)) for number in range(2)])
    second = chained(AuditHead(2, first[-1].hash), [made(str(number)) for number in range(2, 5)])

    assert first + second == whole


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("Grüße 🎉", "Grüße 🎉"),
        ("two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
        ("nul\x00", "nul\\x00"),
        ("half \ud800 a pair", "half \\ud800 a pair"),
        ("\u202eright to left", "\\u202eright to left"),
        ("x" * 5000, "x" * MAX_TEXT),
    ],
)
def test_texts_are_printable_and_not_too_long(text: str, kept: str) -> None:
    (row,) = chained(EMPTY, [made(text, target=text)])

    entry = row.entry(GENESIS)

    assert (entry.detail, entry.target) == (kept, kept)


def test_what_is_no_entry_is_refused() -> None:
    for body in ("[]", "nonsense", '[1,"a","b","c","d","e","f","no outcome","g",null,1]'):
        with pytest.raises(msgspec.DecodeError):
            Row(1, body, b"").draft()
