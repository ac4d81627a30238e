"""Text: plain, or of another media type such as text/markdown."""

from typing import Any

from tekton.mcp.modality.content import Content, check_media_type, check_text

__all__ = ["TextContent"]

PLAIN = "text/plain"


class TextContent(Content, frozen=True, tag="text"):
    """A *text* of at most 1 MiB. Plain text is a str in the message."""

    text: str
    media_type: str = PLAIN

    def __post_init__(self) -> None:
        check_text(self.text, "/text")
        check_media_type(self.media_type, "text")

    def to_content(self) -> Any:
        return self.text if self.media_type == PLAIN else super().to_content()
