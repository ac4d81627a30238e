"""What every store of streams promises, on the store in memory and on the one in a file."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from tekton.bus.bus import ConsumerSettings, StreamSettings
from tekton.bus.envelope import Envelope
from tekton.bus.streams import recent_ids
from tekton.bus.streams.memory_store import MemoryStreamStore
from tekton.bus.streams.sqlite_store import SqliteStreamStore
from tekton.bus.streams.store import Batch, Placed, Progress, Put, StreamState, StreamStore
from tekton.mcp.context import MessageContext
from tekton.mcp.message import Message
from tekton.utils.tekton_errors import StreamNotFoundError

NOW = 1_700_000_000.0
ALL = StreamSettings(("orders.>",))
SENDER = MessageContext("ann")

Reopen = Callable[[], StreamStore]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the same store once more; what was opened before is closed."""
    memory = MemoryStreamStore()
    opened: list[StreamStore] = []

    def again() -> StreamStore:
        for one in opened:
            one.close()
        store = memory if request.param == "memory" else SqliteStreamStore(tmp_path / "bus.db", reserve_bytes=0)
        opened.append(store)
        return store

    yield again
    for one in opened:
        one.close()


@pytest.fixture
def store(reopen: Reopen) -> StreamStore:
    """An open store with the stream "orders"."""
    store = reopen()
    store.open()
    store.put_stream("orders", ALL, NOW)
    return store


def put(content: object, subject: str = "orders.new", at: float = NOW, stream: str = "orders") -> Put:
    message = Message("event", content, SENDER)
    return Put(stream, Envelope(subject, message, "answers"), message.to_json(), at)


def add(store: StreamStore, *contents: object, at: float = NOW, subject: str = "orders.new") -> list[int]:
    committed = store.commit(Batch([put(content, subject, at) for content in contents]), at)
    return [one.sequence for one in committed.placed]


def contents(store: StreamStore, after: int = 0, pattern: str = ">", stream: str = "orders") -> list[object]:
    found: list[object] = []
    while True:
        page = store.read(stream, after, pattern, 3, 1 << 20)
        found += [one.message.content for one in page.envelopes]
        if page.through == after:
            return found
        assert page.through > after
        after = page.through


# Numbers


def test_messages_are_numbered_from_one_on_in_order_and_come_out_as_they_went_in(store: StreamStore) -> None:
    puts = [put({"text": "täxt " * number}, f"orders.{number}", NOW + number / 7) for number in range(5)]

    committed = store.commit(Batch(puts), NOW)

    assert committed.placed == [Placed(number, duplicate=False) for number in range(1, 6)]
    size = sum(len(one.body) for one in puts)
    assert committed.states == {"orders": StreamState(messages=5, size=size, last=5, dropped=0)}
    page = store.read("orders", 0, ">", 100, 1 << 20)
    assert (page.through, page.dropped) == (5, 0)
    for number, one in enumerate(page.envelopes):
        sent = puts[number].envelope
        assert (one.sequence, one.stream, one.subject, one.reply) == (number + 1, "orders", sent.subject, "answers")
        assert one.message == sent.message
        assert one.message.to_json() == puts[number].body
        assert one.time == pytest.approx(puts[number].at, abs=1e-6)


def test_streams_number_by_themselves_and_go_on_after_they_were_emptied(reopen: Reopen, store: StreamStore) -> None:
    store.put_stream("other", StreamSettings(("other",), max_messages=1), NOW)
    store.commit(Batch([put(1), put(2, "other", stream="other"), put(3), put(4, "other", stream="other")]), NOW)
    assert contents(store) == [1, 3]
    assert contents(store, stream="other") == [4]
    store.commit(Batch(removed=[("other", 2)]), NOW)

    again = reopen()
    loaded = {one.name: one.state for one in again.open()}

    assert (loaded["other"].messages, loaded["other"].size, loaded["other"].last) == (0, 0, 2)
    assert again.commit(Batch([put(5, "other", stream="other")]), NOW).placed == [Placed(3, duplicate=False)]


def test_what_was_stored_is_there_after_it_was_opened_again(reopen: Reopen, store: StreamStore) -> None:
    add(store, 1, 2)
    progress = Progress("orders", "billing", ConsumerSettings(ack_wait=1.5), 2, [(1, 3)], 4, 5, 6)
    store.commit(Batch(progress=[progress]), NOW)

    again = reopen()
    [loaded] = again.open()

    assert (loaded.name, loaded.settings, loaded.state.last) == ("orders", ALL, 2)
    [kept] = loaded.consumers
    assert kept._replace(pending=[tuple(one) for one in kept.pending]) == progress
    assert contents(again) == [1, 2]
    assert add(again, 3) == [3]


def test_a_consumer_is_kept_as_it_was_written_last_until_it_is_deleted(reopen: Reopen, store: StreamStore) -> None:
    first = Progress("orders", "billing", ConsumerSettings(), 0)
    store.commit(Batch(progress=[first, first._replace(consumer="other")]), NOW)
    store.commit(Batch([put(1)], [first._replace(cursor=1, pending=[(1, 1)])]), NOW)
    store.delete_consumer("orders", "other")

    [loaded] = reopen().open()

    assert [(one.consumer, one.cursor, [*map(tuple, one.pending)]) for one in loaded.consumers] == [
        ("billing", 1, [(1, 1)])
    ]


# Duplicates


def test_an_id_that_comes_again_has_the_number_of_the_first(reopen: Reopen, store: StreamStore) -> None:
    one, two = put(1), put(2)
    assert store.commit(Batch([one, two, one]), NOW).placed == [Placed(1, False), Placed(2, False), Placed(1, True)]
    assert store.commit(Batch([two]), NOW).placed == [Placed(2, True)]

    again = reopen()
    again.open()

    assert again.commit(Batch([two._replace(at=NOW + 119)]), NOW + 119).placed == [Placed(2, True)]
    assert contents(again) == [1, 2]


def test_an_id_that_comes_after_the_window_is_new(reopen: Reopen, store: StreamStore) -> None:
    one = put(1)
    store.commit(Batch([one]), NOW)

    assert store.commit(Batch([one._replace(at=NOW + 120)]), NOW + 120).placed == [Placed(2, False)]
    again = reopen()
    again.open()
    assert again.commit(Batch([one._replace(at=NOW + 241)]), NOW + 241).placed == [Placed(3, False)]


def test_an_id_is_known_even_when_its_message_is_gone(reopen: Reopen, store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=1), NOW)
    one, two, three = put(1), put(2), put(3)
    store.commit(Batch([one, two, three]), NOW)
    store.commit(Batch(removed=[("orders", 3)]), NOW)

    for _ in range(2):
        placed = store.commit(Batch([one, three]), NOW).placed
        assert placed == [Placed(1, True), Placed(3, True)]
        store = reopen()
        store.open()


def test_the_same_id_in_two_streams_is_two_messages(store: StreamStore) -> None:
    store.put_stream("other", StreamSettings(("other",)), NOW)
    one = put(1)

    placed = store.commit(Batch([one, one._replace(stream="other")]), NOW).placed

    assert placed == [Placed(1, False), Placed(1, False)]


def test_an_id_is_known_when_many_have_come_since(store: StreamStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_ids, "MOST", 4)
    puts = [put(number) for number in range(10)]
    for one in puts:
        store.commit(Batch([one]), NOW)

    placed = store.commit(Batch([puts[0], put("new"), puts[9], puts[3]]), NOW).placed

    assert placed == [Placed(1, True), Placed(11, False), Placed(10, True), Placed(4, True)]


# Limits


def test_the_oldest_go_when_there_are_too_many(reopen: Reopen, store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=3), NOW)
    add(store, 1, 2)

    state = store.commit(Batch([put(3), put(4), put(5)]), NOW).states["orders"]

    assert (state.messages, state.dropped) == (3, 2)
    page = store.read("orders", 0, ">", 10, 1 << 20)
    assert ([one.sequence for one in page.envelopes], page.dropped) == ([3, 4, 5], 2)
    [loaded] = reopen().open()
    assert loaded.state == state


def test_a_batch_may_be_larger_than_the_stream(store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=2), NOW)

    state = store.commit(Batch([put(number) for number in range(10)]), NOW).states["orders"]

    assert (state.messages, state.dropped, state.last) == (2, 8, 10)
    assert contents(store) == [8, 9]


def test_the_oldest_go_when_they_take_too_much(store: StreamStore) -> None:
    size = len(put("x" * 100).body)
    store.put_stream("orders", StreamSettings(("orders.>",), max_bytes=3 * size), NOW)

    for number in range(5):
        state = store.commit(Batch([put(f"{number}" * 100)]), NOW).states["orders"]
        assert state.size <= 3 * size

    assert contents(store) == [f"{number}" * 100 for number in (2, 3, 4)]


def test_what_is_too_old_goes_when_the_clock_can_be_trusted(store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_age=10), NOW)
    add(store, 1, at=NOW)
    add(store, 2, at=NOW + 5)

    assert store.tidy(NOW + 11, aged=False).states == {}
    assert store.tidy(NOW + 11, aged=True).states["orders"].dropped == 1
    assert contents(store) == [2]
    assert store.tidy(NOW + 15, aged=True).states["orders"].messages == 0
    assert contents(store) == []
    assert add(store, 3, at=NOW + 15) == [3]


def test_limits_that_are_lowered_hold_at_once(store: StreamStore) -> None:
    add(store, *range(1, 1001))

    state = store.put_stream("orders", StreamSettings(("orders.>",), max_messages=10), NOW)

    assert (state.messages, state.dropped) == (10, 990)
    assert contents(store) == list(range(991, 1001))
    assert store.first("orders") == 991
    while store.tidy(NOW, aged=False).more:
        pass
    assert contents(store) == list(range(991, 1001))


def test_what_is_done_with_is_gone_and_does_not_count(store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=3), NOW)
    add(store, 1, 2, 3)

    state = store.commit(Batch(removed=[("orders", 1), ("orders", 2), ("orders", 77)]), NOW).states["orders"]
    assert (state.messages, state.dropped) == (1, 0)
    assert contents(store) == [3]
    assert store.commit(Batch([put(4), put(5)], removed=[("orders", 3)]), NOW).states["orders"].messages == 2
    assert contents(store) == [4, 5]
    add(store, 6, 7)
    assert contents(store) == [5, 6, 7]
    assert store.first("orders") == 5


def test_the_limits_hold_whatever_is_added_and_done_with(store: StreamStore) -> None:
    rng = Random(7)
    kept: list[int] = []
    last = dropped = 0
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=20), NOW)
    for _ in range(150):
        removed = rng.sample(kept, min(len(kept), rng.choice((0, 0, 3))))
        added = list(range(last + 1, last + 1 + rng.choice((0, 1, 7, 30))))
        state = store.commit(Batch([put(one) for one in added], removed=[("orders", one) for one in removed]), NOW)

        kept = [one for one in [*kept, *added] if one not in removed]
        if len(kept) > 20:
            dropped, kept = kept[-21], kept[-20:]
        last += len(added)
        if state.states:
            assert (state.states["orders"].messages, state.states["orders"].dropped) == (len(kept), dropped)
        assert contents(store) == kept
        if rng.random() < 0.1:
            store.tidy(NOW, aged=True)


# Reading


def test_a_page_has_so_many_messages_and_bytes_but_one_at_least(store: StreamStore) -> None:
    add(store, *("x" * 1000 for _ in range(10)))
    size = store.read("orders", 0, ">", 1, 1 << 20).envelopes[0].message.to_json().__len__()

    def read(after: int, most: int, size: int) -> Sequence[int]:
        return [one.sequence for one in store.read("orders", after, ">", most, size).envelopes]

    assert read(0, 3, 1 << 20) == [1, 2, 3]
    assert read(8, 3, 1 << 20) == [9, 10]
    assert read(2, 10, 2 * size) == [3, 4]
    assert read(2, 10, 2 * size - 1) == [3]
    assert read(2, 10, 1) == [3]
    assert read(10, 10, 1) == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (">", [0, 1, 2, 3, 4, 5, 6]),
        ("orders.>", [0, 1, 2, 3, 4, 5, 6]),
        ("orders.*", [0, 1, 3, 4, 5]),
        ("orders.a", [0]),
        ("orders.*.b", [2]),
        ("orders.[a]", [3]),
        ("orders.?", [4]),
        ("orders.A", [5]),
        ("nothing", []),
    ],
)
def test_only_what_matches_is_read_and_counted(store: StreamStore, pattern: str, expected: list[int]) -> None:
    subjects = ["orders.a", "orders.b", "orders.a.b", "orders.[a]", "orders.?", "orders.A", "orders.a.b.c"]
    store.commit(Batch([put(number, subject) for number, subject in enumerate(subjects)]), NOW)

    assert contents(store, pattern=pattern) == expected
    assert store.count("orders", 0, pattern, 100) == len(expected)
    assert store.count("orders", 3, pattern, 100) == sum(one >= 3 for one in expected)
    assert store.count("orders", 1, pattern, 3) == sum(1 <= one < 4 for one in expected)


def test_what_each_subject_has_is_told_without_what_is_gone(store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=6), NOW)
    for number, subject in enumerate("aabcabcc"):
        add(store, "x" * number, subject=f"orders.{subject}")
    store.commit(Batch(removed=[("orders", 4)]), NOW)
    sizes = {one.sequence: one.size for one in store.read("orders", 0, ">", 100, 1 << 20).envelopes}

    assert sorted(store.shares("orders")) == [
        ("orders.a", 1, sizes[5]),
        ("orders.b", 2, sizes[3] + sizes[6]),
        ("orders.c", 2, sizes[7] + sizes[8]),
    ]
    assert store.oldest("orders", "orders.c", 0, 1) == [(7, sizes[7])]
    assert store.oldest("orders", "orders.c", 7, 10) == [(8, sizes[8])]
    assert store.oldest("orders", "orders.d", 0, 10) == []


def test_a_read_that_finds_nothing_says_how_far_it_looked(store: StreamStore) -> None:
    add(store, *range(5000))
    add(store, "last", subject="orders.last")

    page = store.read("orders", 0, "orders.last", 10, 1 << 20)
    assert (page.envelopes, page.through) == ([], 4096)
    page = store.read("orders", page.through, "orders.last", 10, 1 << 20)
    assert ([one.sequence for one in page.envelopes], page.through) == ([5001], 5001)


def test_messages_can_be_picked(store: StreamStore) -> None:
    store.put_stream("orders", StreamSettings(("orders.>",), max_messages=4), NOW)
    add(store, 1, 2, 3, 4, 5)
    store.commit(Batch(removed=[("orders", 4)]), NOW)

    assert [one.sequence for one in store.pick("orders", [1, 2, 4, 5, 9])] == [2, 5]
    assert store.pick("orders", []) == []


def test_a_place_is_found_by_its_time(store: StreamStore) -> None:
    for number in range(10):
        add(store, number, at=NOW + 10 * number)
    store.commit(Batch(removed=[("orders", 4)]), NOW)

    assert store.before("orders", NOW - 1) == 0
    assert store.before("orders", NOW) == 0
    assert store.before("orders", NOW + 0.001) == 1
    assert store.before("orders", NOW + 10) == 1
    assert store.before("orders", NOW + 25) == 3
    assert store.before("orders", NOW + 35) in (3, 4)
    assert store.before("orders", NOW + 90) == 9
    assert store.before("orders", NOW + 91) == 10


def test_a_stream_without_messages_has_no_first_one(store: StreamStore) -> None:
    assert store.first("orders") is None
    assert store.before("orders", NOW) == 0
    page = store.read("orders", 0, ">", 10, 1 << 20)
    assert (page.envelopes, page.through, page.dropped) == ([], 0, 0)


# Streams


def test_a_stream_that_was_deleted_is_not_read_and_one_of_its_name_begins_anew(
    reopen: Reopen, store: StreamStore
) -> None:
    add(store, 1, 2)
    store.commit(Batch(progress=[Progress("orders", "billing", ConsumerSettings(), 0)]), NOW)

    store.delete_stream("orders")

    with pytest.raises(StreamNotFoundError):
        store.read("orders", 0, ">", 10, 1 << 20)
    assert store.put_stream("orders", ALL, NOW) == StreamState()
    assert contents(store) == []
    assert add(store, 3) == [1]
    while store.tidy(NOW, aged=True).more:
        pass
    again = reopen()
    [loaded] = again.open()
    assert (loaded.state.messages, loaded.consumers) == (1, [])
    assert contents(again) == [3]


def test_settings_can_be_changed(reopen: Reopen, store: StreamStore) -> None:
    add(store, 1)
    changed = StreamSettings(("orders.>", "more"), work_queue=True, max_age=5.5)

    assert store.put_stream("orders", changed, NOW).messages == 1

    assert [one.settings for one in reopen().open()] == [changed]


def test_an_empty_batch_changes_nothing(store: StreamStore) -> None:
    assert store.commit(Batch(), NOW) == ([], {})


def test_a_batch_for_a_stream_that_is_not_there_is_refused_and_nothing_of_it_is_applied(
    reopen: Reopen, store: StreamStore
) -> None:
    add(store, 1)
    batch = Batch(
        [put(2), put(3, stream="sales")], [Progress("orders", "billing", ConsumerSettings(), 1)], [("orders", 1)]
    )

    with pytest.raises(StreamNotFoundError) as caught:
        store.commit(batch, NOW)

    assert caught.value.stream == "sales"
    assert (contents(store), store.commit(Batch(batch.puts[:1]), NOW).placed) == ([1], [Placed(2, duplicate=False)])
    [orders] = reopen().open()
    assert (orders.state, orders.consumers) == (StreamState(2, orders.state.size, 2, 0), [])


def test_what_is_said_of_a_stream_that_is_not_there_any_more_is_passed_over(store: StreamStore) -> None:
    progress = [Progress("sales", "billing", ConsumerSettings(), 1)]
    store.delete_consumer("sales", "billing")

    committed = store.commit(Batch([put(1)], progress, [("sales", 1)]), NOW)

    assert (list(committed.states), contents(store)) == (["orders"], [1])
