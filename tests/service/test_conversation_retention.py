"""How long conversations are kept in which nobody says anything."""

from pathlib import Path
from typing import Any

import pytest

from tekton.a2a.conversation_store import Quiet
from tekton.a2a.message import AgentMessage
from tekton.auth.principal import OWNER
from tekton.service.conversation_retention import PAUSE, ConversationRetention
from tekton.service.conversations import Conversations
from tekton.service.work import MemoryStore, Work
from tekton.testing.clock import ManualClock
from tekton.utils.tekton_errors import ConversationNotFoundError


class Place:
    """Conversations, of which some are needed, and what forgets them."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.clock = ManualClock()
        self.conversations = Conversations(work, self.clock)
        self.needed: set[str] = set()
        self.retention = ConversationRetention(self.conversations, lambda: self.needed, self.clock)

    async def begin(self, *ids: str) -> None:
        for id_ in ids:
            await self.conversations.begin(OWNER, conversation_id=id_)

    async def say(self, id_: str) -> None:
        await self.conversations.say(OWNER, id_, AgentMessage("owner", "hello"))

    def left(self) -> list[str]:
        return [record.conversation_id for record in self.conversations.of_participant("owner", limit=2000)]


@pytest.fixture
def place() -> Place:
    return Place(Work(MemoryStore()))


async def test_without_an_age_they_are_kept_for_good(place: Place) -> None:
    await place.begin("plans")
    place.clock.advance(1e9)

    assert await place.retention.sweep() == 0
    assert place.left() == ["plans"]


async def test_one_in_which_nothing_happens_is_forgotten_and_who_follows_it_is_told(place: Place) -> None:
    place.retention.age = 1000.0
    await place.begin("plans", "talk")
    place.clock.advance(900)
    await place.say("talk")
    place.clock.advance(200)

    assert await place.retention.sweep() == 1
    assert (place.left(), place.retention.forgotten) == (["talk"], 1)
    with pytest.raises(ConversationNotFoundError):
        place.conversations.find(OWNER, "plans")


async def test_one_with_a_task_that_is_open_stays_until_it_is_over(place: Place) -> None:
    place.retention.age = 1000.0
    await place.begin("plans")
    place.needed.add("plans")
    place.clock.advance(2000)

    assert await place.retention.sweep() == 0
    place.needed.clear()
    place.clock.advance(PAUSE)
    assert await place.retention.sweep() == 1


async def test_all_are_looked_at_only_when_one_may_be_due(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    store = place.work.conversations
    ask = store.quiet

    def look(*asked: Any) -> Quiet:
        looks.append(place.clock.time())
        return ask(*asked)

    monkeypatch.setattr(store, "quiet", look)
    place.retention.age = 1000.0
    await place.begin("plans")
    began = place.clock.time()

    for _ in range(200):
        await place.retention.sweep()
        place.clock.advance(10)

    assert looks[:2] == [began, began + 1000.0]
    assert len(looks) < 20
    assert place.left() == []


async def test_another_age_holds_at_once(place: Place) -> None:
    place.retention.age = 1000.0
    await place.begin("plans")
    await place.retention.sweep()
    place.clock.advance(100)

    place.retention.age = 50.0

    assert await place.retention.sweep() == 1


@pytest.mark.parametrize("age", [None, 1e6])
async def test_an_age_that_comes_while_they_are_looked_at_holds_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float | None
) -> None:
    work = await Work.open(tmp_path)
    place = Place(work)
    flush = place.conversations.flush

    async def change_age() -> None:
        await flush()
        place.retention.age = age

    monkeypatch.setattr(place.conversations, "flush", change_age)
    place.retention.age = 1000.0
    for number in range(501):
        await place.conversations.begin(OWNER, conversation_id=f"c{number:03}", at_once=False)
    await flush()
    place.clock.advance(2000)

    assert await place.retention.sweep() == 500
    place.clock.advance(PAUSE)
    assert await place.retention.sweep() == 0
    assert place.left() == ["c500"]
    await work.stop()


async def test_many_on_the_disk_are_forgotten_in_one_sweep_and_those_that_were_changed_stay(tmp_path: Path) -> None:
    work = await Work.open(tmp_path)
    place = Place(work)
    place.retention.age = 1000.0
    for number in range(1200):
        await place.conversations.begin(OWNER, conversation_id=f"c{number:04}", at_once=False)
    await place.conversations.flush()
    place.clock.advance(2000)
    await place.say("c0700")
    place.conversations.note("c0701", AgentMessage("owner", "not on the disk yet"), "owner")

    assert await place.retention.sweep() == 1198
    assert place.left() == ["c0700", "c0701"]
    assert work.conversations.count_of("owner") == 2
    await work.stop()
