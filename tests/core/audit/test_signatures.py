"""Heads are signed with the keys that sign tokens."""

from tekton.auth.keys import KeyRing
from tekton.core.audit.heads import Signature
from tekton.core.audit.signatures import checker, signer
from tekton.testing import ManualClock

NOW = 1_700_000_000.0


def test_a_key_pair_checks_what_it_has_signed_and_nothing_else() -> None:
    ring = KeyRing.generate(NOW)
    signed = signer(ring, ManualClock(wall=NOW))(b"message")
    check = checker(ring.keys)

    assert check(b"message", signed) is True
    assert check(b"another", signed) is False
    assert check(b"message", Signature(signed.key, b"nonsense")) is False
    assert check(b"message", Signature("another", signed.value)) is None


def test_a_secret_checks_what_it_has_signed_and_nothing_else() -> None:
    ring = KeyRing.of_secret("a secret that nobody can guess, of 40 bytes")
    signed = signer(ring, ManualClock(wall=NOW))(b"message")
    check = checker(ring.keys)

    assert check(b"message", signed) is True
    assert check(b"another", signed) is False
    assert check(b"message", Signature(signed.key, b"")) is False


def test_the_key_of_the_time_signs_and_all_that_are_left_check() -> None:
    ring = KeyRing.generate(NOW)
    clock = ManualClock(wall=NOW)
    before = signer(ring, clock)(b"message")
    ring.rotate(NOW)
    clock.advance(1000)
    after = signer(ring, clock)(b"message")

    assert before.key != after.key
    assert [checker(ring.keys)(b"message", one) for one in (before, after)] == [True, True]


def test_a_ring_that_only_verifies_checks() -> None:
    ring = KeyRing.generate(NOW)
    signed = signer(ring, ManualClock(wall=NOW))(b"message")

    assert checker(KeyRing.of_jwks(ring.jwks(NOW)).keys)(b"message", signed) is True
