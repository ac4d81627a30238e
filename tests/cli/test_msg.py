"""The verb msg, against a double, and for what needs the socket against a control plane in memory."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tekton.bus.bus import StreamSettings
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message

AT = 1_700_000_000.0
STREAM = {
    "name": "orders",
    "subjects": ["orders.>"],
    "messages": 12,
    "size": 4096,
    "first": 1,
    "last": 12,
    "consumers": [
        {"name": "billing", "waiting": 3, "waiting_more": True},
        {"name": "audit", "waiting": 1, "waiting_more": False},
    ],
}
OLD = {
    "message_id": "01234567-89ab-7def-8123-456789abcdef",
    "message_type": "command",
    "context": {"sender": "shop", "recipient": "billing", "trace_id": "f" * 32, "hops": 2},
    "metadata": {"priority": 1},
    "content": {"amount": 3},
}
LETTER = {
    "sequence": 17,
    "time": AT,
    "subject": "tekton.dead.orders",
    "reply": None,
    "message": {
        "content": {
            "subject": "orders.new",
            "stream": "orders",
            "consumer": "billing",
            "sequence": 5,
            "attempts": 5,
            "reason": "no such\x1b[31m customer",
            "message": OLD,
        }
    },
}


def consumer(name: str, **members: Any) -> dict[str, Any]:
    """A consumer, as the API shows it."""
    settings = {"filter": ">", "ack_wait": 30.0, "max_deliver": 5, "backoff": [0.0, 1.5], "max_in_flight": 256}
    counts = {"acknowledged": 7, "in_flight": 1, "waiting": 4, "redelivered": 2, "dead_letters": 3, "lost": 5}
    return {"name": name, **settings, **counts, "owner": None, "waiting_more": False, **members}


class TestSend:
    @pytest.fixture
    def receipt(self, plane: Any) -> None:
        plane.answers["POST /api/messages"] = (201, {"sequence": 17, "stream": "orders", "duplicate": False})

    @pytest.mark.usefixtures("receipt")
    @pytest.mark.parametrize(
        ("given", "content"),
        [('{"amount": 3}', {"amount": 3}), ("3", 3), ("hello, you", "hello, you"), ('"3"', "3")],
    )
    def test_content_is_json_or_else_a_text(self, tekton: Any, plane: Any, given: str, content: Any) -> None:
        result = tekton("msg", "send", "orders.new", given)

        assert (result.exit_code, result.stdout) == (0, "orders 17\n")
        assert plane.bodies[-1] == {"message_type": "event", "content": content}

    @pytest.mark.usefixtures("receipt")
    def test_it_comes_from_stdin_or_a_file_or_there_is_none(self, tekton: Any, plane: Any, tmp_path: Path) -> None:
        file = tmp_path / "content.json"
        file.write_text("[1]")

        tekton("msg", "send", "orders.new", "-", input="[2]")
        tekton("msg", "send", "orders.new", "--file", str(file))
        tekton("msg", "send", "orders.new")

        assert [body["content"] for body in plane.bodies] == [[2], [1], None]

    @pytest.mark.usefixtures("receipt")
    def test_type_and_reply_can_be_said(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "send", "orders.new", "1", "--type", "command", "--reply", "shop.answers", "--json")

        assert json.loads(result.stdout) == {"sequence": 17, "stream": "orders", "duplicate": False}
        assert plane.bodies[-1]["message_type"] == "command"
        assert "reply=shop.answers" in str(plane.requests[-1])

    def test_what_no_stream_takes_has_a_number_alone(self, tekton: Any, plane: Any) -> None:
        plane.answers["POST /api/messages"] = (201, {"sequence": 8, "stream": None, "duplicate": False})

        assert tekton("msg", "send", "memory.updated").stdout == "8\n"

    def test_the_content_is_given_once(self, tekton: Any, tmp_path: Path) -> None:
        assert tekton("msg", "send", "a", "1", "--file", str(tmp_path / "x")).exit_code == 2
        assert (
            "x: cannot be read: No such file or directory\n"
            in tekton("msg", "send", "a", "--file", str(tmp_path / "x")).stderr
        )

    @pytest.mark.usefixtures("receipt")
    def test_what_looks_like_json_and_is_none_goes_as_a_text_and_is_told_of(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "send", "orders.new", '{"amount": ')

        assert plane.bodies[-1]["content"] == '{"amount": '
        assert "warning: this is no JSON, and goes as a text: " in result.stderr
        assert tekton("msg", "send", "orders.new", "NaN").stderr == ""
        assert plane.bodies[-1]["content"] == "NaN"

    @pytest.mark.usefixtures("receipt")
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"a": {"b": 1, "b": 2}}', "the member 'b' twice"),
            ("[" * 200_000, "nested too deep"),
            ("[1e400]", "a number that is too large: 1e400"),
            ('{"a": 18446744073709551616}', "an integer of more than 64 bits: 18446744073709551616"),
            (f"-{'9' * 5000}", f"an integer of more than 64 bits: -{'9' * 39}…"),
        ],
        ids=["a member twice", "too deep", "a large number", "a large integer", "a larger one"],
    )
    def test_what_two_readers_could_understand_differently_is_not_sent(
        self, tekton: Any, plane: Any, content: str, problem: str
    ) -> None:
        result = tekton("msg", "send", "orders.new", "-", input=content)

        assert (result.exit_code, problem in result.stderr, plane.bodies) == (2, True, [])

    @pytest.mark.usefixtures("receipt")
    @pytest.mark.parametrize("number", ["18446744073709551615", "-9223372036854775808", "-1.5e300"])
    def test_the_largest_numbers_are_sent(self, tekton: Any, plane: Any, number: str) -> None:
        assert tekton("msg", "send", "orders.new", "--", number).exit_code == 0
        assert plane.bodies[-1]["content"] == json.loads(number)

    def test_a_number_below_zero_stands_behind_two_dashes(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "send", "orders.new", "-1")

        assert (result.exit_code, plane.bodies) == (2, [])
        assert "help: a number below zero stands behind --, as the last word: tekton msg send … -- -1" in result.stderr
        assert "help: tekton msg send --help" in tekton("msg", "send", "orders.new", "-x").stderr

    @pytest.mark.parametrize("verb", ["send", "request"])
    def test_an_empty_subject_is_no_subject(self, tekton: Any, plane: Any, verb: str) -> None:
        result = tekton("msg", verb, "")

        assert (result.exit_code, plane.bodies) == (2, [])
        assert "error[invalid_subject]: '' is no subject: it is empty" in result.stderr

    def test_a_refusal_says_what_to_do(self, tekton: Any, plane: Any, double: Any) -> None:
        plane.answers["POST /api/messages"] = double.problem(
            422, "invalid_subject", "'a..b' is no subject", subject="a..b", problem="is no subject", hint="tokens"
        )

        result = tekton("msg", "send", "a..b")

        assert result.exit_code != 0
        assert (result.stdout, "'a..b' is no subject" in result.stderr) == ("", True)


class TestRequest:
    def answer(self, plane: Any, kind: str, content: Any) -> None:
        plane.answers["POST /api/requests"] = (200, {**OLD, "message_type": kind, "content": content})

    def test_the_content_of_the_answer_is_printed(self, tekton: Any, plane: Any) -> None:
        self.answer(plane, "response", {"found": 2})

        result = tekton("msg", "request", "engram.requests.search", "tekton", "--timeout", "3s")

        assert json.loads(result.stdout) == {"found": 2}
        assert plane.bodies[-1] == {"message_type": "request", "content": "tekton"}
        assert "timeout=3.0" in str(plane.requests[-1])

    @pytest.mark.parametrize("timeout", ["2m", "0", "61s"])
    def test_nobody_waits_for_longer_than_the_control_plane(self, tekton: Any, plane: Any, timeout: str) -> None:
        result = tekton("msg", "request", "a.requests.b", "--timeout", timeout)

        assert (result.exit_code, plane.bodies) == (2, [])
        assert "more than nothing, and at most 1m" in result.stderr

    def test_a_text_as_it_is_and_the_message_as_a_whole(self, tekton: Any, plane: Any) -> None:
        self.answer(plane, "response", "two lines\nof text")

        assert tekton("msg", "request", "a.requests.b", "-r").stdout == "two lines\nof text\n"
        assert json.loads(tekton("msg", "request", "a.requests.b", "-o", "json").stdout)["message_type"] == "response"

    def test_an_answer_that_says_what_failed_is_an_error(self, tekton: Any, plane: Any) -> None:
        self.answer(plane, "error", {"code": "component_not_found", "detail": "no component x", "component_id": "x"})

        result = tekton("msg", "request", "a.requests.b")

        assert (result.exit_code, result.stdout) == (5, "")
        assert "no component" in result.stderr

    def test_of_a_defect_is_said_whose_log_tells_more(self, tekton: Any, plane: Any) -> None:
        self.answer(plane, "error", {"code": "internal", "detail": "an error on our side; the log has the details"})

        result = tekton("msg", "request", "a.requests.b")

        assert f"tekton logs {OLD['context']['sender']}" in result.stderr


def test_streams_are_listed_with_who_is_behind(tekton: Any, plane: Any) -> None:
    plane.answers["GET /api/streams"] = (200, {"items": [STREAM]})

    heading, row = tekton("msg", "streams").stdout.splitlines()

    assert heading.split() == ["STREAM", "MESSAGES", "SIZE", "WAITING", "CONSUMERS", "SUBJECTS"]
    assert row.split()[0] == "orders"
    assert row.split()[-3:] == ["4+", "billing,audit", "orders.>"]
    assert tekton("msg", "streams", "-o", "name").stdout == "orders\n"
    assert json.loads(tekton("msg", "streams", "--json").stdout) == {"items": [STREAM]}
    assert tekton("msg", "streams", "-o", "template={name} {messages} {subjects}").stdout == "orders 12 orders.>\n"


class TestConsumers:
    @pytest.fixture(autouse=True)
    def streams(self, plane: Any) -> None:
        mail = {**STREAM, "name": "mail", "consumers": [consumer("postman", waiting=10_000, waiting_more=True)]}
        orders = {**STREAM, "consumers": [consumer("audit"), consumer("billing", owner="billing", filter="orders.new")]}
        plane.answers["GET /api/streams"] = (200, {"items": [mail, orders]})
        plane.answers["GET /api/streams/orders"] = (200, orders)
        plane.answers["DELETE /api/streams/orders/consumers/billing"] = (200, orders["consumers"][1])

    def test_those_of_all_streams_are_listed_with_how_far_they_are(self, tekton: Any) -> None:
        heading, *rows = tekton("msg", "consumer", "ls").stdout.splitlines()

        assert heading.split() == [
            "STREAM",
            "CONSUMER",
            "OWNER",
            "WAITING",
            "IN",
            "FLIGHT",
            "AGAIN",
            "DEAD",
            "LOST",
            "FILTER",
        ]
        assert [row.split() for row in rows] == [
            ["mail", "postman", "-", "10000+", "1", "2", "3", "5", ">"],
            ["orders", "audit", "-", "4", "1", "2", "3", "5", ">"],
            ["orders", "billing", "billing", "4", "1", "2", "3", "5", "orders.new"],
        ]

    def test_those_of_one_stream_can_be_had_alone(self, tekton: Any) -> None:
        assert tekton("msg", "consumer", "ls", "orders", "-o", "name").stdout == "orders/audit\norders/billing\n"
        template = "template={stream} {name} {owner}"
        assert tekton("msg", "consumer", "ls", "-o", template).stdout.splitlines()[2] == "orders billing billing"

    def test_one_is_shown_with_how_it_is_served(self, tekton: Any) -> None:
        shown = tekton("msg", "consumer", "show", "orders", "billing").stdout

        assert shown == (
            "orders/billing  orders.new\n"
            "belongs to billing\n"
            "done up to 7, 1 handed out, 4 waiting\n"
            "handed out again 2 times, given up 3, lost 5\n"
            "each has 30 s, up to 5 times, with 0, 1.5 s between\n"
            "up to 256 are handed out at the same time\n"
        )
        whole = json.loads(tekton("msg", "consumer", "show", "orders", "billing", "--json").stdout)
        assert whole == {"stream": "orders", **consumer("billing", owner="billing", filter="orders.new")}

    def test_one_that_is_not_there_is_not_shown(self, tekton: Any) -> None:
        result = tekton("msg", "consumer", "show", "orders", "nobody")

        assert result.exit_code == 5
        assert "help: tekton msg consumer ls" in result.stderr

    @pytest.mark.parametrize("verb", ["show", "rm"])
    def test_the_nearest_to_one_that_is_not_there_is_named(
        self, tekton: Any, plane: Any, double: Any, verb: str
    ) -> None:
        plane.answers["DELETE /api/streams/orders/consumers/biling"] = double.problem(
            404, "consumer_not_found", "there is none", stream="orders", consumer="biling"
        )

        result = tekton("msg", "consumer", verb, "orders/biling")

        assert result.exit_code == 5
        assert "the stream orders has no consumer 'biling'\nhelp: did you mean 'billing'?" in result.stderr

    def test_which_one_is_meant_is_said(self, tekton: Any) -> None:
        result = tekton("msg", "consumer", "rm", "orders")

        assert result.exit_code == 2
        assert "which consumer? Write STREAM CONSUMER, or STREAM/CONSUMER" in result.stderr

    def test_one_can_be_forgotten(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "consumer", "rm", "orders", "billing")

        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == "orders/billing  forgotten\n"
        assert tekton("msg", "consumer", "rm", "orders/billing").stderr == "orders/billing  forgotten\n"
        assert "DELETE" in str(plane.requests[-1])


class TestDead:
    @pytest.fixture(autouse=True)
    def letters(self, plane: Any) -> None:
        plane.answers["GET /api/streams/dead_letters/messages"] = (200, {"items": [LETTER], "next": None})
        plane.answers["POST /api/messages"] = (201, {"sequence": 18, "stream": "orders", "duplicate": False})

    def test_dead_letters_are_listed_with_the_reason(self, tekton: Any) -> None:
        _, row = tekton("msg", "dead", "ls").stdout.splitlines()

        assert row.split()[0] == "17"
        assert row.endswith("orders  orders.new  billing          5  no such [31m customer")

    def test_those_of_one_stream_are_asked_for(self, tekton: Any, plane: Any) -> None:
        [letter] = [
            json.loads(line)
            for line in tekton("msg", "dead", "ls", "--stream", "orders", "-o", "jsonl").stdout.splitlines()
        ]

        assert (letter["sequence"], letter["attempts"], letter["message"]) == (17, 5, OLD)
        assert "tekton.dead.orders" in str(plane.requests[-1])

    def test_of_a_stream_that_is_not_there_and_has_none_is_said_that_it_is_not_there(
        self, tekton: Any, plane: Any, double: Any
    ) -> None:
        plane.answers["GET /api/streams/dead_letters/messages"] = (200, {"items": [], "next": None})
        plane.answers["GET /api/streams/orders"] = (200, STREAM)
        plane.answers["GET /api/streams/ordrs"] = double.problem(
            404, "stream_not_found", "there is none", stream="ordrs", nearest="orders"
        )

        result = tekton("msg", "dead", "ls", "--stream", "ordrs")

        assert (result.exit_code, result.stdout) == (5, "")
        assert "there is none\nhelp: did you mean 'orders'?" in result.stderr
        assert tekton("msg", "dead", "ls", "--stream", "orders").exit_code == 0

    @pytest.mark.parametrize("word", ["x", "0", "-", "1.5", "\u0663"])
    def test_what_is_no_number_of_a_letter_is_refused(self, tekton: Any, plane: Any, word: str) -> None:
        result = tekton("msg", "dead", "resend", word)

        assert (result.exit_code, plane.bodies) == (2, [])
        assert f"{word!r} is not the number of a dead letter; tekton msg dead ls shows them" in result.stderr

    def test_what_is_sent_again_is_a_new_message_of_the_same_content(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "dead", "resend", "17")

        assert result.stdout == "orders 18\n"
        assert plane.bodies[-1] == {
            "message_type": "command",
            "content": {"amount": 3},
            "metadata": {"priority": 1},
            "context": {"recipient": "billing", "trace_id": "f" * 32},
        }
        assert "subject=orders.new" in str(plane.requests[-1])

    def test_one_that_may_not_be_read_is_listed_and_not_sent(self, tekton: Any, plane: Any) -> None:
        content = LETTER["message"]["content"] | {"message": None, "withheld": True}
        page = {"items": [LETTER | {"message": {"content": content}}], "next": None}
        plane.answers["GET /api/streams/dead_letters/messages"] = (200, page)

        listed = tekton("msg", "dead", "ls", "-o", "jsonl")
        result = tekton("msg", "dead", "resend", "17")

        assert json.loads(listed.stdout)["withheld"] is True
        assert (result.exit_code, plane.bodies) == (2, [])
        assert "the message of dead letter 17 is not yours to read: it was published to orders.new" in result.stderr

    def test_one_that_is_not_there_is_not_sent(self, tekton: Any, plane: Any) -> None:
        result = tekton("msg", "dead", "resend", "16")

        assert result.exit_code == 5
        assert "error[dead_letter_not_found]: there is no dead letter 16" in result.stderr
        assert plane.bodies == []


def publish(memory: Any, subject: str, *contents: Any) -> None:
    """Have *contents* published in the control plane."""

    async def publish() -> None:
        for content in contents:
            await memory.plane.bus.publish(subject, Message("event", content, MessageContext("shop")))

    memory.do(publish)


class TestWatch:
    @pytest.fixture
    def watch(self, as_somebody: Any) -> Any:
        """`watch(*arguments)`: as an operator."""
        tekton = as_somebody("ada", "operator")
        return lambda *arguments: tekton("msg", "watch", *arguments)

    def test_what_a_stream_has_is_shown(self, memory: Any, watch: Any) -> None:
        memory.do(lambda: memory.plane.bus.create_stream("orders", StreamSettings(("orders.>",))))
        publish(memory, "orders.new", 1, "two\x1b[31m", {"three": 3})

        text = watch(">", "--stream", "orders", "-n", "3").stdout.splitlines()
        behind = watch("orders.*", "--stream", "orders", "--after", "2", "-n", "1", "-o", "jsonl").stdout
        recent = watch(">", "--stream", "orders", "--since", "1h", "-n", "2", "-o", "json").stdout
        template = watch(">", "--stream", "orders", "-n", "1", "-o", "template={subject} {sequence}").stdout
        inside = "template={message.context.sender}: {message.content} {message.metadata}"
        contents = watch(">", "--stream", "orders", "-n", "3", "-o", inside).stdout

        assert [line.split("  ", 1)[1] for line in text] == [
            "orders.new  event from shop  1",
            'orders.new  event from shop  "two\\u001b[31m"',
            'orders.new  event from shop  {"three": 3}',
        ]
        assert json.loads(behind)["message"]["content"] == {"three": 3}
        assert [one["sequence"] for one in json.loads(recent)["messages"]] == [1, 2]
        assert template == "orders.new 1\n"
        assert contents.splitlines() == ["shop: 1 -", "shop: two [31m -", 'shop: {"three": 3} -']

    def test_what_is_published_is_shown_as_it_comes(self, memory: Any, watch: Any) -> None:
        def talk() -> None:
            while not memory.plane.bus.live.answered("memory.updated") and not ended.wait(0.01):
                pass
            publish(memory, "memory.updated", 1)

        ended = threading.Event()
        publishing = threading.Thread(target=talk)
        publishing.start()
        try:
            result = watch("memory.>", "-n", "1", "--queue", "watchers")
        finally:
            ended.set()
            publishing.join()

        assert result.stdout.endswith("memory.updated  event from shop  1\n")

    def test_a_stream_that_is_not_there_is_an_error(self, watch: Any) -> None:
        result = watch(">", "--stream", "nothing")

        assert result.exit_code == 5
        assert "there is no stream 'nothing'" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["-o", "json"], "-n"),
            (["--since", "1h"], "--stream"),
            (["--stream", "a", "--queue", "b"], "--queue"),
            (["--stream", "a", "--since", "1h", "--after", "3"], "--after"),
        ],
        ids=["endless", "since", "queue", "twice"],
    )
    def test_what_means_nothing_together_is_refused(self, tekton: Any, arguments: list[str], problem: str) -> None:
        result = tekton("msg", "watch", ">", *arguments)

        assert result.exit_code == 2
        assert problem in result.stderr
