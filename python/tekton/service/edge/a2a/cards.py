"""Agent cards: what there is to be asked here, and how (specification, 4.4 and 8).

There is one for the whole system, whose skills are those of all of its agents, and one for each agent. The first is
public: whoever may not see agents is shown one that says where to ask and what to show, and of skills only that there
are some. Extended cards are for those who have shown who they are. All of them are signed.

A card says what there is to be asked, not who is up at the moment: others keep it for as long as they like, and one
that has read it while a component was restarted would not know what that does. An agent that cannot be used is left
out when it is gone from the registry; until then, who asks it is told so.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from tekton import __version__
from tekton.a2a.agent import Agent, Skill
from tekton.a2a.agent_registry import AgentRegistry
from tekton.clock import SYSTEM_CLOCK
from tekton.service.edge.a2a.card_signer import CardSigner
from tekton.service.edge.a2a.parts import INPUT_MODES, OUTPUT_MODES
from tekton.service.edge.a2a.wanted import modes_of
from tekton.service.edge.a2a.wire import PROTOCOL_VERSION, encode

WELL_KNOWN: Final = "/.well-known/agent-card.json"
ROOT: Final = "/a2a"
MOST_SKILLS: Final = 1000
"""Skills in one card."""
_KEPT: Final = 16
"""Names under which the system is known, for each of which its card is kept."""
MAX_AGE: Final = 60
"""Seconds for which a card may be used without asking for it again."""

_CAPABILITIES: Final = {"streaming": True, "pushNotifications": True, "extendedAgentCard": True}
_HIDDEN: Final = {
    "id": "tasks",
    "name": "Tasks",
    "description": "What can be asked for is in the extended card, for those who show who they are.",
    "tags": ["tasks"],
}

Card = dict[str, Any]


class Sent(NamedTuple):
    """A card as it is sent, and its entity tag."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, card: Card) -> "Sent":
        """*card* as that."""
        body = encode(card)
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def agent_path(agent_id: str) -> str:
    """The path at which an agent is spoken to."""
    return f"{ROOT}/agents/{agent_id}"


def skills_of(agent: Agent) -> list[str]:
    """The ids of what *agent* can be asked for, the first ones first."""
    return list(dict.fromkeys((*agent.capabilities, *(skill.skill_id for skill in agent.skills))))


class Cards:
    """The cards of the agents in *registry*, signed by *signer*. *mutual_tls*: who calls has to have a certificate."""

    def __init__(self, registry: AgentRegistry, signer: CardSigner | None = None, *, mutual_tls: bool = False) -> None:
        self._registry = registry
        self._signer = signer or CardSigner(None, SYSTEM_CLOCK)
        self._schemes = _schemes(mutual_tls)
        self._skills: tuple[int, list[Card]] = (-1, [])
        self._ids: tuple[str, ...] = ()
        self._sent_for: tuple[int, tuple[str, ...]] = (-1, ())
        self._sent: dict[tuple[str, bool], Sent] = {}

    def of_system(self, origin: str, *, hidden: bool = False) -> Card:
        """The card of the whole system, for who knows it as *origin*. *hidden*: it says nothing of agents.

        O(1), unless agents have changed; then O(agents).
        """
        skills = [] if hidden else self.skills()
        card = self._card(
            "Tekton",
            "The agents of a system, reached through its control plane. A skill is a type of task.",
            f"{origin}{ROOT}",
            __version__,
            skills or [_HIDDEN],
        )
        return self._signer.sign(card, origin)

    def root(self, origin: str, *, hidden: bool = False) -> Sent:
        """`of_system` as it is sent; made once for as long as agents and keys stay as they are."""
        made_for = self._registry.version, self._signer.signed_by()
        if self._sent_for != made_for or len(self._sent) >= _KEPT:
            self._sent_for = made_for
            self._sent.clear()
        key = origin, hidden
        if key not in self._sent:
            self._sent[key] = Sent.of(self.of_system(origin, hidden=hidden))
        return self._sent[key]

    def of_agent(self, agent: Agent, origin: str, *, extended: bool = False) -> Card:
        """The card of *agent*. The *extended* one says more: its tags, what its metadata say, how usable it is."""
        card = self._card(
            agent.agent_id,
            agent.description or f"The agent {agent.agent_id}",
            f"{origin}{agent_path(agent.agent_id)}",
            agent.version,
            [_skill(agent, name) for name in skills_of(agent)] or [_HIDDEN],
            inputs=modes_of(agent, "input_modes"),
            outputs=modes_of(agent, "output_modes"),
        )
        if extended:
            card["capabilities"] = _CAPABILITIES | {"extensions": [self._details(agent)]}
        return self._signer.sign(card, origin)

    def skills(self) -> list[Card]:
        """The skills of all agents, usable or not, by id."""
        if self._skills[0] != self._registry.version:
            self._skills = (self._registry.version, _union(map(self._registry.get_agent, self._registry)))
            self._ids = tuple(skill["id"] for skill in self._skills[1])
        return self._skills[1]

    def skill_ids(self) -> Sequence[str]:
        """The ids of `skills`."""
        self.skills()
        return self._ids

    def _details(self, agent: Agent) -> Card:
        params = {
            "health": self._registry.health(agent.agent_id).name.lower(),
            "locality": agent.locality.value,
            "tags": list(agent.tags),
            "metadata": dict(agent.metadata),
        }
        return {"uri": "urn:tekton:agent", "description": "What is known of the agent", "params": params}

    def _card(
        self,
        name: str,
        description: str,
        url: str,
        version: str,
        skills: Sequence[Card],
        *,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
    ) -> Card:
        return {
            "name": name,
            "description": description,
            "supportedInterfaces": [
                {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": PROTOCOL_VERSION},
                {"url": f"{url}/rest", "protocolBinding": "HTTP+JSON", "protocolVersion": PROTOCOL_VERSION},
            ],
            "version": version,
            "capabilities": _CAPABILITIES,
            "securitySchemes": self._schemes,
            "securityRequirements": [{"schemes": {name: {"list": []} for name in self._schemes}}],
            "defaultInputModes": list(dict.fromkeys((*INPUT_MODES, *inputs))),
            "defaultOutputModes": list(dict.fromkeys((*OUTPUT_MODES, *outputs))),
            "skills": list(skills),
        }


def is_known(header: str | None, etag: str) -> bool:
    """Whether `If-None-Match` says that who asks has the card with *etag* (RFC 9110, 13.1.2)."""
    named = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return "*" in named or etag in named


def _schemes(mutual_tls: bool) -> Card:
    bearer = {
        "scheme": "Bearer",
        "description": "A token, an API key, or the credential of a component, of somebody who may run tasks",
    }
    schemes: Card = {"bearer": {"httpAuthSecurityScheme": bearer}}
    if mutual_tls:
        schemes["mtls"] = {"mtlsSecurityScheme": {"description": "A certificate of the authority of the system"}}
    return schemes


def _union(agents: Iterable[Agent]) -> list[Card]:
    skills: dict[str, Card] = {}
    for agent in agents:
        for name in skills_of(agent):
            told = _skill(agent, name)
            known = skills.setdefault(name, told)
            known["tags"] = list(dict.fromkeys((*known["tags"], *told["tags"])))
    return [skills[name] for name in sorted(skills)[:MOST_SKILLS]]


def _skill(agent: Agent, name: str) -> Card:
    known = next((skill for skill in agent.skills if skill.skill_id == name), None) or _named(agent, name)
    return {
        "id": name,
        "name": known.name,
        "description": known.description or agent.description or known.name,
        "tags": list(dict.fromkeys((*known.tags, *agent.tags))) or [name],
    }


def _named(agent: Agent, name: str) -> Skill:
    return Skill(name, name.replace("_", " ").replace("-", " ").replace(".", " ").capitalize(), agent.description)
