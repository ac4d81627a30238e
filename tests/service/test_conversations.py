"""The conversations of a control plane: who takes part, who says who does, and what is told of it."""

import asyncio
from pathlib import Path

import pytest

from tekton.a2a.message import AgentMessage
from tekton.auth.principal import Principal
from tekton.auth.roles import RoleTable
from tekton.gateway.errors import PermissionDeniedError
from tekton.service.conversation_limits import ConversationLimits
from tekton.service.conversations import Conversations
from tekton.service.work import MemoryStore, Work
from tekton.utils.tekton_errors import (
    ConversationExistsError,
    ConversationFullError,
    ConversationLimitError,
    ConversationNotFoundError,
    InvalidConversationError,
    NotParticipantError,
)


def somebody(name: str, *roles: str) -> Principal:
    return Principal(subject=name, roles=roles, component_id=name, via="token", grants=RoleTable().grants(roles, name))


ADA, BOB, CORA = (somebody(name, "component") for name in ("ada", "bob", "cora"))
OTTO = somebody("otto", "operator")


@pytest.fixture
def conversations() -> Conversations:
    return Conversations(Work(MemoryStore()))


async def test_who_takes_part_reads_and_for_others_there_is_no_conversation(conversations: Conversations) -> None:
    begun = await conversations.begin(ADA, ["bob"], conversation_id="plans", context={"goal": "ship"})
    said = await conversations.say(BOB, "plans", AgentMessage("bob", "hello"))

    assert (begun.initiator, begun.participants, begun.context) == ("ada", ("ada", "bob"), {"goal": "ship"})
    assert (said.sequence, said.duplicate) == (1, False)
    for caller in (ADA, BOB, OTTO):
        assert conversations.find(caller, "plans").conversation_id == "plans"
    for conversation_id in ("plans", "nothing"):
        with pytest.raises(ConversationNotFoundError):
            conversations.find(CORA, conversation_id)
    assert [record.conversation_id for record in conversations.of_participant("bob")] == ["plans"]
    assert (conversations.begun, conversations.said) == (1, 1)


async def test_a_message_that_comes_twice_is_there_once(conversations: Conversations) -> None:
    await conversations.begin(ADA, conversation_id="plans")
    message = AgentMessage("ada", "hello")

    said = [await conversations.say(ADA, "plans", message) for _ in range(2)]

    assert [(one.sequence, one.message_id, one.duplicate) for one in said] == [
        (1, message.message_id, False),
        (1, message.message_id, True),
    ]
    assert conversations.said == 1


async def test_who_manages_conversations_sees_all_and_speaks_in_his_own_only(conversations: Conversations) -> None:
    await conversations.begin(ADA, conversation_id="plans")

    with pytest.raises(NotParticipantError):
        await conversations.say(OTTO, "plans", AgentMessage("otto", "hello"))
    await conversations.set_participants(OTTO, "plans", ["otto"])
    await conversations.say(OTTO, "plans", AgentMessage("otto", "hello"))

    assert conversations.find(ADA, "plans").participants == ("ada", "otto")


async def test_only_who_has_begun_it_says_who_takes_part_and_deletes_it(conversations: Conversations) -> None:
    await conversations.begin(ADA, ["bob"], conversation_id="plans")

    for refused in (conversations.set_participants(BOB, "plans", ["bob", "cora"]), conversations.forget(BOB, "plans")):
        with pytest.raises(PermissionDeniedError):
            await refused
    for unknown in (conversations.set_participants(CORA, "plans", ["cora"]), conversations.forget(CORA, "plans")):
        with pytest.raises(ConversationNotFoundError):
            await unknown
    with pytest.raises(InvalidConversationError):
        await conversations.set_participants(ADA, "plans", ["no name!\n"])
    await conversations.set_participants(ADA, "plans", ["cora"])

    assert conversations.find(ADA, "plans").participants == ("ada", "cora")
    with pytest.raises(ConversationNotFoundError):
        conversations.find(BOB, "plans")
    assert (await conversations.forget(ADA, "plans")).conversation_id == "plans"
    assert not conversations.exists("plans")


async def test_an_id_that_is_taken_is_refused(conversations: Conversations) -> None:
    await conversations.begin(ADA, conversation_id="plans")

    with pytest.raises(ConversationExistsError):
        await conversations.begin(BOB, conversation_id="plans")


async def test_who_waits_is_woken_by_what_happens_there_and_nothing_is_left_of_him(
    conversations: Conversations,
) -> None:
    await conversations.begin(ADA, conversation_id="plans")
    await conversations.begin(ADA, conversation_id="other")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = [group.create_task(conversations.next_change(name)) for name in ("plans", "plans", "other")]
        await asyncio.sleep(0)
        await conversations.say(ADA, "plans", AgentMessage("ada", "hello"))
        await asyncio.gather(*waiting[:2])
        assert not waiting[2].done()
        waiting[2].cancel()

    assert conversations._waiting == {}


async def test_what_was_said_is_read_after_a_restart(tmp_path: Path) -> None:
    work = await Work.open(tmp_path)
    conversations = Conversations(work)
    await conversations.begin(ADA, ["bob"], conversation_id="plans")
    for number in range(5):
        await conversations.say(ADA, "plans", AgentMessage("ada", number))
    await work.stop()

    work = await Work.open(tmp_path)
    conversations = Conversations(work)
    entries = await conversations.read(conversations.find(BOB, "plans"), 1, 3)
    await work.stop()

    assert [(entry.sequence, entry.message.content) for entry in entries] == [(2, 1), (3, 2), (4, 3)]


async def test_as_many_are_kept_of_one_owner_as_may_be_and_others_have_their_own(conversations: Conversations) -> None:
    conversations.limits = ConversationLimits(per_owner=2)
    for name in ("a", "b"):
        await conversations.begin(ADA, ["bob"], conversation_id=name)

    with pytest.raises(ConversationLimitError) as refused:
        await conversations.begin(ADA, conversation_id="c")
    with pytest.raises(ConversationExistsError):
        await conversations.begin(ADA, conversation_id="a")
    await conversations.begin(BOB, conversation_id="d")

    assert (refused.value.owner, refused.value.limit) == ("ada", 2)
    assert not conversations.exists("c")
    await conversations.forget(ADA, "a")
    await conversations.begin(ADA, conversation_id="c")


@pytest.mark.parametrize(
    ("limits", "what"),
    [(ConversationLimits(messages=2), "messages"), (ConversationLimits(size_bytes=20), "bytes of messages")],
)
async def test_a_conversation_that_is_full_takes_no_message_but_knows_those_that_it_has(
    conversations: Conversations, limits: ConversationLimits, what: str
) -> None:
    conversations.limits = limits
    await conversations.begin(ADA, conversation_id="plans")
    first = AgentMessage("ada", "hello")  # 9 bytes, with its context
    for message in (first, AgentMessage("ada", "again")):
        await conversations.say(ADA, "plans", message)

    with pytest.raises(ConversationFullError) as refused:
        await conversations.say(ADA, "plans", AgentMessage("ada", "more"))

    assert refused.value.what == what
    assert (await conversations.say(ADA, "plans", first)).duplicate
    assert conversations.find(ADA, "plans").record.last == 2


async def test_what_an_agent_has_to_say_of_a_task_is_said_in_a_full_conversation_too(
    conversations: Conversations,
) -> None:
    conversations.limits = ConversationLimits(messages=1)
    await conversations.begin(ADA, conversation_id="plans")
    await conversations.say(ADA, "plans", AgentMessage("ada", "hello"))

    conversations.note("plans", AgentMessage("reviewer", "done"), "ada")

    assert conversations.find(ADA, "plans").record.last == 2
