"""What every store of conversations does."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tekton.a2a.conversation_store import (
    PAGE_BYTES,
    Appended,
    ConversationRecord,
    ConversationStore,
    MemoryConversationStore,
)
from tekton.a2a.message import AgentMessage
from tekton.a2a.work.work_store import WorkStore
from tekton.utils.tekton_errors import ConversationExistsError, ConversationNotFoundError


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConversationStore]:
    if request.param == "memory":
        yield MemoryConversationStore()
        return
    work = await WorkStore.open(tmp_path / "work.db")
    yield work.conversations
    await work.close()


def record(conversation_id: str, *participants: str) -> ConversationRecord:
    return ConversationRecord(conversation_id, "ada", ("ada", *participants), 1.0, 1.0)


def said(number: int) -> AgentMessage:
    return AgentMessage("ada", f"message {number}")


def test_messages_are_numbered_in_the_order_in_which_they_come(store: ConversationStore) -> None:
    store.create(record("c"))
    messages = [said(number) for number in range(3)]

    placed = [store.append("c", message, 2.0) for message in reversed(messages)]

    assert placed == [(1, False), (2, False), (3, False)]
    assert store.read("c", 0, 10) == [(1, messages[2]), (2, messages[1]), (3, messages[0])]
    assert store.read("c", 1, 1) == [(2, messages[1])]
    assert store.read("c", 3, 10) == []
    assert (store.record("c").last, store.record("c").changed_at) == (3, 2.0)


def test_a_message_that_comes_again_is_not_stored(store: ConversationStore) -> None:
    store.create(record("c"))
    message = said(1)
    store.append("c", message, 2.0, {"a": 1})

    again = store.append("c", message, 3.0, {"a": 2})

    assert again == Appended(1, duplicate=True)
    assert (store.record("c").last, store.record("c").context, store.record("c").changed_at) == (1, {"a": 1}, 2.0)
    assert store.sequence_of("c", message.message_id) == 1
    assert store.sequence_of("c", said(2).message_id) is None


def test_one_message_may_be_in_two_conversations(store: ConversationStore) -> None:
    message = said(1)
    for name in ("c", "d"):
        store.create(record(name))
        store.append(name, message, 2.0)

    assert store.read("c", 0, 1) == store.read("d", 0, 1) == [(1, message)]


def test_a_message_without_a_context_leaves_that_as_it_is(store: ConversationStore) -> None:
    store.create(record("c"))
    store.append("c", said(1), 2.0, {"a": 1})

    store.append("c", said(2), 2.0)

    assert store.record("c").context == {"a": 1}


def test_a_conversation_is_not_begun_twice(store: ConversationStore) -> None:
    store.create(record("c"))
    store.append("c", said(1), 2.0)

    with pytest.raises(ConversationExistsError):
        store.create(record("c", "bob"))

    assert (store.record("c").participants, store.record("c").last) == (("ada",), 1)


def test_conversations_are_listed_by_participant_in_pages(store: ConversationStore) -> None:
    for name in ("d", "b", "a", "c"):
        store.create(record(name, "bob") if name != "c" else record(name))

    def ids(participant: str, after: str = "", limit: int = 100) -> list[str]:
        return [one.conversation_id for one in store.of_participant(participant, after, limit)]

    assert ids("ada") == ["a", "b", "c", "d"]
    assert (ids("bob", limit=2), ids("bob", after="b")) == (["a", "b"], ["d"])
    assert ids("eve") == []
    store.set_participants("a", ("ada", "eve"), 4.0)
    assert (ids("bob"), ids("eve")) == (["b", "d"], ["a"])
    assert store.record("a").changed_at == 4.0


def test_nothing_is_left_of_a_conversation_that_was_deleted(store: ConversationStore) -> None:
    store.create(record("c", "bob"))
    message = said(1)
    store.append("c", message, 2.0)

    store.delete("c")

    assert store.of_participant("bob") == store.of_participant("ada") == []
    store.create(record("c"))
    assert (store.read("c", 0, 10), store.sequence_of("c", message.message_id)) == ([], None)


def test_what_is_said_is_counted_in_bytes_and_conversations_by_who_has_begun_them(store: ConversationStore) -> None:
    for name in ("c", "d"):
        store.create(record(name, "bob"))
    message = said(1)
    for each in (message, message, said(2)):
        store.append("c", each, 2.0)

    assert (store.record("c").size_bytes, store.record("d").size_bytes) == (2 * message.size_bytes, 0)
    assert (store.count_of("ada"), store.count_of("bob")) == (2, 0)
    store.delete("c")
    assert store.count_of("ada") == 1


async def test_those_in_which_nothing_happens_are_named(store: ConversationStore) -> None:
    for name in ("c", "d", "e"):
        store.create(record(name))
    await store.flush()
    store.append("d", said(1), 5.0)
    store.delete("e")

    assert store.quiet(2.0) == (["c"], 5.0, None)
    assert store.quiet(6.0) == (["c", "d"], float("inf"), None)
    await store.flush()
    assert store.quiet(2.0) == (["c"], 5.0, None)


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.append("c", said(1), 1.0),
        lambda store: store.set_participants("c", (), 1.0),
        lambda store: store.delete("c"),
        lambda store: store.record("c"),
        lambda store: store.read("c", 0, 1),
        lambda store: store.sequence_of("c", "x"),
    ],
    ids=["append", "set_participants", "delete", "record", "read", "sequence_of"],
)
def test_a_conversation_that_there_is_not_is_told(
    store: ConversationStore, call: Callable[[ConversationStore], object]
) -> None:
    with pytest.raises(ConversationNotFoundError, match="no conversation 'c'"):
        call(store)


def test_a_page_of_large_messages_ends_early_but_has_one(store: ConversationStore) -> None:
    store.create(record("c"))
    large = AgentMessage("ada", "x" * 1_000_000)
    fitting = PAGE_BYTES // large.size_bytes
    for _ in range(fitting + 2):
        store.append("c", AgentMessage("ada", large.content), 2.0)

    first = store.read("c", 0, 100)
    rest = store.read("c", first[-1].sequence, 100)

    assert (len(first), len(rest)) == (fitting, 2)


async def test_what_was_called_is_there_after_a_flush_and_a_close(store: ConversationStore) -> None:
    store.create(record("c"))
    store.append("c", said(1), 2.0)

    await store.flush()

    assert store.record("c").last == 1
    await store.close()
    await store.close()
