"""The id of a request: `x-request-id`, by which a caller, a proxy and the audit log mean the same one.

Who sends one gets it back with the answer, whatever that is. To others one is given when it is needed: when something
is entered in the audit log on behalf of the request; then it is in the answer as well.
"""

import re

from tekton.gateway.dressed import DressedExchange
from tekton.gateway.rsgi import HeaderList, Headers, HttpProtocol

HEADER = "x-request-id"

_ID = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")


def sent_id(headers: Headers) -> str | None:
    """The id that a request has brought along; None for none, and for what is no id or more than one."""
    if HEADER not in headers:
        return None
    values = headers.get_all(HEADER)
    return values[0] if len(values) == 1 and _ID.fullmatch(values[0]) else None


class Named(DressedExchange):
    """An exchange whose answers have the id of the request."""

    def __init__(self, proto: HttpProtocol, request_id: str) -> None:
        super().__init__(proto)
        self._told = (HEADER, request_id)

    def dressed(self, headers: HeaderList) -> HeaderList:
        # A mounted application may see to this itself.
        return headers if any(name == HEADER for name, _ in headers) else [*headers, self._told]
