"""What can be permitted, and which roles permit it.

`PERMISSIONS` is the one list of permissions: routes, roles, `check_permission` and docs/reference/auth.md share it.
The rules:

* What no role grants is denied; an unknown role, permission or action grants nothing.
* A role holds everywhere ("all"), for the principal's own component ("own"), or for components whose ids match
  patterns in which `*` stands for any characters.
* Such a limit applies to the permissions in `SCOPED`, which are about one component. The rest is about the system as a
  whole, which everybody who may see it sees alike.
* Messages are published and read by subject. `messages:publish` of a role for the "own" component is for the subjects
  of that component; a role may name patterns of subjects besides, which need no permission beside them. What comes of
  it is in `tekton.auth.subjects`.
* In the same way a role may name tools instead of having `tools:call`, which is for all of them, and consumers of
  others under whose name it may work. In these patterns, too, `*` stands for any characters.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Literal

from tekton._native import is_valid_pattern
from tekton.utils.tekton_ids import nearest_name

PERMISSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "components:read": "See components, their states, dependencies, capabilities and events.",
        "components:register": "Register a component and deregister it.",
        "components:heartbeat": "Send heartbeats of a component, report its state, mark it ready.",
        "components:control": "Start, stop, restart, kill, drain and scale components.",
        "components:configure": "Define what a component runs, which is to run any command.",
        "logs:read": "Read the output of components.",
        "metrics:read": "Read the metrics.",
        "system:control": "Stop the whole system, reload its configuration, back it up.",
        "auth:manage": "Create, list and revoke tokens and API keys; bind roles to subjects; rotate keys.",
        "audit:read": "Read the audit log.",
        "messages:publish": "Publish messages and send requests; a component to its own subjects and others' requests.",
        "messages:read": "Hear and replay messages, except private ones of others; who may publish consumes, too.",
        "messages:manage": "Create, change and delete streams and consumers; see dead letters.",
        "tools:call": "Call tools.",
        "agents:read": "See the agents that there are, and the types of tasks.",
        "agents:manage": "Register and remove remote agents; declare types of tasks.",
        "tasks:run": "Create tasks; see, answer, cancel, retry and forget one's own.",
        "tasks:manage": "The same with the tasks of everybody.",
        "conversations:use": "Begin conversations; read, and speak in, those in which one takes part.",
        "conversations:manage": "See, change and delete the conversations of everybody.",
    }
)
SCOPED: Final = frozenset(
    {"components:register", "components:heartbeat", "components:control", "components:configure", "logs:read"}
)
"""The permissions that are about one component, so that a role may hold them for some components only."""

ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "register_component": "components:register",
        "unregister_component": "components:register",
        "send_heartbeat": "components:heartbeat",
        "update_state": "components:heartbeat",
        "mark_component_ready": "components:heartbeat",
        "read_components": "components:read",
        "manage_components": "components:control",
        "configure_components": "components:configure",
        "read_logs": "logs:read",
        "read_metrics": "metrics:read",
        "manage_system": "system:control",
        "manage_auth": "auth:manage",
        "read_audit": "audit:read",
        "publish_messages": "messages:publish",
        "read_messages": "messages:read",
        "manage_messages": "messages:manage",
        "call_tools": "tools:call",
        "read_agents": "agents:read",
        "register_agent": "agents:manage",
        "manage_agents": "agents:manage",
        "create_task": "tasks:run",
        "run_tasks": "tasks:run",
        "manage_tasks": "tasks:manage",
        "use_conversations": "conversations:use",
        "manage_conversations": "conversations:manage",
    }
)
"""Other names of permissions: those of actions. Several actions may be one permission."""

INBOX: Final = "_inbox"
RESERVED: Final = "tekton"
REQUESTS: Final = "requests"
"""The tokens of subjects that mean something: see `tekton.bus.bus`."""

Scope = Literal["all", "own"] | tuple[str, ...]

_PATTERN: Final = re.compile(r"[a-z0-9_*-]{1,128}")
_TOOLS: Final = re.compile(r"[a-z0-9_.*-]{1,257}")
_CONSUMERS: Final = re.compile(r"[a-z0-9_*-]{1,128}/[a-z0-9_*-]{1,128}")


def names_requests(pattern: str) -> bool:
    """Whether *pattern* is about requests: `<id>.requests.>`. Those that do not say so stand for none."""
    tokens = pattern.split(".", 2)
    return len(tokens) == 3 and tokens[1] == REQUESTS and tokens[0] not in (RESERVED, INBOX)


def unpublishable(pattern: str) -> str | None:
    """Why no role can permit to publish to *pattern*, or None."""
    if not is_valid_pattern(pattern):
        return "is no pattern of subjects"
    if pattern.partition(".")[0] in (RESERVED, INBOX):
        return "is reserved: only Tekton publishes there"
    return None


def unhearable(pattern: str) -> str | None:
    """Why no role can permit to subscribe to *pattern*, or None."""
    if not is_valid_pattern(pattern):
        return "is no pattern of subjects"
    if pattern.partition(".")[0] == INBOX:
        return "is private: answers are for those who asked"
    return None


def unstorable(pattern: str) -> str | None:
    """Why no stream can take *pattern*, or None."""
    return unhearable(pattern) or unpublishable(pattern)


def uncallable(pattern: str) -> str | None:
    """Why no tool can match *pattern*, or None."""
    return None if _TOOLS.fullmatch(pattern) else "can match no tool"


def unconsumable(pattern: str) -> str | None:
    """Why no consumer can match *pattern*, or None."""
    return None if _CONSUMERS.fullmatch(pattern) else "can match no consumer: <stream>/<consumer>"


def _refuse(patterns: Iterable[str], problem_of: Callable[[str], str | None]) -> None:
    for pattern in patterns:
        if (problem := problem_of(pattern)) is not None:
            raise ValueError(f"{pattern!r} {problem}")


@dataclass(frozen=True, slots=True)
class Role:
    """What a role permits, and for which components. Raises ValueError for what is no permission or no pattern."""

    permissions: frozenset[str]
    scope: Scope = "all"
    publish: tuple[str, ...] = ()
    """Patterns of subjects that may be published to, beside what the permissions say."""
    subscribe: tuple[str, ...] = ()
    """Patterns of subjects that may be subscribed to, beside what the permissions say."""
    tools: tuple[str, ...] = ()
    """Patterns of tools (`engram.*`) that may be called, beside what the permissions say."""
    consume: tuple[str, ...] = ()
    """Patterns of consumers of others (`orders/billing`: of a stream) under whose name it may work."""

    def __post_init__(self) -> None:
        for permission in self.permissions:
            if permission not in PERMISSIONS:
                raise ValueError(f"{permission!r} is no permission{_nearest(permission, PERMISSIONS)}")
        for pattern in self.scope if isinstance(self.scope, tuple) else ():
            if _PATTERN.fullmatch(pattern) is None:
                raise ValueError(f"{pattern!r} can match no component")
        _refuse(self.publish, unpublishable)
        _refuse(self.subscribe, unhearable)
        _refuse(self.tools, uncallable)
        _refuse(self.consume, unconsumable)


@dataclass(frozen=True, slots=True)
class Grants:
    """All that one principal may do. `NO_GRANTS` is nothing."""

    everywhere: frozenset[str] = frozenset()
    own: frozenset[tuple[str, str]] = frozenset()
    """(permission, exact name of a component or of one of its units)"""
    matching: tuple[tuple[str, str], ...] = ()
    """(permission, pattern of component ids)"""
    publish: frozenset[str] = frozenset()
    """Patterns of subjects; `>` stands for all that is not reserved."""
    subscribe: frozenset[str] = frozenset()
    """Patterns of subjects; `>` stands for all that is not private to somebody."""
    tools: frozenset[str] = frozenset()
    """Patterns of tools."""
    consume: frozenset[str] = frozenset()
    """Patterns of `<stream>/<consumer>`, of others."""

    def allows(self, permission: str, component_id: str | None = None) -> bool:
        """Whether *permission* is granted for that component or unit; for all of them where none is named.

        O(1) for what is granted everywhere or for the own component, else O(patterns).
        """
        if permission in self.everywhere:
            return True
        if component_id is None:
            return False
        return (permission, component_id) in self.own or self._matches(permission, component_id)

    def allows_some(self, permission: str) -> bool:
        """Whether *permission* is granted for one component at least. Which one has still to be checked."""
        return permission in self.everywhere or any(granted == permission for granted, _ in (*self.own, *self.matching))

    def calls(self, tool_id: str) -> bool:
        """Whether the tool `<component>.<name>` may be called. O(patterns)."""
        return any(fnmatchcase(tool_id, pattern) for pattern in self.tools)

    def shares(self, stream: str, consumer: str) -> bool:
        """Whether a consumer that somebody else has made may be worked with. O(patterns)."""
        return "messages:manage" in self.everywhere or any(
            fnmatchcase(f"{stream}/{consumer}", pattern) for pattern in self.consume
        )

    def _matches(self, permission: str, component_id: str) -> bool:
        # A pattern that matches a component matches each of its replicas: `worker` does so for the unit `worker.2`.
        name = component_id.partition(".")[0]
        return any(granted == permission and fnmatchcase(name, pattern) for granted, pattern in self.matching)


NO_GRANTS: Final = Grants()

_READ: Final = frozenset({"components:read", "metrics:read", "agents:read"})
_SPEAK: Final = frozenset({"components:register", "components:heartbeat"})
_CONVERSE: Final = frozenset({"messages:publish", "messages:read", "tools:call", "tasks:run", "conversations:use"})
_MANAGE: Final = frozenset({"messages:manage", "agents:manage", "tasks:manage", "conversations:manage"})
_MONITOR: Final = _READ | {"logs:read", "messages:read"}

ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {
        # That anonymous callers speak for themselves only is seen to by the instance that each write has to name.
        "anonymous": Role(_READ | _SPEAK),
        "component": Role(_READ | _SPEAK | _CONVERSE, "own"),
        "monitor": Role(_MONITOR),
        "operator": Role(_MONITOR | _CONVERSE | _MANAGE | {"components:control", "system:control"}),
        "admin": Role(frozenset(PERMISSIONS)),
    }
)
"""The roles that are always there. None of them can be redefined."""


class RoleTable:
    """The roles of an installation: those of `ROLES`, and *custom* ones.

    Raises ValueError when a custom role has the name of one that is there already.
    """

    def __init__(self, custom: Mapping[str, Role] = MappingProxyType({})) -> None:
        if taken := sorted(ROLES.keys() & custom.keys()):
            raise ValueError(f"the role {taken[0]!r} is built in")
        self.roles: Final[Mapping[str, Role]] = MappingProxyType({**ROLES, **custom})

    def grants(self, roles: Iterable[str], component_id: str | None = None) -> Grants:
        """What *roles* together permit to a principal that may speak for *component_id* (or for a unit of one)."""
        everywhere: set[str] = set()
        own: set[tuple[str, str]] = set()
        matching: dict[tuple[str, str], None] = {}
        publish: set[str] = set()
        subscribe: set[str] = set()
        tools: set[str] = set()
        consume: set[str] = set()
        for role in (self.roles[name] for name in roles if name in self.roles):
            limited = role.permissions & SCOPED if role.scope != "all" else frozenset()
            everywhere |= role.permissions - limited
            publish |= _published(role, component_id)
            subscribe |= _heard(role)
            tools |= _callable(role)
            consume |= set(role.consume)
            if role.scope == "own":
                own.update((permission, name) for permission in limited for name in _names(component_id))
            elif role.scope != "all":
                matching.update(((permission, pattern), None) for permission in limited for pattern in role.scope)
        named = {"messages:publish": publish, "messages:read": subscribe, "tools:call": tools}
        everywhere |= {name for name, patterns in named.items() if patterns}
        patterns = (frozenset(one) for one in (publish, subscribe, tools, consume))
        return Grants(frozenset(everywhere), frozenset(own), tuple(matching), *patterns)


def permission_of(action: str) -> str | None:
    """The permission that *action* names, by its own name or by that of an action; None when there is none."""
    return action if action in PERMISSIONS else ACTIONS.get(action)


def _published(role: Role, component_id: str | None) -> set[str]:
    patterns = set(role.publish)
    if "messages:publish" in role.permissions:
        patterns |= _own_subjects(component_id) if role.scope == "own" else {">"}
    return patterns


def _own_subjects(component_id: str | None) -> set[str]:
    """What a component publishes to: its subjects, and the door of each other one. A replica does as its component."""
    if component_id is None:
        return set()
    name = component_id.partition(".")[0]
    return {name, f"{name}.>", f"*.{REQUESTS}.>"}


def _heard(role: Role) -> set[str]:
    return {*role.subscribe, ">"} if "messages:read" in role.permissions else set(role.subscribe)


def _callable(role: Role) -> set[str]:
    return {*role.tools, "*"} if "tools:call" in role.permissions else set(role.tools)


def _names(component_id: str | None) -> tuple[str, ...]:
    """Under which names a principal speaks: a replica has its own, and that of its component in the registry."""
    return () if component_id is None else (component_id, component_id.partition(".")[0])


def _nearest(name: str, names: Iterable[str]) -> str:
    nearest = nearest_name(name, names)
    return f"; did you mean {nearest!r}?" if nearest else ""
