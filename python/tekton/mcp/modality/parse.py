"""From the content of a message to what it is."""

from typing import Any

import msgspec

from tekton.mcp.modality.code import CodeContent
from tekton.mcp.modality.content import TAG
from tekton.mcp.modality.image import ImageContent
from tekton.mcp.modality.structured import StructuredContent
from tekton.mcp.modality.text import TextContent
from tekton.utils.misfits import misfit
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["parse_content"]

Parsed = TextContent | CodeContent | ImageContent | StructuredContent


def parse_content(content: Any) -> Parsed:
    """What *content*, of a message or of the result of a tool, is.

    A str is text, an object with the member `modality` what that says, all other JSON structured data. Raises
    InvalidContentError for an unknown modality and for what is not as its modality has to be.
    """
    match content:
        case str():
            return TextContent(content)
        case TextContent() | CodeContent() | ImageContent() | StructuredContent():
            return content
        case dict() if TAG in content:
            return _tagged(content)
        case dict() | list() | tuple() | int() | float() | bool() | None:
            return StructuredContent(content)
        case _:
            raise InvalidContentError("", f"a {type(content).__name__} is no content of a message")


def _tagged(content: dict[str, Any]) -> Parsed:
    try:
        parsed: Parsed = msgspec.convert(content, Parsed)
    except msgspec.ValidationError as error:
        found = misfit(Parsed, str(error))
        raise InvalidContentError(found.pointer, found.problem) from None
    return parsed
