"""A token that is issued, accepted and refused, beside PyJWT alone.

    python benches/tokens.py

PyJWT is given the key and checks signature, issuer, audience and times, as an application would have it. Tekton does
that with PyJWT too, and checks in addition what that leaves open: key id, type, spelling, members that are there
twice, life time, kinds of numbers. What it costs to refuse a token shows whether somebody without one can keep us busy.
Nothing is remembered between the calls.
"""

import sys
from collections.abc import Callable
from contextlib import suppress

import jwt

from _measure import Gate, compare, parser, report, verdict
from tekton.auth.keys import KeyRing
from tekton.auth.tokens import AUDIENCE, ISSUER, TokenIssuer, TokenVerifier
from tekton.clock import SYSTEM_CLOCK
from tekton.utils.tekton_errors import InvalidTokenError

SECRET = "k3ZrQ9vX1mN7bT5wYcD2fG8hJ4LpS6aE0uRiOxVq"
SECONDS = 1.0


def refused(verifier: TokenVerifier, token: str, now: float) -> Callable[[], None]:
    def run() -> None:
        with suppress(InvalidTokenError):
            verifier.verify(token, now)
            raise AssertionError("a token that should not be")

    return run


def measure(ring: KeyRing) -> None:
    now = SYSTEM_CLOCK.time()
    key = ring.signing_key(now)
    issuer, verifier = TokenIssuer(ring), TokenVerifier(ring)
    claims = {"component_id": "web"}
    token = issuer.issue("web", ["component"], 3600, claims, now)
    payload = dict(verifier.verify(token, now).all)
    library = jwt.PyJWT()

    report(
        f"accept a token of {key.algorithm}",
        compare(
            {
                "tekton verify": lambda: verifier.verify(token, now),
                "PyJWT decode": lambda: library.decode(
                    token, key.public, [key.algorithm], audience=AUDIENCE, issuer=ISSUER
                ),
            },
            "tekton verify",
            seconds=SECONDS,
        ),
        (Gate("PyJWT decode", 0.7 if key.algorithm == "EdDSA" else 0.6),),
    )
    head, body, signature = token.split(".")
    report(
        f"refuse a token of {key.algorithm}",
        compare(
            {
                "1 MB": refused(verifier, "a" * 1_000_000, now),
                "no token": refused(verifier, "a.b", now),
                "another key": refused(TokenVerifier(KeyRing.generate(now)), token, now),
                "another signature": refused(verifier, f"{head}.{body}.{signature[::-1]}", now),
                "accepted": lambda: verifier.verify(token, now),
            },
            "accepted",
            seconds=SECONDS,
        ),
    )
    headers = {"kid": key.kid, "typ": "at+jwt"}
    private = key.private
    assert private is not None
    report(
        f"issue a token of {key.algorithm}",
        compare(
            {
                "tekton issue": lambda: issuer.issue("web", ["component"], 3600, claims, now),
                "PyJWT encode": lambda: library.encode(payload, private, key.algorithm, headers),
            },
            "tekton issue",
            seconds=SECONDS,
        ),
        (Gate("PyJWT encode", 0.6),),
    )


def main() -> int:
    parser(__doc__).parse_args()
    measure(KeyRing.generate(SYSTEM_CLOCK.time()))
    measure(KeyRing.of_secret(SECRET))
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
