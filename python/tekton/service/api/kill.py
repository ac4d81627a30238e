"""Signals for the processes that Tekton runs, and for no others."""

import signal
from typing import Literal

import msgspec

from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.api.operations import supervised
from tekton.service.system import System
from tekton.utils.tekton_errors import (
    ComponentError,
    ComponentNotFoundError,
    StorageBusyError,
    StorageFullError,
    StorageUnknownError,
)

SignalName = Literal["ABRT", "ALRM", "CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2", "WINCH"]


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a signal, without SIG. With `hold`, what ends by it is not restarted until somebody starts it."""

    signal: SignalName = "KILL"
    hold: bool = False


class Signalled(msgspec.Struct, frozen=True):
    """The processes whose groups have got the signal."""

    component_id: str
    signal: SignalName
    pids: list[int]


def routes(system: System) -> list[Route]:
    """The route that sends signals."""

    async def kill(request: Request) -> Signalled:
        component_id = supervised(system, request)
        wanted: Signal = request.body
        with await system.registry.audit.intend("component.kill", component_id, wanted.signal):
            if wanted.hold:
                system.hold(component_id, held=True)
            pids = await system.supervisor.signal(component_id, signal.Signals[f"SIG{wanted.signal}"])
            if not pids:
                if wanted.hold:
                    system.hold(component_id, held=False)
                raise ComponentError(component_id, "it has no process at the moment")
        return Signalled(component_id, wanted.signal, pids)

    return [
        Route(
            "POST",
            "/api/components/{component_id}/kill",
            kill,
            summary="Send a signal to the processes of a component",
            permission="components:control",
            body=Signal,
            response=Signalled,
            errors=(
                ComponentNotFoundError,
                ComponentError,
                StorageBusyError,
                StorageFullError,
                StorageUnknownError,
            ),
        )
    ]
