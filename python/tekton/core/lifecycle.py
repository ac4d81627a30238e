"""The component lifecycle: states, legal transitions, and the values that describe a component.

Everything here is plain data. `VALID_TRANSITIONS` is the table that the documentation, the diagrams, the HTTP
errors and the native kernel follow; importing this module fails if the kernel disagrees with it.
"""

import re
import sys
import unicodedata
from copy import copy
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from tekton import _native
from tekton.core.offered_agents import Agents, OfferedAgent, checked_agents
from tekton.core.offered_tools import Offered, OfferedTool, checked_tools
from tekton.utils import tekton_ids
from tekton.utils.endpoints import endpoint_problem
from tekton.utils.json_depth import is_deeper
from tekton.utils.random_uuid import random_uuid
from tekton.utils.tekton_errors import InvalidRegistrationError

check_id = tekton_ids.check_id
nearest_id = tekton_ids.nearest_id


class ComponentState(Enum):
    """The nine public states of a component.

    Each member carries `index` (its position, the code used by the native table), `bit` (`1 << index`) and
    `mask` (the bits of the states that may follow), so that one check is `current.mask & target.bit`.
    """

    index: int
    bit: int
    mask: int

    UNKNOWN = "unknown"
    REGISTERING = "registering"
    INITIALIZING = "initializing"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


VALID_TRANSITIONS: dict[ComponentState, list[ComponentState]] = {
    ComponentState.UNKNOWN: [ComponentState.REGISTERING],
    ComponentState.REGISTERING: [ComponentState.INITIALIZING, ComponentState.FAILED],
    ComponentState.INITIALIZING: [ComponentState.STARTING, ComponentState.FAILED],
    ComponentState.STARTING: [ComponentState.READY, ComponentState.DEGRADED, ComponentState.FAILED],
    ComponentState.READY: [ComponentState.DEGRADED, ComponentState.STOPPING, ComponentState.FAILED],
    ComponentState.DEGRADED: [ComponentState.READY, ComponentState.STOPPING, ComponentState.FAILED],
    ComponentState.FAILED: [ComponentState.INITIALIZING, ComponentState.STOPPING],
    ComponentState.STOPPING: [ComponentState.STOPPED, ComponentState.FAILED],
    ComponentState.STOPPED: [ComponentState.INITIALIZING],
}
"""State -> the states that may follow it. Whatever is not here is refused with IllegalTransitionError."""

STATES: tuple[ComponentState, ...] = tuple(ComponentState)
"""The states by `index`."""

USABLE: frozenset[ComponentState] = frozenset({ComponentState.READY, ComponentState.DEGRADED})
"""States that satisfy a dependency and that discovery returns (READY first)."""

ENDED: frozenset[ComponentState] = frozenset({ComponentState.FAILED, ComponentState.STOPPED})
"""States in which an instance can be replaced by a new one."""

PATH_TO_READY: dict[ComponentState, tuple[ComponentState, ...]] = {
    ComponentState.REGISTERING: (ComponentState.INITIALIZING, ComponentState.STARTING, ComponentState.READY),
    ComponentState.INITIALIZING: (ComponentState.STARTING, ComponentState.READY),
    ComponentState.STARTING: (ComponentState.READY,),
    ComponentState.DEGRADED: (ComponentState.READY,),
    ComponentState.READY: (),
}
"""The steps that `mark_component_ready` records; from any other state it refuses: it never resurrects."""


def _annotate_members() -> None:
    for index, state in enumerate(STATES):
        state.index = index
        state.bit = 1 << index
    for state, targets in VALID_TRANSITIONS.items():
        state.mask = sum(target.bit for target in targets)


_annotate_members()

_USABLE_BITS = sum(state.bit for state in USABLE)

if tuple(state.mask for state in STATES) != _native.TRANSITION_MASKS:
    raise ImportError("tekton._native was built with another lifecycle table: rebuild the extension")


def can_transition(current: ComponentState, target: ComponentState) -> bool:
    """True when the table has *current* -> *target*."""
    return bool(current.mask & target.bit)


def new_instance_uuid() -> str:
    """A fresh random instance id."""
    return random_uuid()


MAX_FORGET_AFTER = 315_360_000.0
"""Ten years, in seconds."""
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def _shown(**schema: Any) -> msgspec.Meta:
    """What the JSON schema says; `check_registration` checks it, and says more of what is wrong."""
    return msgspec.Meta(extra_json_schema=schema)


class ComponentRegistration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a component says about itself when it registers.

    Lists are kept as tuples, each name once. `endpoint` is the base URL (http or https) under which it is reached,
    `max_instances` how many live instances of the id may exist at once. `forget_after` is for how many seconds an
    instance that has FAILED or STOPPED stays in the registry (`core/forgetting.py`); None: until somebody removes it.
    `tools` are those that it offers at its endpoint (`core/offered_tools.py`), `agents` those that are there
    (`core/offered_agents.py`); unset: none.
    """

    component_id: Annotated[str, _shown(pattern=f"^{tekton_ids.ID_PATTERN}$")]
    component_name: str = ""
    component_type: str = "service"
    version: str = "0.0.0"
    capabilities: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    instance_uuid: Annotated[str, _shown(pattern=f"^{_CANONICAL_UUID.pattern}$")] = msgspec.field(
        default_factory=new_instance_uuid
    )
    endpoint: str | None = None
    max_instances: Annotated[int, _shown(minimum=1, maximum=10_000)] = 1
    metadata: dict[str, Any] = {}
    forget_after: Annotated[float, _shown(minimum=0, maximum=MAX_FORGET_AFTER)] | None = None
    tools: Offered = msgspec.UNSET
    agents: Agents = msgspec.UNSET

    def __post_init__(self) -> None:
        # Callers pass lists; a frozen value must not change behind the registry's back. A name counts once.
        if len(self.capabilities) > 1 or type(self.capabilities) is not tuple:
            msgspec.structs.force_setattr(self, "capabilities", tuple(dict.fromkeys(self.capabilities)))
        if len(self.dependencies) > 1 or type(self.dependencies) is not tuple:
            msgspec.structs.force_setattr(self, "dependencies", tuple(dict.fromkeys(self.dependencies)))


MAX_NAMES = 256
MAX_METADATA_BYTES = 64 * 1024
MAX_METADATA_DEPTH = 64
_MAX_TEXT = 256
_FEW = 8
"""So many names are probably those of other components too: what was found out about them is remembered."""

_encode = msgspec.json.Encoder().encode
_decode_registration = msgspec.json.Decoder(ComponentRegistration).decode
_decode_metadata = msgspec.json.Decoder(dict[str, Any]).decode


def check_registration(registration: ComponentRegistration) -> ComponentRegistration:
    """Return *registration* as it is kept: a copy that shares nothing, with what JSON makes of its metadata.

    Raises InvalidIdError or InvalidRegistrationError for the first field that cannot be accepted.
    """
    try:
        _check_values(registration)
    except TypeError:
        # Python checks no types. Decoding does, and tells where one is wrong.
        _copy(registration, plain=False)
        raise
    copied = _copy(registration, plain=_is_plain(registration))
    share_strings(copied)
    return copied


def _check_values(registration: ComponentRegistration) -> None:
    check_id(registration.component_id)
    for field, names in (("capabilities", registration.capabilities), ("dependencies", registration.dependencies)):
        (_check_few_names if len(names) <= _FEW else _check_names)(field, names)
    _check_texts(registration)
    if registration.max_instances < 1 or registration.max_instances > 10_000:
        raise InvalidRegistrationError("/max_instances", "must be between 1 and 10000")
    if registration.forget_after is not None and not 0 <= registration.forget_after <= MAX_FORGET_AFTER:
        raise InvalidRegistrationError("/forget_after", f"must be between 0 and {MAX_FORGET_AFTER:.0f} seconds")
    _check_instance_uuid(registration.instance_uuid)


def _check_names(field: str, names: tuple[str, ...]) -> None:
    if len(names) > MAX_NAMES:
        raise InvalidRegistrationError(f"/{field}", f"{len(names)} names; at most {MAX_NAMES} are allowed")
    for position, name in enumerate(names):
        check_id(name, f"/{field}/{position}", dots=field == "capabilities")


_check_few_names = lru_cache(maxsize=2048)(_check_names)


def _check_texts(registration: ComponentRegistration) -> None:
    texts = "".join((registration.component_name, registration.component_type, registration.version))
    # Nearly always one look is enough.
    if not (len(texts) <= _MAX_TEXT and texts.isascii() and texts.isprintable()):
        _check_text("component_name", registration.component_name)
        _check_text("component_type", registration.component_type)
        _check_text("version", registration.version)
    if registration.endpoint and (problem := endpoint_problem(registration.endpoint)) is not None:
        raise InvalidRegistrationError("/endpoint", problem)


def _check_text(field: str, text: str) -> None:
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise InvalidRegistrationError(f"/{field}", f"must be printable and at most {_MAX_TEXT} characters")
    # Two names that look the same should be the same.
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidRegistrationError(f"/{field}", "must be in Unicode's composed form (NFC)")


def _is_plain(registration: ComponentRegistration) -> bool:
    """True when JSON would give everything in a checked *registration* back as it is, but perhaps its metadata."""
    texts = (
        registration.component_id,
        registration.component_name,
        registration.component_type,
        registration.version,
        registration.instance_uuid,
        registration.endpoint,
        *registration.capabilities,
        *registration.dependencies,
    )
    return (
        type(registration.metadata) is dict
        and type(registration.max_instances) is int
        and (registration.forget_after is None or type(registration.forget_after) is float)
        and _PLAIN.issuperset(map(type, texts))
        and type(registration) is ComponentRegistration
    )


_PLAIN = frozenset({str, type(None)})


def _copy(registration: ComponentRegistration, *, plain: bool) -> ComponentRegistration:
    # What cannot come back from the disk must not get there: Python checks no types.
    try:
        copied = copy(registration) if plain else _decode_registration(_encode(registration))
        # The only part that its owner could still change.
        metadata = _copy_of_metadata(registration.metadata) if registration.metadata else {}
    except msgspec.ValidationError as error:
        problem, _, path = str(error).removesuffix("`").partition(" - at `$.")
        raise InvalidRegistrationError("/" + path.replace("[", "/").replace("]", ""), problem) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRegistrationError("/metadata", f"cannot be JSON: {error}") from None
    msgspec.structs.force_setattr(copied, "metadata", metadata)
    if registration.tools is not msgspec.UNSET:
        msgspec.structs.force_setattr(copied, "tools", checked_tools(registration.component_id, registration.tools))
    if registration.agents is not msgspec.UNSET:
        msgspec.structs.force_setattr(copied, "agents", checked_agents(registration.agents))
    return copied


def _copy_of_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    data = _encode(metadata)
    if len(data) > MAX_METADATA_BYTES:
        raise InvalidRegistrationError("/metadata", f"larger than {MAX_METADATA_BYTES} bytes as JSON")
    copied = _decode_metadata(data)
    if data.count(b"{") + data.count(b"[") > MAX_METADATA_DEPTH and is_deeper(copied, MAX_METADATA_DEPTH):
        # One such record could not be written as part of a list, and so would spoil every list.
        raise InvalidRegistrationError("/metadata", f"nested more than {MAX_METADATA_DEPTH} levels deep")
    return copied


def _check_instance_uuid(value: str) -> None:
    if _CANONICAL_UUID.fullmatch(value) is None:
        raise InvalidRegistrationError("/instance_uuid", f"{value!r} is not a UUID in its canonical form")


# The garbage collector need not look at hundreds of thousands of records and changes: JSON values form no cycles.
class ComponentRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instance of a component as the registry knows it.

    `generation` counts the instances that held the id one after another, from 1. `revision` is that of the last
    change to this record. `registered_at` and `changed_at` are wall-clock seconds. `reason` says why the
    component is in its state, where that is not obvious. `supervised` means that Tekton runs the process.
    `serving` False takes traffic away: discovery does not name the instance, but dependencies are satisfied by it. It
    means something only of a usable instance, and is true again when the instance is started anew. `forget_after`,
    `tools` and `agents` are those of the registration.
    """

    component_id: str
    instance_uuid: str
    component_name: str
    component_type: str
    version: str
    capabilities: tuple[str, ...]
    dependencies: tuple[str, ...]
    endpoint: str | None
    metadata: dict[str, Any]
    max_instances: int
    supervised: bool
    state: ComponentState
    reason: str | None
    generation: int
    revision: int
    registered_at: float
    changed_at: float
    serving: bool = True
    forget_after: float | None = None
    tools: Offered = msgspec.UNSET
    agents: Agents = msgspec.UNSET

    @property
    def offered(self) -> tuple[OfferedTool, ...]:
        """The tools of the instance, of which the registration tells nothing where there are none."""
        return () if isinstance(self.tools, msgspec.UnsetType) else self.tools

    @property
    def offered_agents(self) -> tuple[OfferedAgent, ...]:
        """The agents of the instance, of which the registration tells nothing where there are none."""
        return () if isinstance(self.agents, msgspec.UnsetType) else self.agents

    @property
    def usable(self) -> bool:
        """True when the component satisfies a dependency (READY or DEGRADED)."""
        return bool(self.state.bit & _USABLE_BITS)

    @property
    def discoverable(self) -> bool:
        """True when discovery names the instance: it is usable and takes traffic."""
        return self.serving and bool(self.state.bit & _USABLE_BITS)


def share_strings(description: ComponentRegistration | ComponentRecord) -> None:
    """Let a freshly decoded *description* use the same strings as all others for what many components have in common.

    Saves some 400 bytes for each component.
    """
    set_attribute = msgspec.structs.force_setattr
    for field, names in (("capabilities", description.capabilities), ("dependencies", description.dependencies)):
        if names:
            set_attribute(description, field, (_share_few if len(names) <= _FEW else _share)(names))
    set_attribute(description, "component_type", sys.intern(description.component_type))
    set_attribute(description, "version", sys.intern(description.version))


def _share(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(sys.intern, names))


_share_few = lru_cache(maxsize=1024)(_share)


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One change of the registry, as watchers see it.

    `kind` is `registered`, `state`, `serving` (traffic was taken away or given back; the state is what it was, and
    `reason` tells why), `updated` (a registration repeated with other contents) or `deregistered` (the `reason` tells
    whether it was forgotten). `record` is the component after the change (the last one known, for `deregistered`).
    """

    revision: int
    at: float
    kind: str
    component_id: str
    instance_uuid: str
    previous: ComponentState | None
    state: ComponentState
    reason: str | None
    record: ComponentRecord
