"""What follows for the registry of agents from their cards, as these change, go, come back, or turn bad."""

import asyncio
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tekton.a2a.agent import Agent, AgentHealth, Skill
from tekton.a2a.agent_registry import AgentChange, AgentRegistry
from tekton.testing import virtual_time
from tekton.utils.guarded_http import RefusedUrlError
from tekton.utils.remote_agents.card import AgentCard, BadCardError, CardInterface
from tekton.utils.remote_agents.card_source import FetchedCard
from tekton.utils.remote_agents.cards import AgentCards
from tekton.utils.remote_agents.credential import Credential
from tekton.utils.remote_agents.registration import RemoteAgent
from tekton.utils.tekton_errors import AgentUnreachableError, InvalidAgentError, TransportError

URL = "https://agents.example"
GONE = BadCardError("there is none: answered 404")
AWAY = TransportError(URL, "connection refused")


def card(version: str = "1.0.0", *skills: str, **members: Any) -> AgentCard:
    told = tuple(Skill(skill, skill, "", ("python",)) for skill in skills or ("code_review",))
    interfaces = (CardInterface(f"{URL}/rpc", "JSONRPC"),)
    return AgentCard(
        **{"name": "Reviewer", "description": "Reads.", "version": version, "skills": told} | members,
        interfaces=interfaces,
        streaming=True,
        document={},
    )


class Cards:
    """A place where cards are: `now` is what is there."""

    def __init__(self, max_age: float | None = 100.0) -> None:
        self.now: AgentCard | Exception = card()
        self.max_age = max_age
        self.asked: list[tuple[float, str, Credential | None]] = []

    async def __call__(self, _url: str, etag: str, credential: Credential | None) -> FetchedCard:
        self.asked.append((asyncio.get_running_loop().time(), etag, credential))
        if isinstance(self.now, Exception):
            raise self.now
        tag = f'"{self.now.version}"'
        return FetchedCard(None if etag == tag else self.now, tag, self.max_age)


async def registered(
    place: Cards, said: RemoteAgent | None = None
) -> tuple[AgentRegistry, AgentCards, list[AgentChange]]:
    registry = AgentRegistry()
    cards = AgentCards(registry, place, rng=random.Random(1))
    changes: list[AgentChange] = []
    registry.listen(changes.append)
    await cards.register(said or RemoteAgent("reviewer", URL))
    return registry, cards, changes


async def test_a_card_says_what_nobody_else_has_said() -> None:
    registry, _, _ = await registered(Cards())

    agent = registry.get_agent("reviewer")
    assert (agent.capabilities, agent.version, agent.description) == (("code_review",), "1.0.0", "Reads.")
    assert (agent.endpoint, agent.all_tags, agent.metadata["name"]) == (URL, {"python"}, "Reviewer")


async def test_what_was_said_at_the_registration_goes_before_the_card() -> None:
    said = RemoteAgent("reviewer", URL, ("reading",), "Ours.", "7.0.0", ("fast",), {"name": "R", "team": "x"})
    registry, cards, _ = await registered(place := Cards(), said)
    place.now = card("2.0.0")
    await cards.refresh("reviewer")

    agent = registry.get_agent("reviewer")
    assert (agent.capabilities, agent.version, agent.description) == (("reading",), "7.0.0", "Ours.")
    assert (agent.tags, agent.metadata["name"], agent.metadata["team"]) == (("fast",), "R", "x")


@pytest.mark.parametrize(("trouble", "error"), [(GONE, InvalidAgentError), (AWAY, AgentUnreachableError)])
async def test_without_a_card_nobody_is_registered(trouble: Exception, error: type[Exception]) -> None:
    place = Cards()
    place.now = trouble
    registry = AgentRegistry()

    with pytest.raises(error, match="its card"):
        await AgentCards(registry, place).register(RemoteAgent("reviewer", URL))

    assert len(registry) == 0


async def test_where_requests_may_not_go_the_setting_that_opens_networks_is_named() -> None:
    place = Cards()
    place.now = BadCardError("requests may not go there")
    place.now.__cause__ = RefusedUrlError(URL, "it leads to this machine")

    with pytest.raises(InvalidAgentError) as refused:
        await AgentCards(AgentRegistry(), place).register(RemoteAgent("reviewer", URL))

    assert "tekton.security.callback_networks" in str(refused.value.hint)


async def test_what_cannot_be_an_agent_is_not_even_asked_for_its_card() -> None:
    place = Cards()

    with pytest.raises(InvalidAgentError):
        await AgentCards(AgentRegistry(), place).register(RemoteAgent("reviewer", URL, version="new"))

    assert place.asked == []


async def test_a_card_that_changes_changes_the_agent_and_listeners_hear_of_it() -> None:
    registry, cards, changes = await registered(place := Cards())
    place.now = card("1.1.0", "code_review", "code_explanation")
    await cards.refresh("reviewer")

    assert [(change.action, change.agent.version) for change in changes] == [("added", "1.0.0"), ("replaced", "1.1.0")]
    assert registry.find_agents_by_capability("code_explanation") == (registry.get_agent("reviewer"),)


async def test_a_card_that_has_not_changed_changes_nothing() -> None:
    _, cards, changes = await registered(place := Cards())
    await cards.refresh("reviewer")

    assert (len(changes), place.asked[-1][1]) == (1, '"1.0.0"')


async def test_an_agent_whose_card_is_gone_stays_and_is_not_usable_until_it_is_back() -> None:
    registry, cards, _ = await registered(place := Cards())
    place.now = GONE
    await cards.refresh("reviewer")

    assert registry.health("reviewer") is AgentHealth.UNUSABLE
    assert registry.reason("reviewer") == "its card is not accepted: there is none: answered 404"
    assert registry.find_agents_by_capability("code_review") == ()
    with pytest.raises(AgentUnreachableError, match="answered 404"):
        registry.reach("reviewer")

    place.now = card()
    await cards.refresh("reviewer")

    assert (registry.health("reviewer"), registry.reason("reviewer")) == (AgentHealth.USABLE, "")


async def test_a_bad_card_is_fetched_whole_again_although_it_has_been_known() -> None:
    _, cards, _ = await registered(place := Cards())
    place.now = GONE
    await cards.refresh("reviewer")
    await cards.refresh("reviewer")

    assert place.asked[-1][1] == ""


async def test_one_that_cannot_be_reached_is_impaired_first_and_not_usable_after_three_times() -> None:
    registry, cards, _ = await registered(place := Cards())
    place.now = AWAY
    seen = []
    for _ in range(3):
        await cards.refresh("reviewer")
        seen.append(registry.health("reviewer"))

    assert seen == [AgentHealth.IMPAIRED, AgentHealth.IMPAIRED, AgentHealth.UNUSABLE]
    assert "connection refused" in registry.reason("reviewer")


async def test_a_card_that_makes_no_agent_is_a_bad_one() -> None:
    registry, cards, _ = await registered(place := Cards())
    place.now = card("1.0.1", *(f"skill{number}" for number in range(300)))
    await cards.refresh("reviewer")

    assert registry.health("reviewer") is AgentHealth.UNUSABLE


async def test_a_handler_that_was_bound_stays_bound() -> None:
    async def handler() -> None: ...

    registry, cards, _ = await registered(place := Cards())
    registry.bind("reviewer", handler)
    place.now = card("2.0.0")
    await cards.refresh("reviewer")

    assert (registry.get_agent("reviewer").handler, registry.get_agent("reviewer").version) == (handler, "2.0.0")


def removed(registry: AgentRegistry) -> None:
    registry.unregister_agent("reviewer")


def moved(registry: AgentRegistry) -> None:
    registry.register_agent("reviewer", ["a"], endpoint="https://elsewhere.example", replace=True)


@pytest.mark.parametrize("change", [removed, moved])
async def test_who_is_somebody_else_by_now_is_not_followed(change: Callable[[AgentRegistry], None]) -> None:
    registry, cards, _ = await registered(place := Cards())
    change(registry)
    before = registry.agents()
    await cards.refresh("reviewer")
    await cards.refresh("reviewer")

    assert (len(place.asked), registry.agents()) == (1, before)


async def test_an_agent_that_stands_in_the_registry_has_its_card_fetched_when_it_is_called() -> None:
    registry, place = AgentRegistry(), Cards()
    agent = registry.register_agent("reviewer", ["mine"], endpoint=URL)
    cards = AgentCards(registry, place)

    both = await asyncio.gather(cards.card(agent), cards.card(agent))

    assert both == [card(), card()]
    assert (len(place.asked), registry.get_agent("reviewer").capabilities) == (1, ("mine",))


async def test_who_has_no_card_cannot_be_called() -> None:
    registry, place = AgentRegistry(), Cards()
    place.now = GONE
    agent = registry.register_agent("reviewer", ["mine"], endpoint=URL)

    with pytest.raises(AgentUnreachableError, match="answered 404"):
        await AgentCards(registry, place).card(agent)


@virtual_time
async def test_a_card_is_fetched_again_when_it_has_grown_old() -> None:
    _, cards, _ = await registered(place := Cards(max_age=100))
    cards.start()
    await asyncio.sleep(1000)
    await cards.stop()

    times = [at for at, _, _ in place.asked]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(set(pauses)) == len(pauses)
    assert 75 <= min(pauses) <= max(pauses) <= 100


@pytest.mark.parametrize(("max_age", "least", "most"), [(0.0, 22.5, 30), (None, 225, 300), (1e9, 2700, 3600)])
@virtual_time
async def test_how_long_a_card_holds_has_limits(max_age: float | None, least: float, most: float) -> None:
    _, cards, _ = await registered(place := Cards(max_age))
    cards.start()
    await asyncio.sleep(4000)
    await cards.stop()

    assert least <= place.asked[1][0] - place.asked[0][0] <= most


@virtual_time
async def test_one_that_is_not_there_is_looked_for_less_and_less_often() -> None:
    _, cards, _ = await registered(place := Cards(max_age=30))
    place.now = AWAY
    cards.start()
    await asyncio.sleep(600)
    await cards.stop()

    times = [at for at, _, _ in place.asked][1:]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert 0.75 <= pauses[0] <= 1
    assert 45 <= pauses[-1] <= 60


@virtual_time
async def test_an_agent_of_an_earlier_life_is_there_at_once_and_its_card_fetched_soon() -> None:
    registry, place, credential = AgentRegistry(), Cards(), Credential("s3cret")
    place.now = card("3.0.0")
    cards = AgentCards(registry, place)
    last = Agent("reviewer", ("code_review",), version="2.0.0", endpoint=URL)
    cards.restore(RemoteAgent("reviewer", URL), last, credential)
    assert registry.get_agent("reviewer").version == "2.0.0"

    cards.start()
    await asyncio.sleep(30)
    await cards.stop()

    assert registry.get_agent("reviewer").version == "3.0.0"
    assert [one[1:] for one in place.asked] == [("", credential)]


@virtual_time
async def test_thousands_of_them_are_not_asked_at_once() -> None:
    most, now = 0, 0

    class Busy(Cards):
        async def __call__(self, url: str, etag: str, credential: Credential | None) -> FetchedCard:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.1)
            now -= 1
            return await super().__call__(url, etag, credential)

    registry, place = AgentRegistry(), Busy(max_age=None)
    cards = AgentCards(registry, place)
    for number in range(1000):
        cards.restore(RemoteAgent(f"agent{number}", URL))
    cards.start()
    await asyncio.sleep(60)
    await cards.stop()

    assert (most <= 32, len(place.asked)) == (True, 1000)


@virtual_time
async def test_one_that_takes_long_does_not_hold_up_the_others() -> None:
    class Slow(Cards):
        async def __call__(self, url: str, etag: str, credential: Credential | None) -> FetchedCard:
            if url != URL:
                await asyncio.sleep(99)
            return await super().__call__(url, etag, credential)

    registry, place = AgentRegistry(), Slow()
    cards = AgentCards(registry, place)
    cards.restore(RemoteAgent("slow", "https://slow.example"))
    cards.restore(RemoteAgent("reviewer", URL))
    cards.start()
    await asyncio.sleep(30)

    assert registry.get_agent("reviewer").version == "1.0.0"
    await cards.stop()
