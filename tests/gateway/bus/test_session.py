"""The bus on a socket: publishing, subscriptions, replays, limits, and who may do what."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from tekton.bus.bus import MAX_MESSAGE, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.gateway import sockets
from tekton.gateway.admission import Shares
from tekton.gateway.bus import session
from tekton.gateway.topics import TopicTable
from tekton.mcp.message import Message

Make = Callable[..., Message]

DEEP = '{"a":' * 70 + "1" + "}" * 70


def pub(message: str) -> str:
    return f'{{"op":"pub","id":5,"subject":"billing.a","message":{message}}}'


def header(rest: str) -> str:
    return (
        '{"message_id":"0190f6a0-0000-7000-8000-000000000000","message_type":"event",'
        f'"context":{{"sender":"billing"}},{rest}}}'
    )


async def test_what_is_published_comes_as_the_bytes_that_it_is_with_the_place_of_the_receipt(
    bus: Any, people: Any
) -> None:
    ann, bob = bus.connect(people.ada), bus.connect(people.billing)
    await ann.subscribe(subject="billing.>")
    text = header('"content":  {"b":1 , "a":[]}')

    receipt = await bob.ask(pub(text))
    frame = await ann.get()

    assert receipt == {"id": 5, "t": "published", "sequence": bus.live.sequence}
    assert (frame["id"], frame["t"], frame["subject"]) == (1, "msg", "billing.a")
    assert frame["sequence"] == receipt["sequence"]
    assert frame["message"]["content"] == {"b": 1, "a": []}


async def test_without_an_id_there_is_no_receipt(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)

    peer.publish("orders.new", message("ada"))

    assert await peer.alive()


async def test_a_subscription_goes_on_behind_a_position_that_is_known(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)
    position = (await peer.subscribe(subject="orders.>"))["sequence"]
    for number in range(3):
        await bus.bus.publish("orders.new", message("ada", number))

    frame = await peer.subscribe(2, subject="orders.>", since=position + 1)
    old = [(await peer.get(1))["message"]["content"] for _ in range(3)]
    new = [(await peer.get(2))["message"]["content"] for _ in range(2)]

    assert frame["sequence"] == position + 1
    assert (old, new) == ([0, 1, 2], [1, 2])


@pytest.mark.parametrize("since", [0, 7, 2**53])
async def test_a_position_that_is_not_known_is_reset(bus: Any, people: Any, message: Make, since: int) -> None:
    peer = bus.connect(people.ada)

    begun = await peer.subscribe(subject="orders.>", since=since)
    reset = await peer.get()
    await bus.bus.publish("orders.new", message("ada"))

    assert reset == {"id": 1, "t": "reset", "sequence": begun["sequence"]}
    assert (await peer.get())["sequence"] == begun["sequence"] + 1


async def test_one_member_of_a_queue_group_gets_each_message(bus: Any, people: Any, message: Make) -> None:
    peers = [bus.connect(people.billing) for _ in range(2)]
    for peer in peers:
        await peer.subscribe(subject="orders.>", queue="workers")

    for number in range(8):
        await bus.bus.publish("orders.new", message("ada", number))
    got = []
    while len(got) < 8:
        got += [frame["message"]["content"] for peer in peers for frame in peer.got]
        for peer in peers:
            peer.got.clear()
        await asyncio.sleep(0)

    assert sorted(got) == list(range(8))


async def test_batches_come_together_and_in_order(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)
    await peer.subscribe(7, subject="orders.>", batch=True)

    await bus.bus.publish_many([Envelope("orders.new", message("ada", "x" * 1000)) for _ in range(200)])

    batches = []
    while sum(len(envelopes) for _, envelopes in batches) < 200:
        batches.append(await peer.get())
    envelopes = [one for _, part in batches for one in part]
    assert {number for number, _ in batches} == {7}
    assert len(batches) == 4  # of at most 64 KiB
    assert [one.sequence for one in envelopes] == list(range(envelopes[0].sequence, bus.live.sequence + 1))


async def test_a_batch_is_published_in_order_with_a_receipt_for_each(bus: Any, people: Any, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)
    await peer.subscribe(subject=">")
    same = message("ada", 1)
    mixed = [Envelope("orders.a", same), Envelope("news.b", message("ada", 2)), Envelope("orders.a", same)]

    peer.say(Envelope.pack(9, mixed))
    receipt = await peer.get(9)
    subjects = [(await peer.get(1))["subject"] for _ in range(2)]

    assert [stream for _, stream, _ in receipt["receipts"]] == ["orders", None, "orders"]
    assert [duplicate for _, _, duplicate in receipt["receipts"]] == [False, False, True]
    assert sorted(subjects) == ["news.b", "orders.a"]


async def test_a_batch_without_an_id_has_no_receipt(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)

    peer.say(Envelope.pack(0, [Envelope("news.b", message("ada"))]))

    assert await peer.alive()


async def test_what_a_stream_takes_is_stored_when_the_receipt_comes(bus: Any, people: Any, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)
    messages = [message("ada", number) for number in range(300)]

    for number, one in enumerate([*messages, messages[0]]):
        peer.publish("orders.new", one, id=number)
    receipts = [await peer.get() for _ in range(301)]

    assert [receipt["id"] for receipt in receipts] == list(range(301))
    assert [receipt["sequence"] for receipt in receipts[:300]] == list(range(1, 301))
    assert receipts[300] == {"id": 300, "t": "published", "sequence": 1, "stream": "orders", "duplicate": True}


async def test_while_the_registry_goes_first_what_is_published_is_stored_in_order_and_whole(
    bus: Any, people: Any, message: Make
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    bus.precedence.begin()
    peers = [bus.connect(people.ada) for _ in range(3)]
    for number in range(30):
        for place, peer in enumerate(peers):
            peer.publish("orders.new", message("ada", [place, number]), id=number)

    receipts = [[await peer.get(number) for number in range(30)] for peer in peers]

    assert all([one["sequence"] for one in each] == sorted(one["sequence"] for one in each) for each in receipts)
    assert sorted(one["sequence"] for each in receipts for one in each) == list(range(1, 91))


async def test_what_cannot_be_published_keeps_nothing_else_from_being(bus: Any, people: Any, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)

    for number in range(5):
        peer.publish("orders.new", message("ada", number, hops=17 if number == 2 else 0), id=number)
    answers = [await peer.get() for _ in range(5)]

    assert [answer["t"] for answer in answers] == ["published", "published", "error", "published", "published"]
    assert (answers[2]["id"], answers[2]["code"], answers[2]["hops"]) == (2, "too_many_hops", 17)


async def test_a_question_that_nobody_would_hear_is_refused_at_once(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.billing)
    reply = "_inbox.billing.0123456789abcdef0123456789abcdef.1"
    await peer.subscribe(subject=reply)

    peer.publish("engram.requests.search", message("billing"), id=3, reply=reply)
    refused = await peer.get(3)
    engram = bus.connect(people.engram)
    await engram.subscribe(subject="engram.requests.>")
    peer.publish("engram.requests.search", message("billing", "?"), id=2, reply=reply)
    question = await engram.get()
    engram.publish(question["reply"], message("engram", "!"))

    assert refused["code"] == "no_responders"
    assert (await peer.get(2))["t"] == "published"
    assert (await peer.get(1))["message"]["content"] == "!"


async def test_a_question_whose_answer_would_go_to_somebody_else_is_refused_and_reported(
    bus: Any, people: Any, message: Make
) -> None:
    engram, peer = bus.connect(people.engram), bus.connect(people.billing)
    await engram.subscribe(subject="engram.requests.>")

    for number, reply in enumerate(("_inbox.engram.f1.7", "_inbox.=billing.f1.7", "_inbox.billing.f1.7")):
        peer.publish("engram.requests.a", message("billing", number), id=number, reply=reply)
    answers = [await peer.get(number) for number in range(3)]

    assert [answer.get("code", answer["t"]) for answer in answers] == ["forbidden", "forbidden", "published"]
    assert "_inbox.billing." in answers[0]["hint"]
    assert [(one.action, one.subject) for one in bus.refusals] == [
        ("message.publish", "_inbox.engram.f1.7"),
        ("message.publish", "_inbox.=billing.f1.7"),
    ]
    assert (await engram.get())["message"]["content"] == 2


# A stream, read from somewhere


async def test_a_stream_is_replayed_and_goes_on(bus: Any, people: Any, message: Make) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    for number in range(3):
        await bus.bus.publish("orders.new", message("ada", number))
    peer = bus.connect(people.mona)

    assert (await peer.subscribe(stream="orders"))["sequence"] == 0
    assert (await peer.subscribe(2, stream="orders", subject="orders.new", since=2))["sequence"] == 2
    await bus.bus.publish("orders.new", message("ada", 3))
    whole = [await peer.get(1) for _ in range(4)]
    rest = [await peer.get(2) for _ in range(2)]

    assert [(one["stream"], one["sequence"]) for one in whole] == [("orders", number) for number in (1, 2, 3, 4)]
    assert [one["sequence"] for one in rest] == [3, 4]


@pytest.mark.parametrize("since", [4, 2**53])
async def test_a_place_that_a_stream_does_not_have_is_reset_and_all_of_it_comes(
    bus: Any, people: Any, message: Make, since: int
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",), max_messages=2))
    for number in range(3):
        await bus.bus.publish("orders.new", message("ada", number))
    peer = bus.connect(people.mona)

    begun = await peer.subscribe(stream="orders", since=since)

    assert await peer.get() == {"id": 1, "t": "reset", "sequence": begun["sequence"]}
    assert [(await peer.get())["message"]["content"] for _ in range(2)] == [1, 2]


async def test_a_stream_that_is_not_there_is_answered_with_the_nearest_name(bus: Any, people: Any) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.mona)

    error = await peer.ask(op="sub", id=3, stream="order")

    assert (error["id"], error["code"], error["nearest"]) == (3, "stream_not_found", "orders")


# Who may do what


@pytest.mark.parametrize(
    ("who", "sender", "subject"),
    [
        ("billing", "engram", "billing.a"),
        ("billing", "billing", "engram.a"),
        ("billing", "billing", "tekton.components.billing"),
        ("ada", "ada", "tekton.anything"),
        ("ada", "tekton", "news.a"),
        ("mona", "mona", "news.a"),
        ("aron", "aron", "news.a"),
        ("eve", "eve", "news.a"),
    ],
)
async def test_who_may_not_publish_that_is_refused_and_reported(
    bus: Any, people: Any, message: Make, who: str, sender: str, subject: str
) -> None:
    peer = bus.connect(getattr(people, who))

    peer.publish(subject, message(sender), id=4)
    refused = await peer.get()
    peer.say(Envelope.pack(5, [Envelope(subject, message(sender))]))
    batch = await peer.get()

    assert (refused["id"], refused["code"], batch["id"], batch["code"]) == (4, "forbidden", 5, "forbidden")
    assert [(one.principal.subject, one.action, one.subject, one.address) for one in bus.refusals] == [
        (who, "message.publish", subject, "10.0.0.1:1234")
    ] * 2
    assert bus.live.published == 0
    assert await peer.alive()


async def test_answers_cannot_be_sent_where_one_could_not_publish(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.billing)

    peer.publish("billing.a", message("billing"), id=4, reply="tekton.components.billing")

    assert (await peer.get())["code"] == "forbidden"
    assert bus.refusals[0].subject == "tekton.components.billing"


async def test_who_is_no_component_or_another_one_is_told_so(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.billing)

    door = await peer.ask(op="sub", id=4, subject="engram.requests.>")
    peer.publish("billing.a", message("engram"), id=5)
    said = await peer.get()
    feed = await peer.ask(op="sub", id=6, subject="tekton.logs.engram")
    peer.publish("engram.a", message("billing"), id=7)
    foreign = await peer.get()

    assert all("TEKTON_CREDENTIAL_FILE" in refused["hint"] for refused in (door, said))
    assert feed["hint"] == "that needs logs:read"
    assert "below its own id" in foreign["hint"]


@pytest.mark.parametrize(
    ("who", "pattern"),
    [
        ("billing", "_inbox.engram.>"),
        ("billing", "engram.requests.>"),
        ("billing", "engram.requests.search"),
        ("billing", "tekton.logs.engram"),
        ("billing", "tekton.dead.>"),
        ("mona", "_inbox.billing.>"),
        ("aron", "news.>"),
        ("eve", "news.>"),
    ],
)
async def test_who_may_not_hear_that_is_refused_and_reported(bus: Any, people: Any, who: str, pattern: str) -> None:
    peer = bus.connect(getattr(people, who))

    refused = await peer.ask(op="sub", id=4, subject=pattern)

    assert (refused["id"], refused["code"]) == (4, "forbidden")
    assert [(one.principal.subject, one.action, one.subject) for one in bus.refusals] == [
        (who, "message.subscribe", pattern)
    ]
    assert await peer.alive()


async def test_what_one_may_not_hear_is_left_out_of_a_wildcard(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.billing)
    await peer.subscribe(subject=">")
    await peer.subscribe(2, subject="*.requests.>", batch=True)

    for subject in ("engram.requests.a", "_inbox.engram.x.1", "tekton.metrics", "billing.requests.b", "news"):
        await bus.bus.publish(subject, message("ada"))

    assert (await peer.get(1))["subject"] == "news"
    assert [one.subject for one in (await peer.get(2))[1]] == ["billing.requests.b"]
    assert await peer.alive()


async def test_what_is_not_heard_as_a_whole_cannot_be_shared(bus: Any, people: Any) -> None:
    peer = bus.connect(people.billing)

    assert (await peer.ask(op="sub", id=1, subject="*.requests.>", queue="q"))["code"] == "invalid"


async def test_a_right_that_is_lost_ends_what_it_was_needed_for(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.aron)
    await peer.subscribe(subject="audit.>")
    peer.publish("orders.new", message("aron"), id=2)
    assert (await peer.get(2))["t"] == "published"

    bus.principals[peer] = people.principal("aron", "monitor")
    bus.reviews += 1
    peer.publish("orders.new", message("aron"), id=3)
    refused = await peer.get(3)
    bus.principals[peer] = people.principal("aron")
    bus.reviews += 1
    await bus.bus.publish("audit.a", message("ada"))
    ended = await peer.get(1)

    assert (refused["id"], refused["code"]) == (3, "forbidden")
    assert (ended["id"], ended["t"], ended["code"]) == (1, "error", "forbidden")
    assert bus.live.tally.subscriptions == 0


@pytest.mark.parametrize("how", ["publishes", "hears", "consumes"])
async def test_who_may_not_have_the_socket_any_more_is_told_goodbye_and_nothing_else(
    bus: Any, people: Any, message: Make, how: str
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news.>")
    await peer.ask(op="consume", id=2, stream="orders", consumer="ada", credit=1)

    bus.revoke(peer)
    if how == "publishes":
        peer.publish("news.a", message("ada"), id=3)
    else:
        await bus.bus.publish("news.a" if how == "hears" else "orders.new", message("aron"))

    assert (await peer.get())["reason"] == "unauthenticated"
    await bus.sessions[peer]
    assert bus.live.tally.subscriptions == 0


async def test_a_pattern_of_which_a_stream_takes_nothing_is_not_forbidden(bus: Any, people: Any) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))

    error = await bus.connect(people.mona).ask(op="sub", id=1, stream="orders", subject="zzz.>")

    assert (error["code"], error["detail"]) == (
        "invalid_parameter",
        "subject: the stream orders takes orders.>, nothing of zzz.>",
    )
    assert bus.refusals == []


async def test_of_a_stream_nobody_reads_what_it_took_before_and_he_may_not_hear(
    bus: Any, people: Any, message: Make
) -> None:
    await bus.bus.create_stream("mixed", StreamSettings(("engram.requests.>", "secrets.>")))
    await bus.bus.publish("secrets.a", message("ada", "secret"))
    await bus.bus.publish("engram.requests.ask", message("ada", "private"))
    await bus.bus.create_stream("mixed", StreamSettings(("orders.>",)))
    await bus.bus.publish("orders.new", message("ada", "order"))
    aron, mona = bus.connect(people.aron), bus.connect(people.mona)

    for peer in (aron, mona):
        await peer.subscribe(1, stream="mixed", subject=">")

    assert [(await mona.get(1))["message"]["content"] for _ in range(2)] == ["secret", "order"]
    assert (await aron.get(1))["message"]["content"] == "order"
    assert await mona.alive()
    assert await aron.alive()


# What nobody can read


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (pub(header(f'"content":{DEEP}')), "malformed_message"),
        (pub(header('"content":{"a":1,"a":2}')), "malformed_message"),
        (pub(header('"content":"\\ud800"')), "malformed"),
        (pub(header('"content":18446744073709551616')), "malformed_message"),
        (pub(header('"content":1e999')), "malformed_message"),
        (pub(header('"content":1,"more":2')), "invalid_message"),
        (pub(header('"content":1').replace('"event"', '"shout"')), "invalid_message"),
        (pub("[]"), "malformed_message"),
        (pub("[" * 100_000 + "]" * 100_000), "malformed"),
        (pub("1").replace("billing.a", "billing..a"), "malformed_message"),
        (pub(header('"content":1')).replace("billing.a", "billing..a"), "invalid_subject"),
        (pub(header('"content":1')).replace("billing.a", "billing.>"), "invalid_subject"),
        (pub(header('"content":1')).replace('"id":5', '"id":-5'), "invalid"),
        ('{"op":"pub","subject":"billing.a"}', "invalid"),
        ('{"op":"pub","subject":"billing.a","message":', "malformed"),
        ('{"op":"sub","id":1,"subject":"a..b"}', "invalid_subject"),
        ('{"op":"sub","id":1,"subject":"a","topic":"b"}', "invalid"),
        ('{"op":"sub","id":1,"subject":"a","query":"b"}', "invalid"),
        ('{"op":"sub","id":1,"subject":"a","at":1}', "invalid"),
        ('{"op":"sub","id":1,"stream":"a","queue":"b"}', "invalid"),
        ('{"op":"sub","id":1,"stream":"a","since":1,"at":1}', "invalid"),
        ('{"op":"sub","id":1,"subject":"a","policy":"patience"}', "invalid"),
        ('{"op":"sub","id":1}', "invalid"),
        ('{"op":"credit","id":1,"more":1}', "invalid"),
        ('{"op":"ack","id":1,"sequences":[1]}', "invalid"),
        ('{"op":"ack","id":1,"sequences":[]}', "invalid"),
        ('{"op":"consume","id":1,"stream":"a","consumer":"b","settings":{"ack_wait":1e-6}}', "invalid"),
        ('{"op":"unsub","id":1}', "invalid"),
        (b"TKB", "malformed_message"),
        (b"TKB" + b"\xff" * 100, "malformed_message"),
        (b"\xff\xfe", "malformed"),
    ],
)
async def test_what_cannot_be_done_is_answered_and_the_socket_goes_on(
    bus: Any, people: Any, frame: str | bytes, code: str
) -> None:
    peer = bus.connect(people.billing)

    error = await peer.ask(frame)

    assert (error["t"], error["code"]) == ("error", code)
    assert error["detail"]
    assert error.get("id") == (5 if '"id":5' in str(frame) else error.get("id"))
    assert await peer.alive()


async def test_who_says_not_to_what_he_subscribes_is_told_that_that_is_missing(bus: Any, people: Any) -> None:
    error = await bus.connect(people.ada).ask(op="sub", id=16)

    assert (error["code"], error["detail"]) == ("invalid", "a topic, a subject or a stream is missing")


async def test_a_message_is_at_most_a_mebibyte(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news", batch=True)
    room = MAX_MESSAGE - len(message("ada", "").to_json())

    for content, number in (("x" * room, 1), ("x" * (room + 1), 2)):
        peer.publish("news", message("ada", content), id=number)
    refused = await peer.get(t="error")

    assert (refused["id"], refused["code"], refused["limit"]) == (2, "message_too_large", MAX_MESSAGE)
    assert len((await peer.get(t="batch"))[1]) == 1
    assert (await peer.get())["t"] == "published"
    assert await peer.alive()


async def test_an_operation_that_publishes_nothing_is_at_most_64_kib(bus: Any, people: Any) -> None:
    peer = bus.connect(people.ada)

    error = await peer.ask('{"op":"ping"}' + " " * sockets.MAX_MESSAGE)

    assert (error["code"], error["limit"]) == ("too_large", sockets.MAX_MESSAGE)
    assert await peer.alive()


@pytest.mark.parametrize("frame", ["x" * (sockets.MAX_PUBLISHED + 1), b"TKB" + bytes(sockets.MAX_PUBLISHED)])
async def test_what_is_larger_than_any_message_ends_the_socket(bus: Any, people: Any, frame: str | bytes) -> None:
    peer = bus.connect(people.ada)

    assert (await peer.ask(frame))["code"] == "too_large"
    bye = await peer.get()

    assert (bye["op"], bye["reason"]) == ("bye", "message too large")


# Limits


async def test_a_socket_has_so_many_subscriptions_and_a_principal_so_many(bus: Any, people: Any) -> None:
    first, second = bus.connect(people.ada), bus.connect(people.ada)
    object.__setattr__(bus.port, "patterns", Shares(session.MAX_SUBSCRIPTIONS + 1))
    for number in range(session.MAX_SUBSCRIPTIONS):
        await first.subscribe(number, subject=f"news.{number}")

    refused = await first.ask(op="sub", id=99, subject="news.>")
    await second.subscribe(1, subject="news.>")
    also = await second.ask(op="sub", id=2, subject="news.>")
    first.say(op="unsub", id=0)
    assert await first.alive()
    await second.subscribe(2, subject="news.>")

    assert (refused["code"], refused["limit"]) == ("too_many_subscriptions", session.MAX_SUBSCRIPTIONS)
    assert also["code"] == "too_many_subscriptions"


async def test_an_id_is_in_use_until_it_is_unsubscribed_and_nothing_comes_then(
    bus: Any, people: Any, message: Make
) -> None:
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news")

    assert (await peer.ask(op="sub", id=1, subject="other"))["code"] == "invalid"
    peer.say(op="unsub", id=1)
    assert await peer.alive()
    await bus.bus.publish("news", message("ada"))
    assert await peer.alive()
    await peer.subscribe(subject="news")


@pytest.mark.parametrize("operation", [{"op": "sub", "subject": "news"}, {"op": "consume", "consumer": "billing"}])
async def test_the_id_of_a_topic_is_in_use_for_the_bus_too(
    bus: Any, people: Any, monkeypatch: pytest.MonkeyPatch, operation: dict[str, Any]
) -> None:
    """A consumption took it, and unsubscribing ended only one of the two."""

    async def topic(*_: object) -> AsyncGenerator[str, None]:
        await asyncio.Event().wait()
        yield ""

    monkeypatch.setattr(TopicTable, "permission", lambda *_: "components:read")
    monkeypatch.setattr(TopicTable, "open", topic)
    peer = bus.connect(people.ada)
    peer.say(op="sub", id=5, topic="components")

    refused = await peer.ask(**{"id": 5, "stream": "dead_letters"} | operation)

    assert (refused["t"], refused["code"], refused["detail"]) == ("error", "invalid", "5 is in use")


async def test_what_is_unsubscribed_before_it_has_begun_leaves_nothing(bus: Any, people: Any) -> None:
    peer = bus.connect(people.ada)

    for number in range(20):
        peer.say(op="sub", id=number, subject="news")
        peer.say(op="unsub", id=number)
    peer.say(op="ping")
    await peer.get(t="pong")

    assert (bus.live.tally.subscriptions, len(bus.port.patterns)) == (0, 0)


async def test_who_leaves_is_forgotten(bus: Any, people: Any) -> None:
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news")
    await peer.subscribe(2, stream="dead_letters")

    await bus.leave(peer)

    assert (bus.live.tally.subscriptions, len(bus.port.patterns)) == (0, 0)


async def test_what_is_published_behind_a_batch_that_waits_for_the_disk_comes_behind_it(
    bus: Any, people: Any, message: Make
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    ann, ada = bus.connect(people.mona), bus.connect(people.ada)
    await ann.subscribe(subject="news")
    kept = Envelope("orders.new", message("ada"))

    ada.say(Envelope.pack(1, [kept, Envelope("news", message("ada", 0))]))
    ada.publish("news", message("ada", 1), id=2)
    ada.say(Envelope.pack(3, [Envelope("news", message("ada", 2))]))
    ada.say(Envelope.pack(4, [kept]))
    ada.publish("news", message("ada", 3), id=5)

    assert [(await ann.get(1))["message"]["content"] for _ in range(4)] == [0, 1, 2, 3]
    assert [(await ada.get(number))["t"] for number in range(1, 6)] == ["published"] * 5


async def test_who_may_publish_nothing_takes_nothing_away_from_a_queue_group(bus: Any, people: Any) -> None:
    peer = bus.connect(people.mona)

    answer = await peer.ask(op="sub", id=1, subject="orders.>", queue="workers")

    assert answer["code"] == "forbidden"
    assert [(one.action, one.subject) for one in bus.refusals] == [("message.subscribe", "orders.>")]
    assert await peer.alive()


async def test_a_defect_in_publishing_ends_the_socket_instead_of_leaving_it_without_answers(
    bus: Any, people: Any, message: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("here")

    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    monkeypatch.setattr(bus.bus, "publish_many", broken)
    peer = bus.connect(people.ada)

    peer.publish("orders.new", message("ada"), id=1)

    assert (await peer.get())["reason"] == "error"
    assert "ZeroDivisionError: here" in caplog.text


async def test_who_does_not_keep_up_is_told_and_cut(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news")
    peer.reading = False
    one = message("ada", "x" * 10_000)

    for _ in range(400):
        await bus.bus.publish("news", one)
        await asyncio.sleep(0)
    queued = sum(len(data) for data, _ in peer.held)
    peer.read()
    while (frame := await peer.get())["t"] == "msg":
        pass
    bye = await peer.get()

    assert queued < 2**20
    assert (frame["id"], frame["t"], frame["code"]) == (1, "error", "slow_consumer")
    assert (bye["op"], bye["reason"]) == ("bye", "slow consumer")


async def test_who_lets_the_oldest_drop_is_told_how_many_they_were(bus: Any, people: Any, message: Make) -> None:
    peer = bus.connect(people.ada)
    begun = await peer.subscribe(subject="news", policy="drop_oldest")
    peer.reading = False
    for _ in range(3000):
        await bus.bus.publish("news", message("ada"))
    await asyncio.sleep(0)
    peer.read()

    last, lost, got = begun["sequence"], 0, 0
    while last < bus.live.sequence:
        frame = await peer.get()
        if frame["t"] == "gap":
            lost += frame["lost"]
        else:
            got, last = got + 1, frame["sequence"]

    assert lost >= 1000
    assert lost + got == 3000


async def test_who_reads_nothing_at_all_is_cut(
    bus: Any, people: Any, message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "STALL_TIMEOUT", 0.01)
    peer = bus.connect(people.ada)
    await peer.subscribe(subject="news")
    peer.reading = False

    for _ in range(20):
        await bus.bus.publish("news", message("ada"))

    async with asyncio.timeout(5):
        await bus.sessions[peer]
    assert bus.live.tally.subscriptions == 0


async def test_who_publishes_faster_than_the_disk_is_read_from_no_more(
    bus: Any, people: Any, message: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.bus.create_stream("orders", StreamSettings(("orders.>",)))
    peer = bus.connect(people.ada)
    monkeypatch.setattr("tekton.gateway.bus.publisher.MAX_WAITING", 4)
    peer.reading = False

    for number in range(50):
        peer.publish("orders.new", message("ada", number), id=number)
    for _ in range(200):
        await asyncio.sleep(0)
    left = peer.incoming.qsize()
    peer.read()
    receipts = [await peer.get() for _ in range(50)]

    assert left > 30
    assert [receipt["id"] for receipt in receipts] == list(range(50))
