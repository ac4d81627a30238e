import hashlib
import json
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tekton.auth.keys import LEEWAY, MAX_KEYS, KeyRing, SigningKey
from tekton.auth.tokens import TokenIssuer, TokenVerifier
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import InvalidTokenError, KeyRotationError

NOW = 1_700_000_000.0
SECRET = "k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq"


def short_lived(now: float = NOW) -> KeyRing:
    return KeyRing.generate(now, max_life=100, publish_delay=10)


def test_the_first_key_signs_at_once() -> None:
    ring = KeyRing.generate(NOW)

    assert ring.signing_key(NOW) is ring.keys[0]
    assert ring.find(ring.keys[0].kid, NOW) is ring.keys[0]
    assert ring.retires_at(ring.keys[0]) == math.inf


def test_a_new_key_is_published_before_it_signs() -> None:
    ring = short_lived()
    old = ring.keys[0]

    ring.rotate(NOW)

    new = ring.keys[1]
    assert [entry["kid"] for entry in ring.jwks(NOW)["keys"]] == [old.kid, new.kid]
    assert [ring.signing_key(NOW + after).kid for after in (0, 9.9, 10)] == [old.kid, old.kid, new.kid]


def test_an_old_key_verifies_until_what_it_has_signed_last_has_expired() -> None:
    ring = short_lived()
    old = ring.keys[0]

    ring.rotate(NOW)

    retired = NOW + 10 + 100 + LEEWAY
    assert ring.retires_at(old) == retired
    assert ring.find(old.kid, retired - 0.1) is old
    assert ring.find(old.kid, retired) is None
    assert [entry["kid"] for entry in ring.jwks(retired)["keys"]] == [ring.keys[1].kid]


def test_a_rotation_leaves_out_what_has_retired() -> None:
    ring = short_lived()
    ring.rotate(NOW)

    ring.rotate(NOW + 1_000)

    assert len(ring.keys) == 2


def test_without_overlap_everything_that_was_signed_before_is_void() -> None:
    ring = short_lived()
    token = TokenIssuer(ring).issue("web", [], 50, {}, NOW)

    ring.rotate(NOW, overlap=False)

    with pytest.raises(InvalidTokenError):
        TokenVerifier(ring).verify(token, NOW)
    TokenVerifier(ring).verify(TokenIssuer(ring).issue("web", [], 50, {}, NOW), NOW)


def test_a_clock_that_goes_back_does_not_change_who_succeeds_whom() -> None:
    ring = short_lived()
    first = ring.keys[0]
    ring.rotate(NOW)
    second = ring.keys[1]

    ring.rotate(NOW - 5_000)

    assert [key.kid for key in ring.keys][:2] == [first.kid, second.kid]
    assert ring.signing_key(NOW - 5_000) is first


def test_the_number_grows_with_each_rotation() -> None:
    ring = short_lived()
    before = ring.epoch

    ring.rotate(NOW)

    assert ring.epoch > before


def test_who_rotates_faster_than_keys_retire_is_refused_in_the_end() -> None:
    ring = short_lived()
    for second in range(MAX_KEYS - 1):
        ring.rotate(NOW + second)
    kids = [key.kid for key in ring.keys]

    with pytest.raises(KeyRotationError, match=r"64 keys still verify; the first of them retires in \d+ s"):
        ring.rotate(NOW + MAX_KEYS)

    assert [key.kid for key in ring.keys] == kids


def test_a_ring_has_one_family_of_keys() -> None:
    with pytest.raises(ValueError, match="two families"):
        KeyRing([SigningKey.generate(NOW, NOW), SigningKey.of_secret(SECRET)])


def test_a_ring_without_keys_is_none() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        KeyRing([])


def test_the_same_key_twice_is_refused_and_changes_nothing() -> None:
    ring = short_lived()
    kept = ring.keys

    with pytest.raises(ValueError, match="same name"):
        ring.replace([kept[0], kept[0]])

    assert ring.keys == kept


@pytest.mark.parametrize(
    "secret",
    ["", "short", "x" * 31, "your_jwt_secret_here", "a-string-secret-at-least-256-bits-long", "a" * 64, "abcabc" * 10],
)
def test_a_secret_that_can_be_guessed_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="the secret") as refused:
        KeyRing.of_secret(secret)

    assert len(secret) < 6 or secret not in str(refused.value)


def test_a_secret_is_neither_published_nor_rotated() -> None:
    ring = KeyRing.of_secret(SECRET)

    assert ring.jwks(NOW) == {"keys": []}
    with pytest.raises(KeyRotationError, match="signed with `jwt_secret`"):
        ring.rotate(NOW)


def test_a_key_does_not_show_what_is_secret_of_it() -> None:
    assert SECRET not in repr(SigningKey.of_secret(SECRET))
    assert "private" not in repr(SigningKey.generate(NOW, NOW))


def test_a_key_is_called_by_its_thumbprint() -> None:
    key = SigningKey.generate(NOW, NOW)
    jwk = key.to_jwk()
    assert jwk is not None
    required = {name: jwk[name] for name in ("crv", "kty", "x")}
    digest = hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()

    assert jwk["kid"] == key.kid == urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_others_can_verify_with_what_is_published() -> None:
    ring = KeyRing.generate(NOW)
    token = TokenIssuer(ring).issue("web", [], 50, {}, NOW)
    published = json.loads(json.dumps(ring.jwks(NOW)))

    by_library = jwt.PyJWS().decode(token, jwt.PyJWK(published["keys"][0]))
    by_us = TokenVerifier(KeyRing.of_jwks(published)).verify(token, NOW)

    assert json.loads(by_library)["sub"] == by_us.subject == "web"


def test_who_has_only_what_is_published_cannot_sign() -> None:
    ring = KeyRing.of_jwks(KeyRing.generate(NOW).jwks(NOW))

    with pytest.raises(ValueError, match="only verify"):
        TokenIssuer(ring).issue("web", [], 50, {}, NOW)
    with pytest.raises(KeyRotationError, match="can only verify"):
        ring.rotate(NOW)


def test_several_published_keys_all_verify() -> None:
    ring = short_lived()
    token = TokenIssuer(ring).issue("web", [], 50, {}, NOW)
    ring.rotate(NOW)

    assert TokenVerifier(KeyRing.of_jwks(ring.jwks(NOW))).verify(token, NOW).subject == "web"


def _with(**members: object) -> Callable[[dict[str, Any]], object]:
    return lambda jwk: {**jwk, **members}


@pytest.mark.parametrize(
    "change",
    [
        _with(kty="oct"),
        _with(crv="Ed448"),
        _with(x="AAAA"),
        _with(x=5),
        _with(x="?" * 43),
        _with(kid="another"),
        lambda jwk: {name: value for name, value in jwk.items() if name != "kid"},
        lambda _: {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"},
        lambda _: "key",
        lambda _: None,
    ],
)
def test_a_published_key_that_is_not_one_of_ours_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    (jwk,) = KeyRing.generate(NOW).jwks(NOW)["keys"]

    with pytest.raises(ValueError, match=r".+"):
        KeyRing.of_jwks({"keys": [change(jwk)]})


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": []}])
def test_a_document_without_keys_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        KeyRing.of_jwks(document)


@settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["issue", "rotate", "verify"]), st.floats(0, 60, allow_nan=False)), max_size=40
    )
)
def test_no_token_is_refused_in_its_life_and_none_is_accepted_after_its_key(steps: list[tuple[str, float]]) -> None:
    clock = ManualClock(wall=NOW)
    ring = short_lived(clock.time())
    issuer, verifier = TokenIssuer(ring), TokenVerifier(ring)
    issued: list[tuple[str, float, float]] = []
    signed: dict[str, float] = {}

    for step, wait in [*steps, *(("verify", 15.0) for _ in range(12))]:
        clock.advance(wait)
        now = clock.time()
        if step == "rotate":
            ring.rotate(now)
        elif step == "issue":
            life = 1 + round(wait) % 100
            issued.append((issuer.issue("web", [], life, {}, now), now, life))
            signed[ring.signing_key(now).kid] = now
        for token, at, life in issued:
            expected = now < int(at) + life + LEEWAY
            assert _accepts(verifier, token, now) == expected, (at, life, now)
        for kid, at in signed.items():
            # Nothing that it has signed lives any more once it has retired.
            assert ring.find(kid, now) is not None or now >= at + ring.max_life


def _accepts(verifier: TokenVerifier, token: str, now: float) -> bool:
    try:
        verifier.verify(token, now)
    except InvalidTokenError:
        return False
    return True
