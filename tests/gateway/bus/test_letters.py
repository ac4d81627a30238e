"""Dead letters: who may not hear what a message was published to does not read it in a letter, on no way."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tekton.bus.bus import MAX_HOPS, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.gateway.bus.events import SubjectEvents
from tekton.gateway.bus.letters import may_be_letters, readable
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import TooManyHopsError

Make = Callable[..., Message]

SECRET = "what only billing is told"
PRIVATE = ("billing.requests.pay", "_inbox.billing.x7f3", "tekton.tasks.0190f6a0-0000-7000-8000-000000000000")
OPEN = ("orders.new", "billing.updated")

READS = {
    "operator": {"billing.requests.pay": False, "_inbox.billing.x7f3": False, PRIVATE[2]: True},
    "admin": {"billing.requests.pay": True, "_inbox.billing.x7f3": False, PRIVATE[2]: True},
}
"""Who of those who may read dead letters may hear what is private; what is open, both may."""

CASES = [(role, subject, READS[role].get(subject, True)) for role in READS for subject in (*PRIVATE, *OPEN)]
each_case = pytest.mark.parametrize(("role", "subject", "reads"), CASES)


async def live(bus: Any, peer: Any, bury: Callable[[], Any]) -> Any:
    await peer.subscribe(subject="tekton.dead.>")
    await bury()
    return (await peer.get(1))["message"]


async def live_in_batches(bus: Any, peer: Any, bury: Callable[[], Any]) -> Any:
    await peer.subscribe(subject="tekton.dead.hops", batch=True)
    await bury()
    _, [letter] = await peer.get(1)
    return {"content": letter.message.content, "message_id": letter.message.message_id}


async def replayed(bus: Any, peer: Any, bury: Callable[[], Any]) -> Any:
    await bury()
    await peer.subscribe(stream="dead_letters")
    return (await peer.get(1))["message"]


async def consumed(bus: Any, peer: Any, bury: Callable[[], Any]) -> Any:
    await bury()
    await peer.ask(op="consume", id=1, stream="dead_letters", consumer="undertaker")
    return (await peer.get(1, "msg"))["message"]


WAYS = (live, live_in_batches, replayed, consumed)


@pytest.mark.parametrize("way", WAYS)
@each_case
async def test_on_a_socket_a_letter_shows_its_message_to_those_who_may_hear_the_subject(
    bus: Any, people: Any, message: Make, role: str, subject: str, reads: bool, way: Any
) -> None:
    async def bury() -> None:
        with suppress(TooManyHopsError):
            await bus.bus.publish(subject, message("billing", SECRET, hops=MAX_HOPS + 1))

    letter = await way(bus, bus.connect(people.principal("otto", role)), bury)

    assert (letter["content"]["subject"], letter["content"]["stream"]) == (subject, None)
    assert "17" in letter["content"]["reason"]
    assert (SECRET in str(letter)) is reads
    assert letter["content"].get("withheld", False) is not reads


@each_case
async def test_as_an_event_a_letter_shows_its_message_to_those_who_may_hear_the_subject(
    bus: Any, people: Any, message: Make, make_request: Any, role: str, subject: str, reads: bool
) -> None:
    request = make_request(("last-event-id", "dead_letters:0"))
    request.principal = people.principal("otto", role)
    with suppress(TooManyHopsError):
        await bus.bus.publish(subject, message("billing", SECRET, hops=MAX_HOPS + 1))

    stream = await SubjectEvents(bus.port).stream(request, "tekton.dead.hops")
    told = [await anext(stream.source), await anext(stream.source)]
    await stream.source.aclose()  # type: ignore[attr-defined]

    assert subject.encode() in told[1]
    assert (SECRET.encode() in told[1]) is reads


async def test_what_a_private_stream_has_given_up_is_withheld_from_an_operator(
    bus: Any, people: Any, message: Make
) -> None:
    await bus.bus.create_stream("pay", StreamSettings(("billing.requests.>",)))
    await bus.bus.publish("billing.requests.pay", message("ada", SECRET))
    async with bus.bus.consume("pay", "billing") as work:
        [delivery] = await anext(work.batches())
        await delivery.reject("no such customer")
    otto = bus.connect(people.principal("otto", "operator"))

    await otto.subscribe(stream="dead_letters")
    letter = (await otto.get(1))["message"]

    assert letter["content"] == {
        "subject": "billing.requests.pay",
        "stream": "pay",
        "consumer": "billing",
        "sequence": 1,
        "attempts": 1,
        "reason": "no such customer",
        "message": None,
        "withheld": True,
    }


def test_what_is_withheld_changes_nothing_else(message: Make) -> None:
    content = {"subject": "a.requests.b", "reason": "x", "message": {"content": SECRET}}
    said = Message.from_json(message("tekton", content, trace_id="f" * 32).to_json())
    letter = Envelope("tekton.dead.hops", said).placed(17, 1786000000.5, attempt=2, stream="dead_letters")

    [shown] = readable([letter], lambda _: False)

    for name in ("subject", "sequence", "time", "attempt", "stream", "reply"):
        assert getattr(shown, name) == getattr(letter, name)
    assert (shown.message.message_id, shown.message.context) == (said.message_id, said.context)
    assert shown.size == len(shown.message.to_json())
    assert readable([letter], lambda _: True) == [letter]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("tekton.dead.>", True),
        ("tekton.dead.hops", True),
        ("tekton.>", True),
        ("tekton.*.hops", True),
        (">", True),
        ("tekton.logs.>", False),
        ("orders.>", False),
        ("tekton.dead", False),
    ],
)
def test_which_patterns_may_bring_letters(pattern: str, expected: bool) -> None:
    assert may_be_letters(pattern) is expected
