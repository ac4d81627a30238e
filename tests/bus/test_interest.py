"""Interest: is there anybody who listens, and who is told when that changes."""

import logging

import pytest

from tekton.bus.envelope import Envelope
from tekton.bus.interest import Interest, is_request, is_reserved, is_wild, share_subjects
from tekton.bus.live import LiveBus
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message, MessageType
from tekton.testing import ManualClock


@pytest.mark.parametrize(
    ("pattern", "other", "expected"),
    [
        ("a.>", "a.*.b", True),
        ("a.*", "*.b", True),
        ("a.*", "a.b.c", False),
        (">", "a", True),
        (">", "tekton.metrics", False),
        ("*.metrics", "tekton.metrics", False),
        ("tekton.>", "tekton.metrics", True),
        (">", "_inbox.a.>", False),
        (">", ">", True),
        ("a.>", "a.requests.b", False),
        ("*.requests.>", "a.requests.b", True),
        ("a.requests.>", "a.requests.*", True),
        ("a.requests", "a.*", True),
    ],
)
def test_patterns_share_subjects_or_not(pattern: str, other: str, expected: bool) -> None:
    assert share_subjects(pattern, other) is expected
    assert share_subjects(other, pattern) is expected


def test_what_is_no_pattern_is_an_error() -> None:
    with pytest.raises(ValueError, match="pattern"):
        share_subjects("a..b", "a")


def test_what_has_to_be_named() -> None:
    assert [is_wild(pattern) for pattern in (">", "*.a", "a.>")] == [True, True, False]
    assert [is_reserved(pattern) for pattern in ("tekton.a", "_inbox", "tektonic.a", ">")] == [True, True, False, False]
    requests = ("a.requests.b", "*.requests.>", "a.requests", "a.b.requests", "_inbox.requests.a", "a.*.b")
    assert [is_request(pattern) for pattern in requests] == [True, True, False, False, False, False]


async def test_somebody_who_listens_makes_it_wanted() -> None:
    live = LiveBus(ManualClock())
    assert not live.interest.wanted("tekton.logs.engram")

    async with live.subscribe("tekton.logs.*"), live.subscribe("tekton.logs.*"):
        assert live.interest.wanted("tekton.logs.engram")
        assert live.interest.wanted("tekton.>")
        assert not live.interest.wanted("tekton.metrics")
    assert not live.interest.wanted("tekton.logs.engram")


async def test_a_watcher_is_told_when_the_first_comes_and_when_the_last_has_gone() -> None:
    live = LiveBus(ManualClock())
    told: list[bool] = []
    stop = live.interest.watch("tekton.logs.>", told.append)

    one, other, same = map(live.subscribe, ("tekton.logs.a", "tekton.>", "tekton.>"))
    live.subscribe("tekton.metrics")
    live.subscribe(">")
    assert told == [True]
    await one.close()
    await other.close()
    assert told == [True]
    await same.close()
    assert told == [True, False]
    stop()
    stop()
    live.subscribe("tekton.logs.a")
    assert told == [True, False]


async def test_who_begins_to_watch_later_counts_those_who_listen_already() -> None:
    live = LiveBus(ManualClock())
    listening = live.subscribe("tekton.metrics")
    told: list[bool] = []
    live.interest.watch("tekton.*", told.append)
    live.subscribe("tekton.resources")
    assert told == []

    await listening.close()
    assert told == []


async def test_who_was_cut_listens_no_more() -> None:
    live = LiveBus(ManualClock())
    told: list[bool] = []
    live.interest.watch("a", told.append)
    live.subscribe("a")
    message = Message(MessageType.EVENT, None, MessageContext("a"))
    for _ in range(10):
        live.deliver([Envelope("a", message)] * 128)

    assert told == [True, False]


def test_a_watcher_that_fails_is_reported_and_keeps_nobody_from_hearing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: bool) -> None:
        raise RuntimeError("no")

    interest = Interest()
    told: list[bool] = []
    interest.watch("a", fail)
    interest.watch("a", told.append)
    with caplog.at_level(logging.ERROR, "tekton.bus"):
        interest.begin("a")

    assert told == [True]
    assert "interest in a failed" in caplog.text


def test_watching_what_is_no_pattern_is_an_error() -> None:
    interest = Interest()
    interest.begin("a")
    with pytest.raises(ValueError, match="pattern"):
        interest.watch("a..b", print)
    with pytest.raises(ValueError, match="pattern"):
        interest.wanted("")
