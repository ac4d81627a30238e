"""Code, and the language that it is in."""

import re

from tekton.mcp.modality.content import Content, check_text, is_like
from tekton.mcp.modality.reference import Reference, check_either
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["CodeContent"]

_LANGUAGE = re.compile(r"[a-z0-9][a-z0-9+#._-]{0,63}")


class CodeContent(Content, frozen=True, tag="code"):
    """*code* of at most 1 MiB, or the *reference* to it (`text/x-python`, or any other media type).

    It is in a *language* as editors call it: `python`, `rust`, `c++`, `objective-c`.
    """

    code: str | None = None
    language: str = ""
    reference: Reference | None = None

    def __post_init__(self) -> None:
        check_either(self.code is not None, self.reference, "/code")
        if self.code is not None:
            check_text(self.code, "/code")
        if not is_like(_LANGUAGE, self.language):
            raise InvalidContentError("/language", f"expected a name like 'python', got {str(self.language)[:64]!r}")
