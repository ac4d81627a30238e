"""What a refusal on the bus says, beyond that it is one."""

from collections.abc import Callable
from typing import Any

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.access import BusAccess
from tekton.gateway.errors import PermissionDeniedError
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

ACCESS = BusAccess()
ROLES = RoleTable({})


def caller(role: str, component_id: str | None = None) -> Any:
    grants = ROLES.grants((role,), component_id)
    who = Principal(subject="otto", roles=(role,), component_id=component_id, via="token", grants=grants)
    return ACCESS.caller(who, "")


COMPONENT, OPERATOR, MONITOR = caller("component", "otto"), caller("operator"), caller("monitor")


def advice(check: Callable[[], object]) -> str | None:
    with pytest.raises(PermissionDeniedError) as refusal:
        check()
    return refusal.value.hint


@pytest.mark.parametrize(
    ("who", "subject", "words"),
    [
        (COMPONENT, "rhetor.updated", "a component publishes below its own id"),
        (COMPONENT, "tekton.metrics", "only Tekton itself speaks under tekton"),
        (OPERATOR, "tekton.metrics", "only Tekton itself speaks under tekton"),
    ],
)
def test_who_may_not_publish_hears_where_he_could(who: Any, subject: str, words: str) -> None:
    said = Envelope(subject, Message(MessageType.EVENT, None, MessageContext("otto")))

    assert words in str(advice(lambda: ACCESS.check_publish(who, said)))


def test_who_may_not_listen_hears_what_that_needs() -> None:
    assert advice(lambda: ACCESS.check_subscribe(MONITOR, "tekton.dead.>")) == "that needs messages:manage"
    assert "shows its credential" in str(advice(lambda: ACCESS.check_subscribe(MONITOR, "rhetor.requests.ask")))
    replay = advice(lambda: ACCESS.check_replay(MONITOR, "dead_letters", ("tekton.dead.>",), ">"))
    assert replay == "that needs messages:manage"
