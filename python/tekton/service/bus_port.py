"""The bus of the control plane as its port offers it: to sockets, event streams and requests alike."""

from functools import partial

from tekton.auth.subjects import OwnerOf
from tekton.core.audit.failed_logins import without_port
from tekton.core.audit.refusals import Refusals, Refused
from tekton.gateway.bus.access import BusAccess, Refusal
from tekton.gateway.bus.port import BusPort
from tekton.gateway.bus.turns import Turns
from tekton.service.messaging import Messaging


def bus_port(messaging: Messaging, refusals: Refusals, owner_of: OwnerOf | None = None) -> BusPort:
    """What *messaging* has, for those who may have it; who may not is entered in *refusals*.

    *owner_of* says whose tasks are.
    """
    live = messaging.live
    return BusPort(
        messaging.bus,
        messaging.stream_of,
        position=lambda: live.sequence,
        answered=live.answered,
        access=BusAccess(partial(_note, refusals), owner_of),
        turns=Turns(messaging.precedence),
    )


def _note(refusals: Refusals, refusal: Refusal) -> None:
    principal = refusal.principal
    address = without_port(refusal.address)
    refusals.note(Refused(principal.subject, principal.via, address, refusal.action, refusal.subject, refusal.reason))
