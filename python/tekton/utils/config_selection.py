"""Which of the configured components start by themselves.

A component without profiles always does, one with profiles when one of them is active. Whoever names components gets
those alone, whatever their profiles. What a chosen component depends on is chosen too, unless it is to start alone.
Everything else is known and can be started by its name.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from tekton.utils.config_components import ComponentSpec


class Selection(NamedTuple):
    """What was asked for: the active `profiles`, or the components named in `only`, or (`alone`) exactly these."""

    profiles: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    alone: bool = False

    def names(self, specs: Mapping[str, ComponentSpec]) -> frozenset[str]:
        """The components that start by themselves. Unknown names count for nothing."""
        wanted = [name for name, spec in specs.items() if (name in self.only if self.only else self._is_active(spec))]
        return frozenset(wanted) if self.alone else _with_dependencies(wanted, specs)

    def restrict(self, specs: Mapping[str, ComponentSpec]) -> dict[str, ComponentSpec]:
        """*specs*; those that start alone wait for nobody but one another."""
        if not self.alone:
            return dict(specs)
        names = self.names(specs)
        return {name: _among(spec, names) if name in names else spec for name, spec in specs.items()}

    def why_not(self, spec: ComponentSpec) -> str:
        """Why a component that is not chosen has not been started."""
        if self.only or self._is_active(spec):
            return "not started (others were asked for)"
        return f"not started (profile {' or '.join(spec.profiles)})"

    def _is_active(self, spec: ComponentSpec) -> bool:
        return not spec.profiles or any(profile in self.profiles for profile in spec.profiles)


def _with_dependencies(wanted: Iterable[str], specs: Mapping[str, ComponentSpec]) -> frozenset[str]:
    found: dict[str, None] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in specs and name not in found:
            found[name] = None
            waiting += [need.component for need in specs[name].dependencies]
    return frozenset(found)


def _among(spec: ComponentSpec, names: frozenset[str]) -> ComponentSpec:
    needs = [need for need in spec.dependencies if need.component in names]
    return msgspec.structs.replace(spec, dependencies=needs)
