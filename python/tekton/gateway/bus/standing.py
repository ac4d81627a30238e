"""Who is at the other end of a socket, and what he may on the bus: as it is now, or was a second ago at most."""

import asyncio
from typing import Final

from tekton.auth.principal import Principal
from tekton.gateway.bus.access import BusAccess, Caller
from tekton.gateway.connection import Connection

_HOLDS: Final = 1.0
"""Seconds for which an answer holds, unless rights were lost: then it is asked for at once."""


class Standing:
    """Asks who has the *connection* seldom enough that it can be asked for each message."""

    __slots__ = ("_access", "_caller", "_connection", "_principal", "_reviews", "_time", "_until")

    def __init__(self, connection: Connection, access: BusAccess) -> None:
        self._connection = connection
        self._access = access
        self._time = asyncio.get_running_loop().time
        self._until = 0.0
        self._reviews = -1
        self._principal: Principal | None = None
        self._caller: Caller | None = None

    def caller(self) -> Caller:
        """The same object as before, as long as nothing has changed. Raises a GatewayError for who may be no longer."""
        reviews = self._connection.reviews()
        now = self._time()
        if self._caller is None or now >= self._until or reviews != self._reviews:
            self._look()
            self._until, self._reviews = now + _HOLDS, reviews
        assert self._caller is not None
        return self._caller

    def _look(self) -> None:
        principal = self._connection.identify()
        if principal is not self._principal:
            self._caller = self._access.caller(principal, self._connection.address)
            self._principal = principal
