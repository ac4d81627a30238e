import pytest

from tekton.auth.keys import KeyRing, SigningKey
from tekton.auth.retired_keys import decode_retired, encode_retired

NOW = 1_700_000_000.0


def test_what_is_kept_of_a_key_verifies_and_cannot_sign() -> None:
    keys = [SigningKey.generate(NOW + number, NOW + number) for number in range(3)]

    kept = decode_retired(encode_retired(keys))

    assert [(key.kid, key.published_at, key.signs_from) for key in kept] == [
        (key.kid, key.published_at, key.signs_from) for key in keys
    ]
    assert {key.private for key in kept} == {None}
    assert [key.to_jwk() for key in kept] == [key.to_jwk() for key in keys]


def test_lines_that_are_cut_or_there_twice_do_not_hide_others() -> None:
    first, second = (encode_retired([SigningKey.generate(NOW, NOW)]) for _ in range(2))

    kept = decode_retired(first[:40] + b"\n" + second + b"\n" + first + b"not json\n{}\n" + second[:-5])

    assert encode_retired(kept) == second + first


def test_a_secret_has_nothing_to_keep() -> None:
    ring = KeyRing.of_secret("a secret that nobody can guess, of 40 bytes")

    assert encode_retired([]) == b""
    with pytest.raises(TypeError):
        encode_retired(ring.keys)
