"""Agents and conversations: who can do it, among 10,000 agents; what a long conversation costs.

    python benches/agents.py [--full]

Each agent has three of 300 capabilities and two of 50 tags; one capability all of them have. Asked again is what
routing does: nothing has changed since somebody asked. "After a change" is that one agent of that capability has more
to do than before, so that the answer is made anew. The peers are what one writes first, a look at all agents, and a
dict of lists that are sorted for each answer; both give the same answer, in the same order.

The conversation is in memory, and so is its store: what is measured is what is checked, merged and copied.
"""

import random
import sys
import time
from collections.abc import Callable

from _measure import Gate, Outcome, compare, gate, parser, report, section, verdict
from tekton.a2a.agent import Agent, AgentHealth
from tekton.a2a.agent_registry import AgentRegistry
from tekton.a2a.conversation import Conversation
from tekton.a2a.discovery import AgentDiscovery, AgentQuery
from tekton.a2a.message import AgentMessage

AGENTS = 10_000
CAPABILITIES = 300
ASKED = 300
SENTENCES = (
    "The parser of the configuration accepts duplicate keys.",
    "Which of the two wins is a matter of luck.",
    "I suggest that number {} is refused with its line.",
    "Thanks, that is what I wanted to know.",
)


async def work() -> None:
    """Do nothing."""


def make_agents() -> list[Agent]:
    rng = random.Random(0)
    return [
        Agent(
            f"agent-{number}",
            ("everything", *(f"capability-{place}" for place in rng.sample(range(CAPABILITIES), 3))),
            tags=tuple(f"tag-{place}" for place in rng.sample(range(50), 2)),
            version=f"1.{number % 10}.0",
            handler=work,
        )
        for number in range(AGENTS)
    ]


def by_id(agent: Agent) -> str:
    return agent.agent_id


def measure_lookups(agents: list[Agent]) -> None:
    registry = AgentRegistry(health=lambda _: AgentHealth.USABLE)
    for agent in agents:
        registry.add(agent)
    asked = [f"capability-{number}" for number in range(CAPABILITIES)][:ASKED]
    lists: dict[str, list[Agent]] = {}
    for agent in agents:
        for capability in agent.capabilities:
            lists.setdefault(capability, []).append(agent)
    for capability in asked:
        found = list(registry.find_agents_by_capability(capability))
        assert found == sorted(lists[capability], key=by_id)
        assert found

    def over(find: Callable[[str], object], names: list[str]) -> Callable[[], None]:
        def run() -> None:
            for name in names:
                find(name)

        return run

    contenders = {
        "tekton find_agents_by_capability": over(registry.find_agents_by_capability, asked),
        "a dict of lists, sorted": over(lambda name: sorted(lists[name], key=by_id), asked),
        "a look at all agents": over(
            lambda name: sorted([agent for agent in agents if name in agent.capabilities], key=by_id), asked[:3]
        ),
    }
    outcomes = compare(contenders, "tekton find_agents_by_capability")
    ours = outcomes["tekton find_agents_by_capability"].seconds / ASKED
    scale = {"a look at all agents": ASKED / 3}
    each = {
        name: Outcome(one.seconds * scale.get(name, 1) / ASKED, one.ratio * scale.get(name, 1))
        for name, one in outcomes.items()
    }
    title = f"find the agents with a capability, about 100 of {AGENTS:,}, asked again"
    report(title, each, (Gate("a dict of lists, sorted", 20), Gate("a look at all agents", 1000)))
    gate("find_agents_by_capability", ours * 1e6, 5, unit="us", better="lower")
    everybody = compare({"all": lambda: registry.find_agents_by_capability("everything")}, "all")["all"].seconds
    gate(f"find_agents_by_capability, all {AGENTS:,}", everybody * 1e6, 5, unit="us", better="lower")
    measure_changes(registry)


def measure_changes(registry: AgentRegistry) -> None:
    section(f"{AGENTS:,} agents that change")
    turn = iter(range(1, 1 << 60))
    agent_id = registry.find_agents_by_capability("capability-1")[0].agent_id

    def change(capability: str) -> Callable[[], object]:
        def run() -> object:
            registry.set_load(agent_id, float(next(turn)))
            return registry.find_agents_by_capability(capability)

        return run

    few, all_ = change("capability-1"), change("everything")
    outcomes = compare({"few": few, "all": all_}, "few")
    gate("find after a change, about 100", outcomes["few"].seconds * 1e6, unit="us", better="lower")
    gate(f"find after a change, all {AGENTS:,}", outcomes["all"].seconds * 1e6, unit="us", better="lower")

    discovery = AgentDiscovery(registry)
    query = AgentQuery(("everything", "capability-1"), ("tag-1",), ">=1.2, <2")
    seconds = compare({"query": lambda: discovery.find(query)}, "query")["query"].seconds
    gate("a query: two capabilities, a tag, a version", seconds * 1e6, unit="us", better="lower")


def measure_conversation(count: int) -> None:
    section(f"a conversation of {count:,} messages")
    texts = [
        " ".join(SENTENCES[(number + step) % 4].format(number) for step in range(number % 4 + 1))
        for number in range(count)
    ]
    conversation = Conversation("bench", "ada", ["bob"])
    begun = time.perf_counter()
    for number, text in enumerate(texts):
        conversation.add_message(AgentMessage(("ada", "bob")[number % 2], text))
    gate("messages made and added", count / (time.perf_counter() - begun), unit="/s")
    history = compare({"history": lambda: conversation.get_history(limit=100)}, "history")["history"].seconds
    gate("get_history(limit=100)", history * 1e6, unit="us", better="lower")
    summary = compare({"summary": conversation.generate_summary}, "summary")["summary"].seconds
    gate("generate_summary()", summary * 1e3, 100, unit="ms", better="lower")


def main() -> int:
    options = parser(__doc__).parse_args()
    measure_lookups(make_agents())
    for count in (1_000, 100_000, *((1_000_000,) if options.full else ())):
        measure_conversation(count)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
