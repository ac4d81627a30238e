"""Forged, changed and re-spelled tokens by the thousand: none is accepted, and none does anything but be refused.

The forgeries are those of the advisories against JWT libraries: public keys as secrets, no algorithm, keys that a token
brings along, keys that it names in strange ways. TEKTON_MUTATED_TOKENS says how many are tried, TEKTON_SEED which.
"""

import hashlib
import hmac
import json
import os
import random
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tekton.auth.keys import KeyRing, SigningKey
from tekton.utils.tekton_errors import InvalidTokenError

TOKENS = int(os.environ.get("TEKTON_MUTATED_TOKENS", "3000"))
SEED = int(os.environ.get("TEKTON_SEED", "0"))
NOW = 1_700_000_000.0
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

Desk = Any
Mutator = Callable[[Desk, str, random.Random], str]
ATTACKER = Ed25519PrivateKey.generate()
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    2**63,
    10**30,
    "",
    "x",
    "none",
    "a" * 300,
    [],
    {},
    ["a"],
    {"a": 1},
    "\ud800",
    "\0",
]


def encoded(data: bytes | str) -> str:
    return urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def decoded(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    header, payload, signature = token.split(".")
    return json.loads(decoded(header)), json.loads(decoded(payload)), signature


def joined(header: object, payload: object, sign: Callable[[bytes], bytes]) -> str:
    signed = f"{encoded(json.dumps(header))}.{encoded(json.dumps(payload))}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def public_forms(key: SigningKey, rng: random.Random) -> bytes:
    """The public key in one of the forms in which it could be taken for a secret."""
    if isinstance(key.public, bytes):
        return key.kid.encode()
    jwk = key.to_jwk()
    pem = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = json.dumps(jwk)
    forms = [
        pem,
        pem.strip(),
        pem.replace(b"\n", b"\r\n"),
        b" " + pem + b"\n\n",
        pem.replace(b"\n", b""),
        b"".join(pem.splitlines()[1:-1]),
        key.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        key.public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        text.encode(),
        json.dumps(jwk, separators=(",", ":")).encode(),
        json.dumps(jwk, indent=2).encode(),
        ("\ufeff" + text).encode(),
        text.encode("utf-16"),
        json.dumps({"keys": [jwk]}).encode(),
        b64encode(pem),
        jwk["x"].encode() if jwk else b"",
        key.kid.encode(),
        b"",
        b"\0",
    ]
    return rng.choice(forms)


# Forgeries: none of them has the private key


def with_public_key_as_secret(desk: Desk, token: str, rng: random.Random) -> str:
    header, payload, _ = parts(token)
    secret = public_forms(desk.ring.keys[0], rng)
    name, digest = rng.choice([("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("HS512", hashlib.sha512)])
    kid = rng.choice([{"kid": header["kid"]}, {}])
    return joined({"typ": "at+jwt", "alg": name, **kid}, payload, lambda data: hmac.digest(secret, data, digest))


def without_signature(_: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = parts(token)
    name = "".join(rng.choice([letter.lower(), letter.upper()]) for letter in "none")
    header["alg"] = rng.choice([name, name + " ", "", None, [name], 0])
    token = joined(header, payload, lambda _: b"")
    return token + rng.choice(["", signature, "A", "AAAA", "."])


def with_a_key_of_its_own(desk: Desk, token: str, rng: random.Random) -> str:
    header, payload, _ = parts(token)
    mine = SigningKey.of_pair(ATTACKER, NOW, NOW)
    header |= rng.choice(
        [
            {"jwk": mine.to_jwk()},
            {"jku": "https://evil.example/jwks.json"},
            {"x5u": "http://169.254.169.254/"},
            {"x5c": [b64encode(b"cert").decode()]},
            {"jwk": mine.to_jwk(), "kid": mine.kid},
            {"kid": mine.kid},
            {},
        ]
    )
    payload |= rng.choice([{"sub": "owner"}, {"roles": ["admin"]}, {"role": "admin"}, {}])
    return joined(header | {"alg": "EdDSA"}, payload, ATTACKER.sign)


def with_a_strange_key_id(desk: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = parts(token)
    known = header["kid"]
    header["kid"] = rng.choice(
        [
            *ODD,
            "../" * rng.randint(1, 40) + "etc/passwd",
            "/dev/null",
            known + "\0",
            known + " ",
            known[:-1],
            known.swapcase(),
            [known],
            {known: known},
            f"{known}' OR '1'='1",
            "'; DROP TABLE documents; --",
            "x" * 5_000,
            "x" * 1_000_000,
            "${jndi:ldap://evil.example}",
            "|/usr/bin/id",
        ]
    )
    return rng.choice([joined(header, payload, lambda _: decoded(signature)), joined(header, payload, ATTACKER.sign)])


def with_another_algorithm(desk: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = parts(token)
    header["alg"] = rng.choice(
        ["RS256", "PS512", "ES256", "ES256K", "Ed25519", "HS256", "EdDSA", "dir", ["EdDSA", "none"], *ODD]
    )
    if header["alg"] == desk.ring.algorithm:
        payload["sub"] = "owner"
    return joined(header, payload, lambda _: decoded(signature))


def with_a_header_more(_: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = parts(token)
    name = rng.choice(["crit", "b64", "zip", "cty", "enc", "epk", "p2c", "x5t", "nonce", "iss", ""])
    header[name] = rng.choice([["exp"], ["b64"], [name], *ODD])
    return joined(header, payload, lambda _: decoded(signature))


# Changes of a good token


def with_another_character(_: Desk, token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token))
    return token[:at] + rng.choice(ALPHABET + ".=+/ \n\t%é\0") + token[at + 1 :]


def with_a_character_more_or_less(_: Desk, token: str, rng: random.Random) -> str:
    at = rng.randrange(len(token))
    return rng.choice(
        [token[:at] + token[at + 1 :], token[:at] + rng.choice(ALPHABET + ".= ") + token[at:], token[:at]]
    )


def with_another_bit(_: Desk, token: str, rng: random.Random) -> str:
    segments = token.split(".")
    which = rng.randrange(3)
    data = bytearray(decoded(segments[which]))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    segments[which] = encoded(bytes(data))
    return ".".join(segments)


def with_other_claims(_: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = parts(token)
    name = rng.choice([*payload, "role", "nbf", "act", "scope"])
    payload[name] = rng.choice([*ODD, "owner", "admin", ["admin"], 9_999_999_999])
    return joined(header, payload, lambda _: decoded(signature))


def in_another_spelling(_: Desk, token: str, rng: random.Random) -> str:
    segments = token.split(".")
    which = rng.randrange(3)
    text = segments[which]
    segments[which] = rng.choice(
        [
            text + "=" * rng.randint(1, 3),
            text.replace("-", "+").replace("_", "/"),
            text[:-1] + ALPHABET[ALPHABET.index(text[-1]) ^ rng.randint(1, 15)],
            text.swapcase(),
            text + "\n",
            " " + text,
            text[:10] + "\r\n" + text[10:],
            text.replace("e", "\uff45", 1),
            text + "A",
            text + "AAAA",
            encoded(decoded(text) + b" "),
            encoded(b" " + decoded(text)),
        ]
    )
    return ".".join(segments)


def in_other_parts(_: Desk, token: str, rng: random.Random) -> str:
    header, payload, signature = token.split(".")
    return rng.choice(
        [
            f"{payload}.{header}.{signature}",
            f"{header}..{signature}",
            f"{header}.{payload}.",
            f"{header}.{payload}",
            f"{token}.{signature}",
            f"{token}{token}",
            f"{header}.{header}.{signature}",
            json.dumps({"protected": header, "payload": payload, "signature": signature}),
            f"Bearer {token}",
            token[::-1],
        ]
    )


# What the right key has signed, and should not have


def signed_with_odd_claims(desk: Desk, token: str, rng: random.Random) -> str:
    _, payload, _ = parts(token)
    name = rng.choice(["iss", "aud", "exp", "iat", "jti", "sub"])
    change = {name: rng.choice([value for value in ODD if not _is_good(name, value)])}
    return str(desk.sign(json.dumps({**payload, **change}).encode()))


def signed_with_too_long_a_life(desk: Desk, token: str, rng: random.Random) -> str:
    _, payload, _ = parts(token)
    payload["exp"] = payload["iat"] + rng.choice([86_401, 10**6, 2**53 - 1 - payload["iat"], -rng.randint(0, 10**6)])
    return str(desk.sign(json.dumps(payload).encode()))


def signed_twice_named(desk: Desk, token: str, rng: random.Random) -> str:
    _, payload, _ = parts(token)
    name = rng.choice(list(payload))
    twice = json.dumps(payload)[:-1] + f', "{name}": {json.dumps(payload[name])}}}'
    return str(desk.sign(twice.encode()))


def signed_as_another_type(desk: Desk, token: str, rng: random.Random) -> str:
    _, payload, _ = parts(token)
    kind = rng.choice(
        ["JWT", "id+jwt", "logout+jwt", "at+JWT", "AT+JWT", "application/at+jwt", "at+jwt\0", "at+jwt,JWT"]
    )
    return str(desk.sign(json.dumps(payload).encode(), {"typ": kind}))


def signed_bytes(desk: Desk, _: str, rng: random.Random) -> str:
    payload = rng.choice(
        [rng.randbytes(rng.randint(0, 200)), b"[" * rng.randint(1, 6_000), b'{"a":' * rng.randint(1, 1_200)]
    )
    return str(desk.sign(payload))


MUTATORS: list[Mutator] = [
    with_public_key_as_secret,
    without_signature,
    with_a_key_of_its_own,
    with_a_strange_key_id,
    with_another_algorithm,
    with_a_header_more,
    with_another_character,
    with_a_character_more_or_less,
    with_another_bit,
    with_other_claims,
    in_another_spelling,
    in_other_parts,
    signed_with_odd_claims,
    signed_with_too_long_a_life,
    signed_twice_named,
    signed_as_another_type,
    signed_bytes,
]


def _is_good(name: str, value: object) -> bool:
    return name in ("sub", "jti") and isinstance(value, str) and value in ("x", "none")


def test_no_mutated_token_is_accepted(desk: Desk) -> None:
    rng = random.Random(SEED)
    issued = [desk.issue(life=rng.randint(60, 86_400), component_id="web", number=n) for n in range(10)]
    for token in issued:
        desk.verifier.verify(token, NOW)
    tried: Counter[str] = Counter()

    while tried.total() < TOKENS // 2:
        mutate = MUTATORS[tried.total() % len(MUTATORS)]
        mutant = mutate(desk, rng.choice(issued), rng)
        tried[mutate.__name__] += 1
        if mutant in issued:
            continue
        try:
            desk.verifier.verify(mutant, NOW)
        except InvalidTokenError:
            continue
        pytest.fail(f"{mutate.__name__}, seed {SEED}: {mutant[:2000]}")

    assert len(tried) == len(MUTATORS)


def test_a_public_key_cannot_be_set_as_the_secret() -> None:
    ring = KeyRing.generate(NOW)
    public = ring.keys[0].public
    assert not isinstance(public, bytes)
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        json.dumps(ring.keys[0].to_jwk()),
        "  \n" + json.dumps(ring.jwks(NOW), indent=1),
    ]

    for text in forms:
        with pytest.raises(ValueError, match="a key or a certificate"):
            KeyRing.of_secret(text)
