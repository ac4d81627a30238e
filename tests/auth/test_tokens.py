"""What a token must be, rule by rule; `test_token_mutations.py` tries what nobody thought of."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest

from tekton.auth.keys import KeyRing
from tekton.auth.tokens import MAX_BYTES, Claims, TokenIssuer, TokenVerifier, check_library
from tekton.utils.tekton_errors import InvalidTokenError

NOW = 1_700_000_000.0
AT = int(NOW)
STATED = {"iss": "tekton", "sub": "web", "aud": "tekton", "iat": AT, "exp": AT + 60, "jti": "a"}

Desk = Any


def refusal(desk: Desk, token: Any, now: float = NOW) -> str:
    """The reason for which *token* is refused."""
    with pytest.raises(InvalidTokenError) as refused:
        desk.verifier.verify(token, now)
    return refused.value.reason


def stated(**members: object) -> bytes:
    return json.dumps({**STATED, **members}).encode()


def encoded(text: str | bytes) -> str:
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).rstrip(b"=").decode()


# What is accepted


def test_a_token_states_what_it_was_issued_for(desk: Desk) -> None:
    token = desk.issuer.issue("web", ["component", "monitor"], 3600, {"component_id": "web"}, NOW + 0.9)

    claims = desk.verifier.verify(token, NOW)

    assert isinstance(claims, Claims)
    assert (claims.subject, claims.roles) == ("web", ("component", "monitor"))
    assert (claims.issued_at, claims.expires_at) == (AT, AT + 3600)
    assert claims.all["component_id"] == "web"
    assert claims.all["jti"] == claims.token_id


def test_no_two_tokens_have_one_id(desk: Desk) -> None:
    assert len({desk.verifier.verify(desk.issue(), NOW).token_id for _ in range(50)}) == 50


def test_the_header_names_type_key_and_algorithm_and_nothing_else(desk: Desk) -> None:
    header, _, _ = desk.issue().split(".")

    known = json.loads(urlsafe_b64decode(header + "=="))
    assert known == {"typ": "at+jwt", "alg": desk.ring.algorithm, "kid": desk.ring.keys[0].kid}


def test_a_single_role_is_claimed_like_a_list_of_one(desk: Desk) -> None:
    assert desk.verifier.verify(desk.issuer.issue("web", [], 60, {"role": "monitor"}, NOW), NOW).roles == ("monitor",)
    assert desk.issue(role="component").count(".") == 2


def test_what_a_token_states_cannot_be_changed(desk: Desk) -> None:
    claims = desk.verifier.verify(desk.issue(), NOW)

    with pytest.raises(TypeError):
        claims.all["sub"] = "admin"


@pytest.mark.parametrize(
    ("after", "accepted"),
    [(-30, True), (-30.1, False), (0, True), (59.9, True), (60, True), (89.9, True), (90, False), (1e9, False)],
)
def test_clocks_may_differ_by_half_a_minute_and_no_more(desk: Desk, after: float, accepted: bool) -> None:
    token = desk.issue(life=60)

    if accepted:
        desk.verifier.verify(token, NOW + after)
    else:
        assert refusal(desk, token, NOW + after) == ("is not valid yet" if after < 0 else "has expired")


@pytest.mark.parametrize(("not_before", "accepted"), [(AT, True), (AT + 30, True), (AT + 31, False)])
def test_a_token_can_begin_later(desk: Desk, not_before: int, accepted: bool) -> None:
    token = desk.sign(stated(nbf=not_before))

    if accepted:
        assert desk.verifier.verify(token, NOW).subject == "web"
    else:
        assert refusal(desk, token) == "is not valid yet"


# What cannot be issued


@pytest.mark.parametrize("life", [0, -1, 0.5, 86_400.5, 1e308, float("inf"), float("nan")])
def test_a_life_that_is_too_short_or_too_long_is_refused(desk: Desk, life: float) -> None:
    with pytest.raises(ValueError, match="valid for 1 to 86400 seconds"):
        desk.issue(life=life)


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "roles"])
def test_what_the_issuer_sets_cannot_be_given(desk: Desk, claim: str) -> None:
    with pytest.raises(ValueError, match=f"'{claim}' is set by the issuer"):
        desk.issue(**{claim: 1})


@pytest.mark.parametrize("subject", ["", " ", "a b", "a\n", "a\0", "\ud800", "x" * 257, 5, None])
def test_a_subject_that_is_no_name_is_refused(desk: Desk, subject: Any) -> None:
    with pytest.raises(ValueError, match="subject"):
        desk.issuer.issue(subject, [], 60, {}, NOW)


@pytest.mark.parametrize("roles", [[""], ["a b"], [5], ["r"] * 17])
def test_roles_that_are_none_are_refused(desk: Desk, roles: Any) -> None:
    with pytest.raises(ValueError, match="roles"):
        desk.issuer.issue("web", roles, 60, {}, NOW)


def test_claims_that_make_a_token_too_long_are_refused(desk: Desk) -> None:
    with pytest.raises(ValueError, match="at most 8192"):
        desk.issue(note="x" * 7_000)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(desk: Desk, value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        desk.issue(number=value)


# What is refused


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [True, False, None, float(AT), AT + 0.5, str(AT), "", [AT], {}, -1, 2**53, 10**400, 1e308],
    ids=lambda value: repr(value)[:20],
)
def test_a_time_that_is_no_integer_of_seconds_is_refused(desk: Desk, name: str, value: object) -> None:
    assert refusal(desk, desk.sign(stated(**{name: value}))) == "has a time that is none"


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_time_that_is_no_json_is_refused(desk: Desk, name: str) -> None:
    payload = stated(exp="there").replace(b'"there"', name.encode())

    assert refusal(desk, desk.sign(payload)) == "has a part that cannot be read"


@pytest.mark.parametrize("name", ["exp", "iat", "iss", "aud", "sub", "jti"])
def test_what_a_token_needs_cannot_be_left_out(desk: Desk, name: str) -> None:
    refusal(desk, desk.sign(json.dumps({key: value for key, value in STATED.items() if key != name}).encode()))


@pytest.mark.parametrize(
    ("issued_at", "expires_at"), [(AT, AT + 86_401), (AT, AT), (AT, AT - 1), (0, AT + 60), (AT - 86_341, AT + 60)]
)
def test_a_token_that_lives_longer_than_a_day_or_not_at_all_is_refused(
    desk: Desk, issued_at: int, expires_at: int
) -> None:
    assert refusal(desk, desk.sign(stated(iat=issued_at, exp=expires_at))) == "lives too long"


def test_a_life_of_exactly_a_day_is_accepted(desk: Desk) -> None:
    assert desk.verifier.verify(desk.issue(life=86_400), NOW).expires_at == AT + 86_400


@pytest.mark.parametrize("issuer", ["", "tekto", "tekton ", "Tekton", "tekton.evil", ["tekton"], None, True, {}])
def test_another_issuer_is_refused(desk: Desk, issuer: object) -> None:
    assert refusal(desk, desk.sign(stated(iss=issuer))) == "is of another issuer"


@pytest.mark.parametrize("audience", ["", "tekton2", "TEKTON", ["tekton"], ["tekton", "b"], [], None, {"tekton": 1}])
def test_a_token_for_somebody_else_is_refused(desk: Desk, audience: object) -> None:
    assert refusal(desk, desk.sign(stated(aud=audience))) == "is for somebody else"


def test_issuer_and_audience_are_those_that_were_asked_for(desk: Desk) -> None:
    ring = desk.ring
    token = TokenIssuer(ring, issuer="a").issue("web", [], 60, {}, NOW, audience="b")

    assert TokenVerifier(ring, issuer="a", audience="b").verify(token, NOW).subject == "web"
    for verifier in (TokenVerifier(ring, issuer="a"), TokenVerifier(ring, audience="b")):
        with pytest.raises(InvalidTokenError):
            verifier.verify(token, NOW)


@pytest.mark.parametrize("kind", [None, "", "JWT", "AT+JWT", "at+jwt ", "application/at+jwt", "id+jwt", 5, ["at+jwt"]])
def test_a_token_of_another_type_is_refused(desk: Desk, kind: object) -> None:
    token = desk.sign(stated(), {"typ": kind})

    assert refusal(desk, token) == "is of another type"


@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": True},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MII"]},
        {"x5t": "AAAA"},
        {"jwk": {"kty": "OKP"}},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"iss": "tekton"},
        {"Alg": "none"},
    ],
    ids=lambda member: next(iter(member)),
)
def test_a_header_that_says_more_is_refused(desk: Desk, member: dict[str, object]) -> None:
    known = json.loads(urlsafe_b64decode(desk.issue().split(".")[0] + "=="))
    header, payload = encoded(json.dumps({**known, **member})), encoded(stated())

    token = f"{header}.{payload}.{desk.sign(stated()).split('.')[2]}"

    assert refusal(desk, token) == "has a header that is not ours"


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "unknown",
        "../../../../dev/null",
        "/proc/self/environ",
        "file:///etc/passwd",
        "' OR '1'='1",
        "x'; DROP TABLE keys; --",
        "\0",
        "%00",
        "\ud800",
        None,
        0,
        True,
        [],
        {},
        ["a"],
    ],
    ids=repr,
)
def test_a_key_that_is_not_in_memory_is_looked_for_nowhere(desk: Desk, kid: object) -> None:
    header = encoded(json.dumps({"typ": "at+jwt", "alg": desk.ring.algorithm, "kid": kid}))

    assert refusal(desk, f"{header}.{encoded(stated())}.AAAA") == "is signed with no key of ours"


def test_the_key_of_another_ring_is_refused(desk: Desk, new_desk: Callable[[KeyRing], Desk]) -> None:
    assert refusal(desk, new_desk(KeyRing.generate(NOW)).issue()) == "is signed with no key of ours"


@pytest.mark.parametrize(
    "algorithm",
    [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "HS256",
        "HS512",
        "RS256",
        "ES256",
        "PS256",
        "EdDSA",
        "eddsa",
        None,
        5,
        ["HS256"],
    ],
    ids=repr,
)
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_the_algorithm_is_that_of_the_key_and_not_of_the_token(desk: Desk, algorithm: object, signature: str) -> None:
    header = encoded(json.dumps({"typ": "at+jwt", "alg": algorithm, "kid": desk.ring.keys[0].kid}))

    reason = refusal(desk, f"{header}.{encoded(stated())}.{signature}")

    if not signature:
        assert reason == "is no token"
    elif algorithm != desk.ring.algorithm:
        assert reason == "names another algorithm than that of its key"
    else:
        assert reason.startswith("is not accepted by PyJWT")


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 1_000_000])
def test_what_is_too_long_is_refused_unread(desk: Desk, length: int) -> None:
    assert refusal(desk, "a" * length) == "is too long"
    assert refusal(desk, desk.sign(stated(note="x" * length))) == "is too long"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a..b",
        "a.b.c.d",
        " a.b.c",
        "a.b.c\n",
        "ä.b.c",
        "{}",
        "null",
        None,
        5,
        b"a.b.c",
    ],
)
def test_what_is_no_token_is_refused(desk: Desk, token: Any) -> None:
    assert refusal(desk, token) in ("is no token", "is no text")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"{'sub': 1}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        stated().decode().encode("utf-16"),
        stated().decode().encode("utf-32"),
        b"[" * 5_000,
        b'{"a":' * 1_000,
        stated() + b" {}",
    ],
    ids=lambda payload: repr(payload[:20]),
)
def test_a_payload_that_is_no_object_is_refused(desk: Desk, payload: bytes) -> None:
    assert refusal(desk, desk.sign(payload)) in (
        "has a part that cannot be read",
        "has a part that is no object",
        "is no token",
    )


@pytest.mark.parametrize("name", ["sub", "exp", "role", "note"])
def test_a_member_that_is_there_twice_is_refused(desk: Desk, name: str) -> None:
    twice = stated(role="x", note="x")[:-1] + f', "{name}": "admin"}}'.encode()

    assert refusal(desk, desk.sign(twice)) == "has a part that cannot be read"


def test_a_header_member_that_is_there_twice_is_refused(desk: Desk) -> None:
    key = desk.ring.keys[0]
    header = encoded(f'{{"typ":"at+jwt","alg":"none","alg":"{key.algorithm}","kid":"{key.kid}"}}')

    assert refusal(desk, f"{header}.{encoded(stated())}.AAAA") == "has a part that cannot be read"


@pytest.mark.parametrize(
    "members",
    [
        {"sub": ""},
        {"sub": 5},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
        {"jti": 5},
        {"jti": ""},
        {"roles": "admin"},
        {"roles": {"admin": True}},
        {"roles": [["admin"]]},
        {"roles": ["a"] * 17},
        {"role": ["admin"]},
        {"role": 5},
        {"role": ""},
    ],
    ids=repr,
)
def test_who_somebody_is_and_what_he_claims_are_names(desk: Desk, members: dict[str, object]) -> None:
    assert "has " in refusal(desk, desk.sign(stated(**members)))


def test_there_is_one_spelling_of_a_token(desk: Desk) -> None:
    token = desk.issue()
    head, body, signature = token.split(".")
    # The last character of a segment has bits that mean nothing: they are zero.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ bit] for bit in (1, 2, 3)]

    spellings = [
        *(f"{head}.{body}.{other}" for other in others),
        f"{token}=",
        f"{token}==",
        f"{head}=.{body}.{signature}",
        f"{token}.",
        f".{token}",
        f" {token}",
        f"{token}\n",
        f"{head}.{body}.{signature}%3D",
        token.replace("-", "+").replace("_", "/") + "",
    ]
    for spelling in spellings:
        if spelling != token:
            refusal(desk, spelling)


def test_a_signature_of_other_bytes_that_says_the_same_is_refused(pair_desk: Desk) -> None:
    head, body, signature = pair_desk.issue().split(".")
    data = urlsafe_b64decode(signature + "==")
    order = 2**252 + 27742317777372353535851937790883648493
    larger = int.from_bytes(data[32:], "little") + order

    other = data[:32] + larger.to_bytes(32, "little")

    assert refusal(pair_desk, f"{head}.{body}.{encoded(other)}").startswith("is not accepted by PyJWT")


def test_the_reason_is_for_the_log_only(desk: Desk) -> None:
    with pytest.raises(InvalidTokenError) as refused:
        desk.verifier.verify("a", NOW)

    assert str(refused.value) == "the token is not valid"
    assert refused.value.reason not in str(vars(refused.value).keys())


@pytest.mark.parametrize("installed", ["2.15.0", "2.14.3", "1.7.1", "2.9", "0.0.0rc1"])
def test_a_library_with_known_holes_is_refused(installed: str) -> None:
    with pytest.raises(ImportError, match="known security holes"):
        check_library(installed)


@pytest.mark.parametrize("installed", ["2.15.1", "2.16.0", "3.0.0", "2.15.1.post1", "10.0.0b2"])
def test_a_library_without_them_is_accepted(installed: str) -> None:
    check_library(installed)
