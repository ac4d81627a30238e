"""Content that is too large for a message: where it is, and how to tell that it is what was meant."""

import hashlib
import re

import msgspec

from tekton.mcp.modality.content import check_media_type, is_like
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["Reference", "check_either"]

_URI = re.compile(r"[a-z][a-z0-9+.-]{0,31}:[\x21-\x7e]{1,2000}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# The first holds the bytes itself; the others mean something to whoever opens them that nobody else can know.
_REFUSED_SCHEMES = frozenset({"data", "blob", "file", "javascript", "vbscript"})


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """*size* bytes of a *media_type*, to be had at *uri*, with this hash.

    Whoever fetches them asks `matches` whether they are what was meant, and decides himself whom he fetches from.
    """

    uri: str
    media_type: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_media_type(self.media_type, pointer="/reference/media_type")
        if not is_like(_URI, self.uri) or self.uri.partition(":")[0] in _REFUSED_SCHEMES:
            raise InvalidContentError("/reference/uri", f"{str(self.uri)[:64]!r} is no URI that others could fetch")
        if not self.size >= 0:
            raise InvalidContentError("/reference/size", f"expected a number of bytes, got {self.size}")
        if not is_like(_SHA256, self.sha256):
            raise InvalidContentError("/reference/sha256", "expected 64 hexadecimal digits, lower case")

    @classmethod
    def of(cls, data: bytes, uri: str, media_type: str) -> "Reference":
        """The reference to *data*, which is at *uri*."""
        return cls(uri, media_type, len(data), hashlib.sha256(data).hexdigest())

    def matches(self, data: bytes) -> bool:
        """True when *data* is what is referred to."""
        return len(data) == self.size and hashlib.sha256(data).hexdigest() == self.sha256


def check_either(is_there: bool, reference: Reference | None, pointer: str) -> None:
    """Raise InvalidContentError unless there is what *pointer* names, or else a *reference* to it."""
    if is_there and reference is not None:
        raise InvalidContentError("", f"either {pointer[1:]} or a reference to it, not both")
    if not is_there and reference is None:
        raise InvalidContentError(pointer, "required and missing, unless there is a reference")
