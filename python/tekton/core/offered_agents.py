"""The agents that a component says it is when it registers: who they are, and what they can do.

They are part of the registration, as its tools are (`core.offered_tools`): there after a restart of either side,
without anybody being asked, and whatever language the component is written in.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec

from tekton.core.offered import MAX_BYTES, MAX_DEPTH, kept
from tekton.utils.tekton_errors import InvalidRegistrationError
from tekton.utils.tekton_ids import check_id

MAX_AGENTS: Final = 64
MAX_AGENTS_BYTES: Final = MAX_BYTES
"""Of all that is said of them, as JSON."""
MAX_AGENTS_DEPTH: Final = MAX_DEPTH
_MAX_NAMES: Final = 256
_MAX_TEXT: Final = 2000
_VERSION: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.(0|[1-9][0-9]{0,17})){0,2}([-+][0-9A-Za-z.+-]{1,200})?")


class OfferedAgent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One of them. It is told of its work at `POST {endpoint}/api/agents/{agent_id}/tasks`.

    `capabilities` are what it is found by, `tags` words that describe it. `version` is one of Semantic Versioning.
    `metadata` is for whoever chooses agents.
    """

    agent_id: str
    capabilities: Annotated[tuple[str, ...], msgspec.Meta(extra_json_schema={"maxItems": _MAX_NAMES})] = ()
    description: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": _MAX_TEXT})] = ""
    version: str = "0.0.0"
    tags: Annotated[tuple[str, ...], msgspec.Meta(extra_json_schema={"maxItems": _MAX_NAMES})] = ()
    metadata: dict[str, Any] = {}


Agents = tuple[OfferedAgent, ...] | msgspec.UnsetType
"""The agents of a registration; unset where there are none, so that nothing is said of them."""

_decode = msgspec.json.Decoder(tuple[OfferedAgent, ...]).decode


def checked_agents(agents: Iterable[OfferedAgent]) -> Agents:
    """A copy of *agents* that shares nothing with it. Raises InvalidRegistrationError, InvalidIdError for a name."""
    agents = tuple(agents)
    if not agents:
        return msgspec.UNSET
    if len(agents) > MAX_AGENTS:
        raise InvalidRegistrationError("/agents", f"{len(agents)} agents; at most {MAX_AGENTS} are allowed")
    copied = kept("/agents", agents, _decode, lambda one: (one.metadata,))
    known: set[str] = set()
    for place, agent in enumerate(copied):
        _check(f"/agents/{place}", agent)
        if agent.agent_id in known:
            raise InvalidRegistrationError(f"/agents/{place}/agent_id", f"there are two agents {agent.agent_id}")
        known.add(agent.agent_id)
    return copied


def _check(pointer: str, agent: OfferedAgent) -> None:
    check_id(agent.agent_id, f"{pointer}/agent_id")
    for field, names in (("capabilities", agent.capabilities), ("tags", agent.tags)):
        if len(names) > _MAX_NAMES:
            raise InvalidRegistrationError(f"{pointer}/{field}", f"more than {_MAX_NAMES} names")
        for place, name in enumerate(names):
            check_id(name, f"{pointer}/{field}/{place}", dots=True)
    if len(agent.description) > _MAX_TEXT:
        raise InvalidRegistrationError(f"{pointer}/description", f"more than {_MAX_TEXT} characters")
    if _VERSION.fullmatch(agent.version) is None:
        raise InvalidRegistrationError(f"{pointer}/version", f"{agent.version[:64]!r} is no version like '1.4.0'")
