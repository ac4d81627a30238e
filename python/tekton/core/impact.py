"""What would happen if a component were killed: a pure function over everything that is known of the system.

The component is taken away, and it is asked again who serves each capability that it has to do with; who needs it goes
by the policy that was chosen for a lost dependency (`dependents`). Who is restarted for it is away for a moment as
well, and so those that need that one are concerned in turn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from tekton.core.capability_service import Fallback, ServiceState, serve
from tekton.core.dependents import DependentPolicy

Effect = Literal["goes_on", "degrades", "restarts", "waits"]

EFFECTS: Final[Mapping[DependentPolicy, Effect]] = {"keep": "goes_on", "degrade": "degrades", "restart": "restarts"}


@dataclass(frozen=True, slots=True)
class Part:
    """One component, as far as it matters here. `needs` are the dependencies that it has while it runs.

    One that is `up` need not be `usable`: it may take no traffic.
    """

    usable: bool = True
    up: bool = True
    capabilities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    policy: DependentPolicy = "keep"
    comes_back: bool = True
    """Its restart policy starts it again."""


class CapabilityImpact(msgspec.Struct, frozen=True, kw_only=True):
    """Who serves a capability before and after. `state`: how it is served after.

    `left` are the fallbacks that could still take over afterwards, the next one first.
    """

    capability: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    state: ServiceState
    left: tuple[str, ...]


class ComponentImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a component that needs the one that is killed: directly, or `through` one that is restarted.

    `goes_on`, for better or worse; `degrades`: it is DEGRADED until what it needs is back; `restarts`: when what it
    needs is back; `waits`: it is not up, and cannot start as long.
    """

    component_id: str
    effect: Effect
    through: str | None = None


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen. `comes_back`: the component is restarted by its policy; `usable`: now, before."""

    component_id: str
    usable: bool
    comes_back: bool
    capabilities: tuple[CapabilityImpact, ...]
    components: tuple[ComponentImpact, ...]


def impact_of(component_id: str, parts: Mapping[str, Part], fallbacks: Mapping[str, Sequence[Fallback]]) -> Impact:
    """What would happen if the processes of *component_id*, one of *parts*, were killed. O(parts and their needs)."""
    killed = parts[component_id]
    concerned = dict.fromkeys(killed.capabilities)
    concerned |= dict.fromkeys(
        capability for capability, chain in fallbacks.items() if any(one.component == component_id for one in chain)
    )
    return Impact(
        component_id=component_id,
        usable=killed.usable,
        comes_back=killed.comes_back,
        capabilities=tuple(
            _on_capability(capability, component_id, parts, fallbacks.get(capability, ())) for capability in concerned
        ),
        components=tuple(_on_dependents(component_id, parts)),
    )


def _on_capability(
    capability: str, killed: str, parts: Mapping[str, Part], chain: Sequence[Fallback]
) -> CapabilityImpact:
    def usable(name: str) -> bool:
        return name in parts and parts[name].usable

    def survives(name: str) -> bool:
        return name != killed and usable(name)

    offering = [name for name, part in parts.items() if capability in part.capabilities]
    before, after = serve(capability, offering, chain, usable), serve(capability, offering, chain, survives)
    return CapabilityImpact(
        capability=capability,
        before=before.served_by,
        after=after.served_by,
        state=after.state,
        left=tuple(one.component for one in chain if survives(one.component) and one.component not in after.served_by),
    )


def _on_dependents(killed: str, parts: Mapping[str, Part]) -> Iterable[ComponentImpact]:
    needed_by: dict[str, list[str]] = {}
    for name, part in parts.items():
        for need in part.needs:
            needed_by.setdefault(need, []).append(name)
    queue, seen = [killed], {killed}
    for away in queue:
        for name in needed_by.get(away, ()):
            if name in seen:
                continue
            seen.add(name)
            part = parts[name]
            effect: Effect = EFFECTS[part.policy] if part.up else "waits"
            if effect == "restarts":
                queue.append(name)
            yield ComponentImpact(component_id=name, effect=effect, through=None if away == killed else away)
