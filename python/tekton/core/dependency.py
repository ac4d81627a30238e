"""In which order components can start, and what stands in the way.

The work is done by the native graph kernel (`tekton._native.resolve`); this module gives it the names of the
specification. For a start that streams (a component starts the moment its own dependencies are usable) use
`tekton._native.DependencyGraph`.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import msgspec

from tekton import _native

Condition = Literal["ready", "started", "completed"]


class Dependency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A component that must be `ready` (usable), merely `started`, or `completed` (a one-shot that ended well)."""

    component: str
    condition: Condition = "ready"


class DependencyResolver:
    """Answers about a graph given as component id -> ids it depends on.

    A name that appears only as a dependency is a node too. Graphs are plain mappings; dicts of lists or tuples are
    fastest. TypeError for anything that is not a str where a component id must be.
    """

    @staticmethod
    def resolve_dependencies(graph: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
        """Return `(start_order, cycles)`.

        `start_order` has every node that can start, dependencies first, otherwise in the order of *graph*. `cycles`
        has one cycle per group of nodes that depend on one another, in edge order (each depends on the next, the
        last on the first). Nodes in or behind a cycle are not in the order. O(nodes + edges).
        """
        return _native.resolve(graph)

    @staticmethod
    def startup_waves(graph: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Group the nodes that can start by what can start at the same time, first wave first. For display."""
        return _native.waves(graph)

    @staticmethod
    def missing_dependencies(graph: Mapping[str, Sequence[str]], known: Container[str] = ()) -> dict[str, list[str]]:
        """By component: its dependencies that are neither keys of *graph* nor in *known*; only where some are."""
        missing = {name: _missing(dependencies, graph, known) for name, dependencies in graph.items()}
        return {name: names for name, names in missing.items() if names}


def _missing(dependencies: Sequence[str], graph: Container[str], known: Container[str]) -> list[str]:
    return [name for name in dict.fromkeys(dependencies) if name not in graph and name not in known]
