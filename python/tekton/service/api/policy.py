"""What components need in order to decide about their callers as the control plane would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from tekton.gateway.auth import AUTHENTICATED
from tekton.gateway.errors import PermissionDeniedError
from tekton.gateway.request import Request, encode
from tekton.gateway.router import Route
from tekton.gateway.sse import EventStream, event
from tekton.service.system import System
from tekton.utils.tekton_errors import TektonError

LOOK = 1.0
"""Seconds between two looks for changes that do not tell of themselves: of what is supervised, and of the keys."""

PING = 5.0
_NEEDED = "components:register"


def routes(system: System) -> list[Route]:
    """The stream of the policy."""

    async def policy(request: Request) -> EventStream:
        if not _may_know(system, request):
            raise PermissionDeniedError(_NEEDED, "only components, and who manages them, are told the policy")
        return EventStream(_policies(system, request), ping=PING)

    return [
        Route(
            "GET",
            "/events/auth",
            policy,
            summary="Whose roles count, and what is revoked: now, and with each change",
            permission=AUTHENTICATED,
            response=EventStream,
            errors=(PermissionDeniedError,),
        )
    ]


def _may_know(system: System, request: Request) -> bool:
    try:
        return system.security.policy.principal_of(request).grants.allows_some(_NEEDED)
    except TektonError:
        return False


async def _policies(system: System, request: Request) -> AsyncIterator[bytes]:
    security = system.security
    told = None
    while _may_know(system, request):
        epoch = security.policy_epoch
        if epoch != told:
            told = epoch
            yield event(encode(security.published()), "policy")
            continue  # while that was sent, more may have changed
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await security.wait_moved()
