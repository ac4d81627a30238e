"""Code, and the language that it is in."""

import re

from tekton.mcp.modality.content import Content, check_text, is_like
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["CodeContent"]

_LANGUAGE = re.compile(r"[a-z0-9][a-z0-9+#._-]{0,63}")


class CodeContent(Content, frozen=True, tag="code"):
    """*code* of at most 1 MiB, in a *language* as editors call it: `python`, `rust`, `c++`, `objective-c`."""

    code: str
    language: str

    def __post_init__(self) -> None:
        check_text(self.code, "/code")
        if not is_like(_LANGUAGE, self.language):
            raise InvalidContentError("/language", f"expected a name like 'python', got {str(self.language)[:64]!r}")
