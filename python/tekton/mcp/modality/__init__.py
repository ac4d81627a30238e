"""What a message can carry: text, code, images, structured data.

message = Message(MessageType.RESPONSE, CodeContent("print(1)", "python").to_content(), context)
parse_content(message.content)  # CodeContent(code='print(1)', language='python')
"""

from tekton.mcp.modality.code import CodeContent
from tekton.mcp.modality.content import Content
from tekton.mcp.modality.image import ImageContent
from tekton.mcp.modality.parse import parse_content
from tekton.mcp.modality.reference import Reference
from tekton.mcp.modality.structured import StructuredContent
from tekton.mcp.modality.text import TextContent

__all__ = ["CodeContent", "Content", "ImageContent", "Reference", "StructuredContent", "TextContent", "parse_content"]
