"""The index says what a look at all agents would say."""

from hypothesis import given
from hypothesis import strategies as st

from tekton.a2a.agent import Agent, AgentHealth
from tekton.a2a.agent_index import AgentIndex, Rank

NAMES = ("a", "b", "c")

moves = st.lists(
    st.tuples(st.integers(0, 6), st.sets(st.sampled_from(NAMES)), st.sampled_from(AgentHealth), st.integers(0, 2))
)


@given(moves)
def test_it_answers_as_a_look_at_all_of_them_does(moves: list[tuple[int, set[str], AgentHealth, int]]) -> None:
    index = AgentIndex()
    known: dict[str, tuple[Agent, Rank]] = {}
    for number, names, health, load in moves:
        agent_id = f"agent-{number}"
        if agent_id in known:
            agent, rank = known.pop(agent_id)
            index.remove(agent, agent.capabilities, rank)
        else:
            agent, rank = Agent(agent_id, tuple(sorted(names))), Rank(health, False, load, agent_id)
            index.add(agent, agent.capabilities, rank)
            known[agent_id] = agent, rank

        for name in NAMES:
            wanted = sorted((rank, agent.agent_id) for agent, rank in known.values() if name in agent.capabilities)
            assert [agent.agent_id for agent in index.all(name)] == [agent_id for _, agent_id in wanted]
            assert [agent.agent_id for agent in index.usable(name)] == [
                agent_id for rank, agent_id in wanted if rank.health < AgentHealth.UNUSABLE
            ]
            assert index.count(name) == len(wanted)
        assert index.names() == sorted({name for agent, _ in known.values() for name in agent.capabilities})
