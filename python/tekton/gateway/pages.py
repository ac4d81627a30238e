"""The headers that keep a page of ours from being shown inside another one, and from telling others where it is."""

from collections.abc import Sequence

from tekton.gateway.rsgi import HeaderList

_OF_A_PAGE = (
    ("content-security-policy", "frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
)


def page_headers(media_type: str, given: Sequence[tuple[str, str]]) -> HeaderList:
    """What an answer of *media_type* needs besides the headers that are *given*, which may say it otherwise."""
    if not media_type.lower().startswith("text/html"):
        return []
    named = {name.lower() for name, _ in given}
    return [header for header in _OF_A_PAGE if header[0] not in named]
