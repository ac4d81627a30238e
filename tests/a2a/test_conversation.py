"""A conversation: who takes part, what was said, and what all of them know."""

import asyncio
import os

import pytest

from tekton.a2a.conversation import MOST_CONTEXT, MOST_PARTICIPANTS, TRANSCRIPT, Conversation
from tekton.a2a.conversation_store import MemoryConversationStore
from tekton.a2a.message import AgentMessage
from tekton.testing import ManualClock, virtual_time
from tekton.utils.tekton_errors import (
    ConversationExistsError,
    ConversationFullError,
    ConversationNotFoundError,
    CursorExpiredError,
    InvalidConversationError,
    NotParticipantError,
)

LONG = int(os.environ.get("TEKTON_CONVERSATION_MESSAGES", "3000"))
"""How many messages the long conversation has; 100,000 by hand."""


def conversation_of(*texts: str) -> Conversation:
    """A conversation in which ada says *texts* to bob."""
    conversation = Conversation("c", "ada", ["ada", "bob"])
    for text in texts:
        conversation.add_message(AgentMessage("ada", text))
    return conversation


def texts(messages: list[AgentMessage]) -> list[str]:
    return [message.content for message in messages]


class TestParticipants:
    def test_the_initiator_takes_part_in_any_case(self) -> None:
        assert Conversation("c", "ada").participants == ("ada",)
        assert Conversation("c", "ada", ["bob", "ada", "bob"]).participants == ("ada", "bob")

    def test_only_participants_speak(self) -> None:
        conversation = conversation_of("hello")

        with pytest.raises(NotParticipantError) as caught:
            conversation.add_message(AgentMessage("eve", "hello", {"a": 1}))

        assert (caught.value.participant, len(conversation), conversation.context) == ("eve", 1, {})

    def test_somebody_who_was_added_speaks_and_who_was_removed_no_longer(self) -> None:
        conversation = conversation_of()

        conversation.add_participant("eve")
        conversation.add_participant("eve")
        conversation.add_message(AgentMessage("eve", "hello"))
        conversation.remove_participant("eve")

        assert (conversation.participants, texts(conversation.get_history())) == (("ada", "bob"), ["hello"])
        with pytest.raises(NotParticipantError):
            conversation.add_message(AgentMessage("eve", "again"))
        with pytest.raises(NotParticipantError):
            conversation.remove_participant("eve")

    def test_the_initiator_stays(self) -> None:
        conversation = conversation_of()

        with pytest.raises(InvalidConversationError, match="ada has begun it"):
            conversation.remove_participant("ada")

        assert conversation.participants == ("ada", "bob")

    def test_there_are_only_so_many(self) -> None:
        names = [f"agent-{number}" for number in range(MOST_PARTICIPANTS)]
        conversation = Conversation("c", names[0], names)

        with pytest.raises(ConversationFullError, match="256 participants"):
            conversation.add_participant("one-more")
        with pytest.raises(InvalidConversationError):
            Conversation("d", "one-more", names)

    def test_others_take_part_instead_and_the_initiator_stays(self) -> None:
        conversation = conversation_of("hello")

        conversation.set_participants(["eve", "eve"])
        for wrong in (["no name!"], "eve", [f"somebody-{number}" for number in range(MOST_PARTICIPANTS)]):
            with pytest.raises(InvalidConversationError):
                conversation.set_participants(wrong)

        assert conversation.participants == ("ada", "eve")

    def test_all_know_from_the_beginning_what_it_begins_with(self) -> None:
        conversation = Conversation("c", "ada", context={"goal": "ship", "nothing": None})

        assert conversation.context == {"goal": "ship"}
        with pytest.raises(ConversationFullError):
            Conversation("d", "ada", context={"text": "x" * MOST_CONTEXT})

    @pytest.mark.parametrize(
        ("conversation_id", "initiator", "participants", "field"),
        [
            ("", "ada", [], "/conversation_id"),
            ("a b", "ada", [], "/conversation_id"),
            ("c", "", [], "/initiator"),
            ("c", "ada", ["b ob"], "/participants"),
            ("c", "ada", "bob", "/participants"),
        ],
    )
    def test_names_are_checked(self, conversation_id: str, initiator: str, participants: list[str], field: str) -> None:
        store = MemoryConversationStore()

        with pytest.raises(InvalidConversationError) as caught:
            Conversation(conversation_id, initiator, participants, store=store)

        assert (caught.value.field, store.of_participant("ada")) == (field, [])


class TestMessages:
    def test_a_message_has_its_number(self) -> None:
        conversation = conversation_of("one", "two")

        assert conversation.add_message(AgentMessage("bob", "three")) == len(conversation) == 3
        assert bool(Conversation("d", "ada")) is True

    def test_a_message_that_comes_again_is_not_added_again(self) -> None:
        conversation = conversation_of("one")
        message = AgentMessage("bob", "two", {"a": 1})
        conversation.add_message(message)
        conversation.add_message(AgentMessage("ada", "three", {"a": 2}))

        assert conversation.add_message(message) == 2
        assert (len(conversation), conversation.context) == (3, {"a": 2})

    def test_messages_stay_in_the_order_in_which_they_came_whatever_times_they_claim(self) -> None:
        conversation = conversation_of()
        for number in (3, 1, 2):
            conversation.add_message(AgentMessage("ada", str(number), timestamp=number))

        assert texts(conversation.get_history()) == ["3", "1", "2"]

    def test_contexts_are_merged(self) -> None:
        conversation = conversation_of()

        conversation.add_message(AgentMessage("ada", "x", {"code": "f()", "style": {"tabs": True, "width": 80}}))
        conversation.add_message(AgentMessage("bob", "y", {"code": None, "style": {"width": 120}}))

        assert conversation.context == {"style": {"tabs": True, "width": 120}}

    def test_a_context_that_would_be_too_large_is_refused_and_nothing_is_added(self) -> None:
        conversation = conversation_of()
        conversation.add_message(AgentMessage("ada", "x", {"a": "x" * (MOST_CONTEXT - 100)}))

        with pytest.raises(ConversationFullError, match="bytes of context"):
            conversation.add_message(AgentMessage("ada", "y", {"b": "x" * 200}))

        assert (len(conversation), list(conversation.context)) == (1, ["a"])

    def test_a_change_has_the_time_of_the_clock(self) -> None:
        clock = ManualClock()
        conversation = Conversation("c", "ada", clock=clock)
        begun = clock.time()
        clock.advance(5)

        conversation.add_message(AgentMessage("ada", "x"))

        assert (conversation.record.created_at, conversation.record.changed_at) == (begun, begun + 5)


class TestHistory:
    def test_it_is_all_that_was_said_in_order(self) -> None:
        assert texts(conversation_of("one", "two", "three").get_history()) == ["one", "two", "three"]
        assert conversation_of().get_history() == []

    def test_with_a_limit_it_is_the_newest(self) -> None:
        assert texts(conversation_of("one", "two", "three").get_history(limit=2)) == ["two", "three"]

    def test_since_a_message_it_is_what_came_after_that(self) -> None:
        conversation = conversation_of("one", "two", "three")
        first, _, last = conversation.get_history()

        assert texts(conversation.get_history(since=first.message_id)) == ["two", "three"]
        assert texts(conversation.get_history(since=first.message_id, limit=1)) == ["two"]
        assert conversation.get_history(since=last.message_id) == []

    def test_a_message_that_is_not_in_it_is_no_place_in_it(self) -> None:
        with pytest.raises(CursorExpiredError, match="is not in conversation c"):
            conversation_of("one").get_history(since=AgentMessage("ada", "x").message_id)

    @pytest.mark.parametrize("limit", [0, -1, 10_001])
    def test_a_limit_has_limits(self, limit: int) -> None:
        with pytest.raises(ValueError, match="limit of 1 to 10000"):
            conversation_of("one").get_history(limit=limit)
        with pytest.raises(ValueError, match="limit of 1 to 10000"):
            conversation_of("one").page(limit=limit)

    def test_pages_lead_from_one_to_the_next_until_the_end(self) -> None:
        conversation = conversation_of(*map(str, range(5)))

        first = conversation.page(limit=3)
        second = conversation.page(first.after or 0, limit=3)

        assert [entry.sequence for entry in first.entries] == [1, 2, 3]
        assert (first.after, [entry.sequence for entry in second.entries], second.after) == (3, [4, 5], None)
        assert conversation_of().page() == ([], None)

    def test_a_long_conversation_is_read_page_by_page(self) -> None:
        asked: list[int] = []

        class Store(MemoryConversationStore):
            def read(self, conversation_id: str, after: int, limit: int) -> list:  # type: ignore[type-arg]
                asked.append(limit)
                return super().read(conversation_id, after, limit)

        conversation = Conversation("c", "ada", store=Store())
        for number in range(LONG):
            conversation.add_message(AgentMessage("ada", f"This is message {number}."))

        assert [message.content for message in conversation.messages()] == [
            f"This is message {number}." for number in range(LONG)
        ]
        assert max(asked) == 1000
        assert len(conversation.get_history()) == 1000
        asked.clear()
        assert len(conversation.generate_summary().splitlines()) == 5
        assert sum(asked) <= 1000


class TestStores:
    def test_a_conversation_is_taken_up_where_it_was_left(self) -> None:
        store = MemoryConversationStore()
        Conversation("c", "ada", ["bob"], store=store).add_message(AgentMessage("ada", "hello", {"a": 1}))

        again = Conversation.resume("c", store)
        again.add_message(AgentMessage("bob", "hi"))

        assert (again.conversation_id, again.initiator, again.participants) == ("c", "ada", ("ada", "bob"))
        assert (again.context, texts(again.get_history())) == ({"a": 1}, ["hello", "hi"])

    def test_what_is_not_there_is_not_taken_up_and_what_is_there_not_begun_again(self) -> None:
        store = MemoryConversationStore()
        Conversation("c", "ada", store=store)

        with pytest.raises(ConversationNotFoundError):
            Conversation.resume("d", store)
        with pytest.raises(ConversationExistsError):
            Conversation("c", "ada", store=store)

    def test_without_an_id_a_conversation_has_a_fresh_one(self) -> None:
        assert Conversation(None, "ada").conversation_id != Conversation(None, "ada").conversation_id

    async def test_a_flush_is_one_of_the_store(self) -> None:
        flushed: list[str] = []

        class Store(MemoryConversationStore):
            async def flush(self) -> None:
                flushed.append("all")

        await Conversation("c", "ada", store=Store()).flush()

        assert flushed == ["all"]


class TestSummarize:
    async def test_a_model_is_given_what_was_said(self) -> None:
        async def model(text: str) -> str:
            return text.upper()

        assert await conversation_of("one", "two").summarize(model) == "ADA: ONE\nADA: TWO"

    async def test_of_a_long_conversation_it_is_given_the_beginning_and_the_end(self) -> None:
        async def model(text: str) -> str:
            return text

        seen = await conversation_of(*(f"{number}: {'x' * 1000}" for number in range(200))).summarize(model)

        assert len(seen) <= TRANSCRIPT
        assert seen.startswith("ada: 0: x")
        assert "\n[…]\n" in seen
        assert "199: x" in seen

    @virtual_time
    async def test_a_model_that_hangs_is_given_up(self) -> None:
        async def model(text: str) -> str:
            await asyncio.Event().wait()
            return text

        with pytest.raises(TimeoutError):
            await conversation_of("one").summarize(model, timeout=30)

    async def test_a_model_that_does_not_answer_with_a_text_is_refused(self) -> None:
        async def model(text: str) -> str:
            return b"summary"  # type: ignore[return-value]

        with pytest.raises(TypeError, match="not with bytes"):
            await conversation_of("one").summarize(model)
