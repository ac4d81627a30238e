"""Dependencies: resolve a graph that the caller brings, and show the graph of the system."""

from typing import Final

import msgspec

from tekton.core.dependency import DependencyResolver
from tekton.core.lifecycle import ComponentState
from tekton.gateway.request import Request
from tekton.gateway.router import Route
from tekton.service.system import System

_MOST_OF_A_GRAPH: Final = 1024 * 1024
"""Bytes. Nothing else is served meanwhile; eight times as much takes seconds."""


class ResolveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Component -> the components it depends on."""

    graph: dict[str, list[str]]


class Resolution(msgspec.Struct, frozen=True):
    """`start_order` holds what can start, dependencies first; `cycles` one concrete cycle per knot."""

    start_order: list[str]
    cycles: list[list[str]]
    waves: list[list[str]]


class Node(msgspec.Struct, frozen=True):
    """`state` is null for what is not registered; `missing` is a dependency that is not even configured."""

    id: str
    state: ComponentState | None
    missing: bool


class SystemGraph(msgspec.Struct, frozen=True):
    """`edges` are [component, dependency]."""

    nodes: list[Node]
    edges: list[tuple[str, str]]
    waves: list[list[str]]
    cycles: list[list[str]]


def routes(system: System) -> list[Route]:
    """The dependency routes."""

    async def resolve(request: Request) -> Resolution:
        body: ResolveRequest = request.body
        order, cycles = DependencyResolver.resolve_dependencies(body.graph)
        return Resolution(order, cycles, DependencyResolver.startup_waves(body.graph))

    async def graph(_: Request) -> SystemGraph:
        dependencies = system.overview.graph()
        _order, cycles = DependencyResolver.resolve_dependencies(dependencies)
        names = dict.fromkeys([*dependencies, *(name for names in dependencies.values() for name in names)])

        def node(name: str) -> Node:
            record = system.registry.find(name)
            return Node(name, record.state if record else None, missing=not system.knows(name))

        return SystemGraph(
            nodes=[node(name) for name in names],
            edges=[(name, dependency) for name, needed in dependencies.items() for dependency in needed],
            waves=DependencyResolver.startup_waves(dependencies),
            cycles=cycles,
        )

    return [
        Route(
            "POST",
            "/api/dependencies/resolve",
            resolve,
            summary="Order a dependency graph",
            permission="components:read",
            body=ResolveRequest,
            response=Resolution,
            max_body=_MOST_OF_A_GRAPH,
            unique_keys=False,
            repeats="harmless",
        ),
        Route(
            "GET",
            "/api/graph",
            graph,
            summary="The dependency graph of the system",
            permission="components:read",
            response=SystemGraph,
        ),
    ]
