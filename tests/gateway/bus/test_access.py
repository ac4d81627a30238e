"""What a refusal on the bus says, beyond that it is one."""

from collections.abc import Callable
from typing import Any

import pytest

from tekton.auth.principal import Principal
from tekton.auth.roles import Role, RoleTable
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.access import BusAccess, Refusal
from tekton.gateway.errors import InvalidParameterError, PermissionDeniedError
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType

ACCESS = BusAccess()
ROLES = RoleTable({})
SPEAKER = RoleTable({"speaker": Role(frozenset({"messages:publish"}))})


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


@pytest.mark.parametrize(
    ("who", "own"), [(COMPONENT, "_inbox.otto."), (OPERATOR, "_inbox.=otto.")], ids=["component", "user"]
)
def test_who_names_the_inbox_of_another_hears_what_his_own_is_called(who: Any, own: str) -> None:
    message = Message(MessageType.REQUEST, None, MessageContext("otto"))

    refused = advice(lambda: ACCESS.check_publish(who, Envelope("otto.a", message, "_inbox.rhetor.f1.7")))
    ACCESS.check_publish(who, Envelope("otto.a", message, f"{own}f1.7"))

    assert refused == f"inboxes of one's own begin with {own}"


def test_who_hears_nothing_is_not_told_of_an_inbox() -> None:
    mute = Principal(subject="otto", roles=("speaker",), via="token", grants=SPEAKER.grants(("speaker",)))
    question = Envelope("a", Message(MessageType.REQUEST, None, MessageContext("otto")), "_inbox.=otto.f1.7")

    assert advice(lambda: ACCESS.check_publish(ACCESS.caller(mute, ""), question)) == (
        "who may hear nothing has no inbox"
    )


def test_a_pattern_of_which_a_stream_takes_nothing_is_no_matter_of_rights() -> None:
    reported: list[Refusal] = []
    access = BusAccess(reported.append)

    with pytest.raises(InvalidParameterError, match=r"^subject: the stream orders takes a\.>, b, nothing of zzz\.>$"):
        access.check_replay(OPERATOR, "orders", ("a.>", "b"), "zzz.>")
    with pytest.raises(InvalidParameterError, match=r"^filter: the stream orders takes a\.>, nothing of b$"):
        access.check_consume(OPERATOR, "orders", ("a.>",), "b")
    assert reported == []

    with pytest.raises(PermissionDeniedError):  # what it takes is not for a monitor to know
        access.check_replay(MONITOR, "dead_letters", ("tekton.dead.>",), "zzz.>")
    assert [one.action for one in reported] == ["message.subscribe"]


def test_who_may_not_listen_hears_what_that_needs() -> None:
    assert advice(lambda: ACCESS.check_subscribe(MONITOR, "tekton.dead.>")) == "that needs messages:manage"
    assert "shows its credential" in str(advice(lambda: ACCESS.check_subscribe(MONITOR, "rhetor.requests.ask")))
    replay = advice(lambda: ACCESS.check_replay(MONITOR, "dead_letters", ("tekton.dead.>",), ">"))
    assert replay == "that needs messages:manage"
