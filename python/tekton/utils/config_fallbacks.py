"""The fallbacks of components.json: who stands in for whom, checked against the components of the same file."""

from collections.abc import Mapping, Sequence

from tekton.utils.config_checks import Checker, dotted
from tekton.utils.config_components import ComponentSpec
from tekton.utils.config_schema import FallbackSpec
from tekton.utils.json_document import child_pointer
from tekton.utils.tekton_ids import did_you_mean


def checked_fallbacks(
    written: Mapping[str, Sequence[FallbackSpec]], specs: Mapping[str, ComponentSpec], checker: Checker
) -> dict[str, tuple[FallbackSpec, ...]]:
    """The fallbacks of each capability, the first one to ask first; what is wrong is told to *checker*.

    Wrong is a component that there is not, one that nobody can call, and one that would stand in for itself. Where
    there are none at all, all register by themselves, and have names that nobody knows here.
    """
    for capability, fallbacks in written.items():
        if checker.clean(pointer := child_pointer("/fallbacks", capability)):
            _check_chain(pointer, capability, fallbacks, specs, checker)
    return {capability: _in_order(fallbacks) for capability, fallbacks in written.items()}


def _in_order(fallbacks: Sequence[FallbackSpec]) -> tuple[FallbackSpec, ...]:
    return tuple(sorted(fallbacks, key=lambda fallback: fallback.priority))


def _check_chain(
    pointer: str,
    capability: str,
    fallbacks: Sequence[FallbackSpec],
    specs: Mapping[str, ComponentSpec],
    checker: Checker,
) -> None:
    named: set[str] = set()
    for place, fallback in enumerate(fallbacks):
        where = f"{child_pointer(pointer, place)}/component"
        if problem := _problem(fallback.component, capability, named, specs):
            node = checker.document.find(where)
            assert node is not None, where
            checker.report(node, f"{dotted(where)}: {problem[0]}", problem[1])
        named.add(fallback.component)


def _problem(
    name: str, capability: str, named: set[str], specs: Mapping[str, ComponentSpec]
) -> tuple[str, str | None] | None:
    if not specs:
        return _named_twice(name, capability) if name in named else None
    spec = specs.get(name)
    if spec is None:
        return f"there is no component {name!r}", did_you_mean(name, specs) or "define it under 'components'"
    offering = {each.name for each in specs.values() if capability in each.capabilities}
    if offering == {name}:
        return f"{name} would stand in for itself: nobody else offers {capability!r}", "name another component"
    if name in named:
        return _named_twice(name, capability)
    if spec.port is None:
        return f"{name} has no port, so nobody can call it", "give it a 'port'"
    return None


def _named_twice(name: str, capability: str) -> tuple[str, str]:
    return f"{name} would stand in for itself", f"name it once under {capability!r}"
