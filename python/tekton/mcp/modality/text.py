"""Text: plain, or of another media type such as text/markdown."""

from typing import Any

from tekton.mcp.modality.content import Content, check_media_type, check_text
from tekton.mcp.modality.reference import Reference, check_either
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["TextContent"]

PLAIN = "text/plain"


class TextContent(Content, frozen=True, tag="text"):
    """A *text* of at most 1 MiB, or the *reference* to one. Plain text is a str in the message."""

    text: str | None = None
    media_type: str = PLAIN
    reference: Reference | None = None

    def __post_init__(self) -> None:
        check_media_type(self.media_type, "text")
        check_either(self.text is not None, self.reference, "/text")
        if self.reference is not None and self.reference.media_type != self.media_type:
            raise InvalidContentError("/reference/media_type", f"the text is {self.media_type}")
        if self.text is not None:
            check_text(self.text, "/text")

    def to_content(self) -> Any:
        return self.text if self.text is not None and self.media_type == PLAIN else super().to_content()
