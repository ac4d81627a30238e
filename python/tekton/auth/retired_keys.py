"""The public halves of keys that are not used any more: what `keys/retired.jsonl` in the data directory says.

No token is verified with them. But what was signed to last longer than a token, as the heads of the audit log are, is
to be checked for as long as it is kept. The private halves are gone.
"""

from collections.abc import Iterable

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tekton.auth.keys import SigningKey


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    public: str
    published_at: float
    signs_from: float


def encode_retired(keys: Iterable[SigningKey]) -> bytes:
    """The lines that keep *keys*; b"" for none. Raises TypeError for a secret, which has no public half."""
    return b"".join(msgspec.json.encode(_line(key)) + b"\n" for key in keys)


def decode_retired(content: bytes) -> list[SigningKey]:
    """The keys in lines, each once, oldest first. What is no key is left out: a crash may have cut a line."""
    found = (_decode(line) for line in content.splitlines())
    return list({key.kid: key for key in found if key is not None}.values())


def _line(key: SigningKey) -> _Line:
    if not isinstance(key.public, Ed25519PublicKey):
        raise TypeError("a secret has no public half")
    return _Line(key.public.public_bytes_raw().hex(), key.published_at, key.signs_from)


def _decode(line: bytes) -> SigningKey | None:
    try:
        said = msgspec.json.decode(line, type=_Line)
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said.public))
    except (msgspec.MsgspecError, ValueError):
        return None
    return SigningKey.of_public(public, said.published_at, said.signs_from)
