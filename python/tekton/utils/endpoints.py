"""The base URL under which a component says that it is reached: what can never be right is refused when it registers.

Nothing is asked of the network, and private addresses are as good as others: components live there. Who calls on
behalf of a stranger needs `guarded_http`.
"""

import re
from typing import Final

_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PLAIN: Final = re.compile(
    r"https?://"
    rf"(?:(?:[a-z0-9-]{{1,63}}\.){{0,8}}[a-z][a-z0-9-]{{0,62}}|(?:127\.0|192\.168|10\.{_BYTE})\.{_BYTE}\.{_BYTE})"
    r"(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?/?"
)
"""What nearly everybody writes: one look is enough for it."""


def endpoint_problem(text: str) -> str | None:
    """What is wrong with a base URL; None when it may be right."""
    if _PLAIN.fullmatch(text) is not None:
        return None
    # It takes time to import, and hardly anybody needs it.
    from tekton.utils.address_policy import is_metadata
    from tekton.utils.strict_urls import InvalidUrlError, parse_url

    try:
        url = parse_url(text)
    except InvalidUrlError as error:
        return str(error)
    if "?" in url.target:
        return "is a base URL, to which paths are added: it can have no query"
    if url.address is None:
        return None
    if url.address.is_multicast or url.address.is_unspecified:
        return "has an address that is not one of a single machine"
    return "has the address of the metadata service of a cloud" if is_metadata(url.address) else None
