"""The verb graph: what depends on what, as a tree or in a format that other programs draw."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from tekton.cli.client import connect
from tekton.cli.components import unknown_component
from tekton.cli.options import Target, output_options, target_options
from tekton.cli.render import paint_state, say, to_json

MISSING = "missing"
"""The state of what is named as a dependency and that nobody has registered or configured."""

_FILLS = {
    "ready": "#c8e6c9",
    "degraded": "#fff3c4",
    "failed": "#f8c9c4",
    "stopping": "#fff3c4",
    "starting": "#cfe8fc",
    "initializing": "#cfe8fc",
    "registering": "#cfe8fc",
    MISSING: "#ffffff",
}


class Graph(NamedTuple):
    """The components with their states, what each needs, and the edges that are part of a cycle."""

    states: Mapping[str, str]
    needs: Mapping[str, list[str]]
    turning: frozenset[tuple[str, str]]

    def upside_down(self) -> "Graph":
        """The same with every edge turned round: what each is needed by."""
        needed: dict[str, list[str]] = {name: [] for name in self.states}
        for name, needs in self.needs.items():
            for need in needs:
                needed[need].append(name)
        return Graph(self.states, needed, frozenset((need, name) for name, need in self.turning))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-i", "--invert", is_flag=True, help="As a tree: below each component, what needs it.")
@output_options("tree", "mermaid", "dot", "json")
@target_options
def graph(names: tuple[str, ...], invert: bool, output: str, target: Target) -> None:
    """Show what depends on what.

    In the tree, below each component stands what it needs; what was shown before is not opened again (*). With names,
    only these components and what is below them. Circles of dependencies, and dependencies that nobody has, are marked.
    """
    document = connect(target).get("/api/graph")
    if output == "json":
        click.echo(to_json(document, indent=2))
        return
    whole = read(document)
    for name in names:
        if name not in whole.states:
            raise unknown_component(name, list(whole.states))
    shown = whole.upside_down() if invert else whole
    for line in _WRITERS[output](shown, list(names) or roots(shown)):
        click.echo(line)
    for cycle in document["cycles"]:
        say(f"cycle: {' -> '.join([*cycle, cycle[0]])}")
    missing = sorted(name for name, state in whole.states.items() if state == MISSING)
    if missing:
        say(f"missing: {', '.join(missing)}")


def read(document: Mapping[str, Any]) -> Graph:
    """The answer of the control plane as a graph."""
    states = {node["id"]: MISSING if node["missing"] else node["state"] or "unknown" for node in document["nodes"]}
    needs: dict[str, list[str]] = {name: [] for name in states}
    for name, need in document["edges"]:
        needs[name].append(need)
    cycles = document["cycles"]
    turning = {pair for cycle in cycles for pair in zip(cycle, [*cycle[1:], cycle[0]], strict=True)}
    return Graph(states, needs, frozenset(turning))


def roots(graph: Graph) -> list[str]:
    """What nothing else stands above; of components that stand only above one another, the first."""
    below = {need for needs in graph.needs.values() for need in needs}
    found = [name for name in graph.states if name not in below]
    seen: set[str] = set()
    for name in found:
        _mark(graph, name, seen)
    for name in graph.states:
        if name not in seen:
            found.append(name)
            _mark(graph, name, seen)
    return found


def _mark(graph: Graph, name: str, seen: set[str]) -> None:
    pending = [name]
    while pending:
        current = pending.pop()
        if current not in seen:
            seen.add(current)
            pending += graph.needs[current]


def _tree(graph: Graph, tops: list[str]) -> Iterator[str]:
    opened: set[str] = set()
    # Not a recursion: a chain of dependencies may be longer than Python's stack is deep.
    pending: list[tuple[str, str, str, tuple[str, ...]]] = [(name, "", "", ()) for name in reversed(tops)]
    while pending:
        name, lead, indent, above = pending.pop()
        again = name in opened and bool(graph.needs[name])
        mark = "  (cycle)" if name in above else " (*)" if again else ""
        yield f"{lead}{name}  {paint_state(graph.states[name], graph.states[name])}{mark}"
        if again or name in above:
            continue
        opened.add(name)
        needs = graph.needs[name]
        for need in reversed(needs):
            last = need == needs[-1]
            branch, deeper = ("└─ ", "   ") if last else ("├─ ", "│  ")
            pending.append((need, indent + branch, indent + deeper, (*above, name)))


def _mermaid(graph: Graph, tops: list[str]) -> Iterator[str]:
    names = _reachable(graph, tops)
    ids = {name: f"n{number}" for number, name in enumerate(names)}
    yield "graph TD"
    for name in names:
        yield f'  {ids[name]}["{name}"]:::{graph.states[name]}'
    for name in names:
        for need in graph.needs[name]:
            arrow = "-->|cycle|" if (name, need) in graph.turning else "-->"
            yield f"  {ids[name]} {arrow} {ids[need]}"
    for state in dict.fromkeys(graph.states[name] for name in names):
        dashed = ",stroke-dasharray:4" if state == MISSING else ""
        yield f"  classDef {state} fill:{_FILLS.get(state, '#eeeeee')},stroke:#555555{dashed}"


def _dot(graph: Graph, tops: list[str]) -> Iterator[str]:
    names = _reachable(graph, tops)
    yield "digraph tekton {"
    yield "  node [shape=box, style=filled];"
    for name in names:
        state = graph.states[name]
        dashed = ', style="filled,dashed"' if state == MISSING else ""
        yield f'  "{name}" [fillcolor="{_FILLS.get(state, "#eeeeee")}", tooltip="{state}"{dashed}];'
    for name in names:
        for need in graph.needs[name]:
            mark = ' [color=red, label="cycle"]' if (name, need) in graph.turning else ""
            yield f'  "{name}" -> "{need}"{mark};'
    yield "}"


def _reachable(graph: Graph, tops: list[str]) -> list[str]:
    seen: set[str] = set()
    for name in tops:
        _mark(graph, name, seen)
    return [name for name in graph.states if name in seen]


_WRITERS: dict[str, Callable[[Graph, list[str]], Iterator[str]]] = {"tree": _tree, "mermaid": _mermaid, "dot": _dot}
