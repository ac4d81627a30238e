"""Queries find what a look at each agent would find."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton.a2a.agent import Agent, AgentHealth, Locality
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.discovery import AgentDiscovery, AgentQuery
from tekton.a2a.versions import InvalidVersionError, Version, VersionRange
from tekton.utils.tekton_errors import NoAgentAvailableError

CAPABILITIES = ("paint", "review", "write")
TAGS = ("fast", "python")
VERSIONS = ("1.0.0", "1.5.0", "2.0.0")
COMPONENTS = ("ok", "limping", "down")
HEALTH = dict(zip(COMPONENTS, AgentHealth))


async def work() -> None:
    """Do nothing."""


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


agents = st.lists(
    st.builds(
        Agent,
        agent_id=st.integers(0, 9).map("agent-{}".format),
        capabilities=some(CAPABILITIES),
        version=st.sampled_from(VERSIONS),
        tags=some(TAGS),
        endpoint=st.sampled_from([None, "https://agents.example"]),
        component_id=st.sampled_from([None, *COMPONENTS]),
        handler=st.sampled_from([None, work]),
    ),
    unique_by=lambda agent: agent.agent_id,
)
queries = st.builds(
    AgentQuery,
    capabilities=some(CAPABILITIES),
    tags=some(TAGS),
    version=st.sampled_from([None, ">=1.5", "<2", "1"]),
    localities=st.sets(st.sampled_from(Locality), min_size=1).map(frozenset),
    prefer=some(TAGS),
    unusable=st.booleans(),
)


def naive(known: list[Agent], query: AgentQuery) -> list[str]:
    def health(agent: Agent) -> AgentHealth:
        return HEALTH.get(agent.component_id or "ok", AgentHealth.USABLE)

    fitting = [
        agent
        for agent in known
        if all(name in agent.capabilities for name in query.capabilities)
        and all(tag in agent.tags for tag in query.tags)
        and (query.version is None or Version.parse(agent.version) in VersionRange(query.version))
        and agent.locality in query.localities
        and (query.unusable or health(agent) != AgentHealth.UNUSABLE)
    ]
    fitting.sort(
        key=lambda agent: (
            health(agent),
            -sum(tag in agent.tags for tag in query.prefer),
            agent.locality is Locality.NOWHERE,
            agent.agent_id,
        )
    )
    return [agent.agent_id for agent in fitting]


@given(agents, queries)
def test_a_query_finds_what_a_filter_over_all_agents_finds_in_order(known: list[Agent], query: AgentQuery) -> None:
    registry = AgentRegistry(health=HEALTH.__getitem__)
    for agent in known:
        registry.add(agent)

    assert [agent.agent_id for agent in AgentDiscovery(registry).find(query)] == naive(known, query)


def discovery_of(*known: Agent) -> AgentDiscovery:
    registry = AgentRegistry(health=HEALTH.__getitem__)
    for agent in known:
        registry.add(agent)
    return AgentDiscovery(registry)


def test_the_first_one_is_chosen() -> None:
    discovery = discovery_of(
        Agent("a", ("review",), handler=work), Agent("b", ("review",), handler=work, tags=("fast",))
    )

    assert discovery.choose(AgentQuery(("review",))).agent_id == "a"
    assert discovery.choose(AgentQuery(("review",), prefer=("fast",))).agent_id == "b"


@pytest.mark.parametrize("unusable", [False, True])
def test_where_nobody_is_usable_the_error_names_those_who_could(unusable: bool) -> None:
    discovery = discovery_of(Agent("a", ("review",), component_id="down"), Agent("b", ("write",)))

    with pytest.raises(NoAgentAvailableError) as caught:
        discovery.choose(AgentQuery(("review",), unusable=unusable))

    assert (caught.value.wanted, caught.value.unusable) == ("review", ["a"])
    assert str(caught.value) == "no agent is available for review"
    assert caught.value.hint == "not usable at the moment: a"


def test_a_query_says_what_it_wants() -> None:
    query = AgentQuery(("review",), ("fast",), ">=1", frozenset({Locality.LOCAL, Locality.REMOTE}))

    assert str(query) == "review, tag fast, version >=1, local or remote"
    assert str(AgentQuery()) == "anything"


def test_a_query_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(TypeError, match="tuples of names"):
        AgentQuery("review")  # type: ignore[arg-type]
    with pytest.raises(InvalidVersionError):
        AgentQuery(version="new")
