"""What waits for the store: the bounds of batches and of the whole."""

import pytest
from component_records import component_record

from tekton.core.component_lifecycle import pending
from tekton.core.component_lifecycle.pending import Entry, Pending
from tekton.core.component_lifecycle.steps import Step

KEY = ("x", "i")


def entry(padding: int = 0, steps: int = 1, names: int = 0, reason: str | None = None) -> Entry:
    record = component_record(
        capabilities=tuple(f"{number:0255d}" for number in range(names)),
        metadata={"padding": "x" * padding} if padding else {},
        reason=reason,
    )
    return Entry(KEY, [Step("state", None, record)] * steps, ())


def queue_of(*entries: Entry) -> Pending:
    queue = Pending()
    for one in entries:
        queue.append(one)
    return queue


def test_the_size_of_an_entry_grows_with_its_record_and_its_steps() -> None:
    assert 1000 < entry(1000).size < 1500
    assert entry(1000, steps=3).size == 3 * entry(1000).size
    assert Entry(KEY, (), ()).size == 0


def test_whatever_can_be_long_counts() -> None:
    small = entry().size

    assert 0 < small < 1000
    assert entry(names=200).size > 200 * 255
    assert entry(reason="x" * 5000).size > 5000


def test_a_batch_has_at_most_512_entries_in_their_order() -> None:
    entries = [entry() for _ in range(600)]
    queue = queue_of(*entries)

    assert queue.take_batch() == entries[:512]
    assert queue.take_batch() == entries[512:]
    assert queue.take_batch() == []


def test_a_batch_has_at_most_a_mebibyte() -> None:
    entries = [entry(60_000) for _ in range(20)]
    queue = queue_of(*entries)

    batch = queue.take_batch()

    assert batch == entries[: len(batch)]
    assert sum(one.size for one in batch) <= 2**20 < sum(one.size for one in batch) + entries[0].size


def test_a_batch_may_have_exactly_as_much_as_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(100) for _ in range(3)]
    monkeypatch.setattr(pending, "MAX_BATCH_BYTES", 2 * entries[0].size)

    assert queue_of(*entries).take_batch() == entries[:2]


def test_an_entry_that_is_larger_than_a_batch_goes_alone() -> None:
    small, large = entry(), entry(2**20)
    queue = queue_of(large, small)

    assert queue.take_batch() == [large]
    assert queue.take_batch() == [small]


def test_a_queue_is_crowded_by_number_and_no_longer_when_a_batch_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "MAX_PENDING", 3)
    queue = queue_of(entry(), entry())
    assert not queue.crowded

    queue.append(entry())
    assert queue.crowded

    queue.take_batch()
    assert not queue.crowded


def test_a_queue_is_crowded_by_size_until_everything_is_taken() -> None:
    queue = queue_of(*(entry(2**20) for _ in range(63)))
    assert not queue.crowded

    queue.append(entry(2**20))
    assert queue.crowded
    assert len(queue.take_all()) == 64
    assert not queue.crowded
    assert len(queue) == 0
