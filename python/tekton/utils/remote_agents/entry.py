"""What lets somebody in at an agent that has turned us away: for who reads why a task was not done."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tekton.a2a.agent import Agent
from tekton.utils.remote_agents.card import AgentCard
from tekton.utils.remote_agents.credential import Credential

__all__ = ["how_to_get_in"]

_KINDS: Final = {
    "httpAuthSecurityScheme": "a token",
    "oauth2SecurityScheme": "a token of OAuth 2",
    "openIdConnectSecurityScheme": "a token of OpenID Connect",
    "apiKeySecurityScheme": "a key",
    "mtlsSecurityScheme": "a certificate",
}
"""Members of a security scheme (Agent2Agent 1.0, 4.5), and what they ask for, in words of ours."""
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def how_to_get_in(agent: Agent, card: AgentCard, credential: Credential | None, url: str) -> str:
    """What is missing at *url*, which has turned us away, and how it is given."""
    home = agent.endpoint or url
    if credential is not None and not credential.headers(url, home):
        return "the credential for it is not for that host: `hosts` of the credential names others that get it"
    missing = "it needs a credential" if credential is None else "the credential for it is not accepted"
    kinds = dict.fromkeys(_KINDS[kind] for kind, _ in _schemes(card))
    said = f" (its card asks for {' or '.join(kinds)})" if kinds else ""
    return f"{missing}{said}: tekton agent register {agent.agent_id} {home} --credential FILE{_header(card)}"


def _header(card: AgentCard) -> str:
    """The option for the header that a card names, where it names but one way in."""
    schemes = list(_schemes(card))
    if len(schemes) != 1 or schemes[0][0] != "apiKeySecurityScheme" or schemes[0][1].get("location") != "header":
        return ""
    name = schemes[0][1].get("name")
    return f" --header {name}" if isinstance(name, str) and _HEADER.fullmatch(name) else ""


def _schemes(card: AgentCard) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The security schemes of a card, by the kind; a stranger has written them."""
    schemes = card.document.get("securitySchemes")
    for scheme in schemes.values() if isinstance(schemes, dict) else ():
        for kind, body in scheme.items() if isinstance(scheme, dict) else ():
            if kind in _KINDS and isinstance(body, dict):
                yield kind, body
