"""Images: their bytes in the message while they are small, else a reference to them."""

from tekton.mcp.modality.content import Content, check_media_type
from tekton.mcp.modality.reference import Reference, check_either
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["MAX_INLINE", "ImageContent"]

MAX_INLINE = 512 * 1024
"""Bytes of an image that may stand in a message (as base64, a third more)."""

_SIGNATURES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
"""How the bytes of common types begin. Those of others are not looked at."""


class ImageContent(Content, frozen=True, tag="image"):
    """An image of a *media_type* (`image/png`): its bytes, *data*, at most 512 KiB, or the *reference* to them."""

    media_type: str
    data: bytes | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        check_media_type(self.media_type, "image")
        check_either(self.data is not None, self.reference, "/data")
        if self.reference is not None and self.reference.media_type != self.media_type:
            raise InvalidContentError("/reference/media_type", f"the image is {self.media_type}")
        if self.data is not None:
            self._check_data(self.data)

    def _check_data(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise InvalidContentError("/data", f"expected bytes, got {type(data).__name__}")
        if len(data) > MAX_INLINE:
            raise InvalidContentError("/data", f"more than {MAX_INLINE} bytes; send a reference to it")
        if not data.startswith(_SIGNATURES.get(self.media_type, (b"",))):
            raise InvalidContentError("/data", f"the bytes do not begin as those of {self.media_type} do")
