"""Contents that say of what modality they are: whether they are, before anybody is handed them.

Most say nothing, and are not looked at: whether a message may have that member at all, its bytes tell. Nor are answers:
a handler may return any JSON, and who waits for it would wait in vain.
"""

from collections.abc import Iterable
from typing import Final

from tekton.bus.bus import INBOX
from tekton.bus.envelope import Envelope
from tekton.mcp.modality.content import TAG
from tekton.mcp.modality.parse import parse_content

_TAG: Final = TAG.encode()
_ESCAPE: Final = b"\\u00"
"""How a letter of it begins that is written in another way."""
_ANSWERS: Final = f"{INBOX}."


def check_contents(data: bytes, envelopes: Iterable[Envelope]) -> None:
    """Raise InvalidContentError when a content in *envelopes* is not what its `modality` says it is.

    *data* is what they came in. About 0.3 ns a byte; what has the word in it is decoded.
    """
    # From behind, which is several times as fast as `in`: that one looks for the rarest byte, and there is none.
    if data.rfind(_TAG) < 0 and (b"\\" not in data or data.rfind(_ESCAPE) < 0):
        return
    for envelope in envelopes:
        if envelope.subject.startswith(_ANSWERS):
            continue
        content = envelope.message.content
        if isinstance(content, dict) and TAG in content:
            parse_content(content)
