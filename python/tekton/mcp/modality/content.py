"""What the modalities have in common.

The content of a message is JSON. A text is a str, structured data an object or a list as they are; all else, and what
needs to say more, is an object with the member `modality`: `{"modality": "code", "language": "python", "code": "…"}`.
"""

import re
from typing import Any

import msgspec

from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["TAG", "Content"]

TAG = "modality"
"""The member that tells what an object is."""

MAX_TEXT = 1024 * 1024
"""Bytes of a text or of code, in UTF-8: a message has no more."""

_NAME = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field=TAG):
    """What a message carries, of one modality. A value, checked when it is made: InvalidContentError."""

    def to_content(self) -> Any:
        """It as JSON values, for `Message(content=…)`; `parse_content` makes the same of it again."""
        return msgspec.to_builtins(self)


def is_like(pattern: re.Pattern[str], value: object) -> bool:
    """True when *value* is a text, and all of it is as *pattern* says."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def check_media_type(value: str, kind: str = "", pointer: str = "/media_type") -> None:
    """Raise InvalidContentError unless *value* is a media type of that kind (`image`), lower case, without parameters.

    RFC 6838, 4.2.
    """
    if not is_like(_MEDIA_TYPE, value) or not value.startswith(kind and f"{kind}/"):
        raise InvalidContentError(pointer, f"expected a media type like {kind or 'text'}/…, got {str(value)[:64]!r}")


def check_text(value: Any, pointer: str) -> None:
    """Raise InvalidContentError unless *value* is a text that can be in a message."""
    if not isinstance(value, str):
        raise InvalidContentError(pointer, f"expected a text, got {type(value).__name__}")
    try:
        size = len(value) if value.isascii() else len(value[: MAX_TEXT + 1].encode())
    except UnicodeEncodeError:
        raise InvalidContentError(pointer, "half of a surrogate pair is no text") from None
    if size > MAX_TEXT:
        raise InvalidContentError(pointer, f"more than {MAX_TEXT} bytes; send a reference to it")
