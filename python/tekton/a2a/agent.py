"""An agent: what it can do, what is to be known about it, and how it is reached.

It can be reached by a handler in this process, or at an endpoint. One that has neither can be registered all the same:
who it is may be known before the way to it is.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final

from tekton.a2a.versions import InvalidVersionError, Version
from tekton.mcp.tool_result import GarbageError, as_json
from tekton.utils.strict_urls import InvalidUrlError, parse_url
from tekton.utils.tekton_errors import InvalidAgentError
from tekton.utils.tekton_ids import check_id

__all__ = ["Agent", "AgentHandler", "AgentHealth", "Locality", "Skill"]

MOST_METADATA: Final = 64 * 1024
"""Bytes of metadata, as JSON."""
MOST_NAMES: Final = 256
"""How many capabilities, skills, or tags an agent may have."""
MOST_TEXT: Final = 2000
"""Characters of a name or a description."""

AgentHandler = Callable[..., Any]
"""What does the work of an agent that is in this process; a coroutine function, or a plain one."""


class Locality(StrEnum):
    """Where an agent is, the nearest first."""

    LOCAL = "local"
    """In this process: it has a handler."""
    REMOTE = "remote"
    """At an endpoint."""
    NOWHERE = "nowhere"
    """There is no way to it yet."""


class AgentHealth(IntEnum):
    """What can be expected of an agent, the best first."""

    USABLE = 0
    IMPAIRED = 1
    """It is to be asked only where nobody else can be: its component is degraded, or takes no traffic."""
    UNUSABLE = 2
    """It is not to be asked."""


@dataclass(frozen=True, slots=True)
class Skill:
    """Something that an agent can do, as it tells others: the skill of an agent card (Agent2Agent 1.0, 4.4.5)."""

    skill_id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent. A value, checked when it is made: InvalidIdError, InvalidAgentError.

    *capabilities* are what it is found by; *skills* describe them to others, and *tags* are words of its own. *version*
    is one of Semantic Versioning. *metadata* is JSON, copied; do not change it. *component_id* is the component that it
    is part of: that one's state is its health.
    """

    agent_id: str
    capabilities: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: str = "0.0.0"
    skills: tuple[Skill, ...] = ()
    tags: tuple[str, ...] = ()
    endpoint: str | None = None
    component_id: str | None = None
    handler: AgentHandler | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_id(self.agent_id, "/agent_id")
        settle = object.__setattr__
        settle(self, "capabilities", self._names("/capabilities", self.capabilities))
        settle(self, "tags", self._names("/tags", self.tags))
        settle(self, "skills", tuple(self._skill(number, skill) for number, skill in enumerate(self.skills)))
        settle(self, "metadata", self._checked_metadata())
        if self.component_id is not None:
            check_id(self.component_id, "/component_id")
        if len(self.skills) > MOST_NAMES:
            raise self._invalid("/skills", f"more than {MOST_NAMES}")
        if self.handler is not None and not callable(self.handler):
            raise self._invalid("/handler", f"expected a function, got {type(self.handler).__name__}")
        self._check_version()
        self._check_endpoint()

    @property
    def description(self) -> str:
        """What its metadata say that it is; empty if nothing."""
        said = self.metadata.get("description")
        return said if isinstance(said, str) else ""

    @property
    def locality(self) -> Locality:
        """Where it is. A handler in this process goes before an endpoint."""
        if self.handler is not None:
            return Locality.LOCAL
        return Locality.NOWHERE if self.endpoint is None else Locality.REMOTE

    @property
    def all_tags(self) -> frozenset[str]:
        """Its own tags, and those of its skills."""
        return frozenset(self.tags).union(*(skill.tags for skill in self.skills))

    @property
    def parsed_version(self) -> Version:
        """Its version, to be compared."""
        return Version.parse(self.version)

    def describe(self) -> dict[str, Any]:
        """All of it that is JSON; what has no value is left out. `Agent.from_description` makes the same of it again,
        but for the handler."""
        described: dict[str, Any] = {
            "agent_id": self.agent_id,
            "capabilities": list(self.capabilities),
            "version": self.version,
            "metadata": dict(self.metadata),
        }
        if self.skills:
            described["skills"] = [
                {"id": one.skill_id, "name": one.name, "description": one.description, "tags": list(one.tags)}
                for one in self.skills
            ]
        optional = {"tags": list(self.tags), "endpoint": self.endpoint, "component_id": self.component_id}
        return described | {name: value for name, value in optional.items() if value}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> "Agent":
        """The agent of which `describe` has told. Raises TypeError for members that are missing or unknown."""
        skills = tuple(
            Skill(one["id"], one["name"], one.get("description", ""), tuple(one.get("tags", ())))
            for one in described.get("skills", ())
        )
        return cls(**{**described, "skills": skills})

    def _names(self, pointer: str, names: Iterable[str]) -> tuple[str, ...]:
        if isinstance(names, str):
            raise self._invalid(pointer, "expected a list of names, got one text")
        kept = tuple(dict.fromkeys(names))
        if len(kept) > MOST_NAMES:
            raise self._invalid(pointer, f"more than {MOST_NAMES}")
        for name in kept:
            check_id(name, pointer, dots=True)
        return kept

    def _skill(self, number: int, skill: Skill) -> Skill:
        pointer = f"/skills/{number}"
        check_id(skill.skill_id, f"{pointer}/id", dots=True)
        if max(len(skill.name), len(skill.description)) > MOST_TEXT:
            raise self._invalid(pointer, f"a text of more than {MOST_TEXT} characters")
        return Skill(skill.skill_id, skill.name, skill.description, self._names(f"{pointer}/tags", skill.tags))

    def _checked_metadata(self) -> dict[str, Any]:
        try:
            copy = as_json(dict(self.metadata), MOST_METADATA).content
        except GarbageError as error:
            raise self._invalid("/metadata", str(error)) from None
        return copy if isinstance(copy, dict) else {}

    def _check_version(self) -> None:
        try:
            Version.parse(self.version)
        except InvalidVersionError as error:
            raise self._invalid("/version", str(error)) from None

    def _check_endpoint(self) -> None:
        if self.endpoint is None:
            return
        try:
            parse_url(self.endpoint)
        except InvalidUrlError as error:
            raise self._invalid("/endpoint", str(error)) from None

    def _invalid(self, field: str, problem: str) -> InvalidAgentError:
        return InvalidAgentError(self.agent_id, field, problem)
