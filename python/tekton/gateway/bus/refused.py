"""Reports who was refused a route of the bus before the bus was asked: without the permission of the route.

What a socket is refused, the bus is asked about (`access`). Over HTTP the policy answers first, and what it refuses is
to be seen in the same place, under the same names.
"""

from typing import Final
from urllib.parse import parse_qs

from tekton.gateway.bus.access import PUBLISH, READ, BusAccess, Refusal
from tekton.gateway.observers import Ended, Observer
from tekton.gateway.tickets import shown_ticket

_ACTIONS: Final = {PUBLISH: "message.publish", READ: "message.subscribe"}
_MOST: Final = 255
"""Characters of a subject."""
_EVENTS: Final = "/events/"


class RefusedRoutes(Observer):
    """Observes a gateway, and reports to *access*."""

    def __init__(self, access: BusAccess) -> None:
        self._access = access

    def ended(self, ended: Ended) -> None:
        """Report a request that the permission of its route has refused."""
        if ended.status not in (401, 403) or ended.route is None:
            return
        action, subject = _ACTIONS.get(ended.route.permission), _subject(ended)
        if action is None or subject is None:
            return
        request, permission = ended.request, ended.route.permission
        principal = request.principal
        # A credential that is not valid is reported as that, and what the bus has refused, by the bus.
        shown = "authorization" in request.headers or shown_ticket(request.query_string) is not None
        unknown = principal.via == "none" and shown
        if not unknown and not principal.grants.allows_some(permission):
            problem = f"{permission} is not granted to {principal.subject}"
            self._access.report(Refusal(principal, request.client, action, subject, problem))


def _subject(ended: Ended) -> str | None:
    """What was to be published to or heard; None for a route that names no subject."""
    assert ended.route is not None
    if ended.path.startswith(_EVENTS):
        return ".".join(ended.request.params.values())[:_MOST]
    if ended.route.query is None:
        return None
    try:
        found = parse_qs(ended.request.query_string, max_num_fields=16).get("subject", [""])
    except ValueError:
        found = [""]
    return found[0][:_MOST]
