"""Dependency resolution beside graphlib, networkx, rustworkx and a hand-written depth-first search.

    python benches/resolve.py [--full] [--only order,json,waves,cycles,resident]

Random graphs, three dependencies a node, dict in shuffled order, the same str objects as keys and dependencies
(`json`: every str fresh from a parser). Libraries are timed with the conversion of the dict, as a caller would need
it.  `--full` adds a graph of a million nodes (minutes, 2 GiB).
"""

import graphlib
import random
import sys
from collections.abc import Callable

import networkx as nx  # type: ignore[import-untyped]
import orjson
import rustworkx as rx

from _measure import Contender, Gate, compare, parser, report, verdict
from tekton import _native

Graph = dict[str, list[str]]


def make_graph(nodes: int, *, back_edges: float = 0.0, seed: int = 1) -> Graph:
    """Each node depends on three earlier ones; *back_edges* is the share of nodes that also depend on a later one."""
    rng = random.Random(seed)
    names = [f"component-{number}" for number in range(nodes)]
    graph = {name: [names[rng.randrange(place)] for _ in range(min(3, place))] for place, name in enumerate(names)}
    for place in rng.sample(range(nodes - 1), int(nodes * back_edges)):
        graph[names[place]].append(names[rng.randrange(place + 1, nodes)])
    items = list(graph.items())
    rng.shuffle(items)
    return dict(items)


def by_graphlib(graph: Graph) -> list[str]:
    return list(graphlib.TopologicalSorter(graph).static_order())


def by_networkx(graph: Graph) -> list[str]:
    return list(nx.topological_sort(_networkx(graph)))


def _networkx(graph: Graph) -> nx.DiGraph:
    converted = nx.DiGraph()
    converted.add_nodes_from(graph)
    converted.add_edges_from((dependency, name) for name, dependencies in graph.items() for dependency in dependencies)
    return converted


def by_rustworkx(graph: Graph) -> list[str]:
    converted, names = _rustworkx(graph)
    return [names[node] for node in rx.topological_sort(converted)]


def _rustworkx(graph: Graph) -> tuple["rx.PyDiGraph[str, None]", list[str]]:
    converted: rx.PyDiGraph[str, None] = rx.PyDiGraph()
    names = list(graph)
    converted.add_nodes_from(names)
    number = {name: place for place, name in enumerate(names)}
    converted.add_edges_from_no_data(
        [(number[dependency], number[name]) for name, dependencies in graph.items() for dependency in dependencies]
    )
    return converted, names


def by_hand(graph: Graph) -> list[str]:
    """What a careful Python author writes: iterative, one dict of colours, local names."""
    closed: dict[str, bool] = {}
    order: list[str] = []
    for root in graph:
        if root in closed:
            continue
        closed[root] = False
        path = [(root, iter(graph[root]))]
        while path:
            node, rest = path[-1]
            for dependency in rest:
                if dependency not in closed:
                    closed[dependency] = False
                    path.append((dependency, iter(graph.get(dependency, ()))))
                    break
                if not closed[dependency]:
                    raise ValueError(dependency)
            else:
                path.pop()
                closed[node] = True
                order.append(node)
    return order


def bare_loops(graph: Graph) -> None:
    """The least that Python code can do: look at each dependency."""
    for dependencies in graph.values():
        for _ in dependencies:
            pass


def waves_by_rustworkx(graph: Graph) -> list[list[str]]:
    converted, names = _rustworkx(graph)
    return [[names[node] for node in wave] for wave in rx.topological_generations(converted)]


def waves_by_graphlib(graph: Graph) -> list[list[str]]:
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    waves = []
    while sorter.is_active():
        wave = sorter.get_ready()
        waves.append(list(wave))
        sorter.done(*wave)
    return waves


def cycles_by_rustworkx(graph: Graph) -> list[list[str]]:
    converted, names = _rustworkx(graph)
    groups = rx.strongly_connected_components(converted)
    return [[names[node] for node in group] for group in groups if len(group) > 1]


def cycles_by_networkx(graph: Graph) -> list[set[str]]:
    return [group for group in nx.strongly_connected_components(_networkx(graph)) if len(group) > 1]


def check_order(graph: Graph, order: list[str]) -> None:
    """Raise when *order* is not one of the graph's: a fast wrong answer is worth nothing."""
    place = {name: number for number, name in enumerate(order)}
    if len(place) != len(order) or set(place) != set(graph):
        raise AssertionError("not every node exactly once")
    if any(place[dependency] > place[name] for name, row in graph.items() for dependency in row):
        raise AssertionError("a dependency comes too late")


def order(nodes: int, seconds: float) -> bool:
    graph = make_graph(nodes)
    for resolver in (by_hand, by_rustworkx, by_graphlib, lambda graph: _native.resolve(graph)[0]):
        check_order(graph, resolver(graph))
    contenders: dict[str, Contender] = {
        "tekton resolve": lambda: _native.resolve(graph),
        "bare Python loops": lambda: bare_loops(graph),
        "list(graph)": lambda: list(graph),
        "Python DFS": lambda: by_hand(graph),
        "rustworkx": lambda: by_rustworkx(graph),
        "graphlib": lambda: by_graphlib(graph),
    }
    gates = [Gate("graphlib", 45), Gate("Python DFS", 5)]
    if nodes < 1_000_000:
        contenders["networkx"] = lambda: by_networkx(graph)
    if nodes >= 100:
        gates += [Gate("rustworkx", 15), Gate("networkx", 15), Gate("bare Python loops", 1)]
    return report(f"order, n = {nodes:,}", compare(contenders, "tekton resolve", seconds=seconds), tuple(gates))


def json(nodes: int, seconds: float) -> bool:
    """Strings fresh from JSON: each call resolves a new parse, whose cost is taken out by a parse of its own."""
    text = orjson.dumps(make_graph(nodes))
    times = {
        "parse only": lambda: orjson.loads(text),
        "tekton resolve": lambda: _native.resolve(orjson.loads(text)),
        "Python DFS": lambda: by_hand(orjson.loads(text)),
        "rustworkx": lambda: by_rustworkx(orjson.loads(text)),
    }
    measured = compare(times, "tekton resolve", seconds=seconds)
    parse = measured.pop("parse only").seconds
    base = measured["tekton resolve"].seconds - parse
    net = {
        name: type(outcome)(outcome.seconds - parse, (outcome.seconds - parse) / base)
        for name, outcome in measured.items()
    }
    return report(
        f"order, strings fresh from JSON (net of the parse, {parse * 1e6:.0f} us), n = {nodes:,}",
        net,
        (Gate("Python DFS", 2.5), Gate("rustworkx", 3)),
    )


def waves(nodes: int, seconds: float) -> bool:
    graph = make_graph(nodes)
    contenders = {
        "tekton waves": lambda: _native.waves(graph),
        "rustworkx": lambda: waves_by_rustworkx(graph),
        "graphlib": lambda: waves_by_graphlib(graph),
    }
    gates = (Gate("rustworkx", 8), Gate("graphlib", 30)) if nodes >= 100 else ()
    return report(f"waves, n = {nodes:,}", compare(contenders, "tekton waves", seconds=seconds), gates)


def cycles(nodes: int, seconds: float) -> bool:
    if nodes < 100:
        return True
    graph = make_graph(nodes, back_edges=0.01)
    contenders: dict[str, Contender] = {
        "tekton resolve": lambda: _native.resolve(graph),
        "rustworkx components": lambda: cycles_by_rustworkx(graph),
    }
    if nodes < 1_000_000:
        contenders["networkx components"] = lambda: cycles_by_networkx(graph)
    gates = (Gate("rustworkx components", 10),)
    outcomes = compare(contenders, "tekton resolve", seconds=seconds)
    return report(f"order and cycles, 1 % back edges, n = {nodes:,}", outcomes, gates)


def resident(nodes: int, seconds: float) -> bool:
    graph = make_graph(nodes)
    converted, _ = _rustworkx(graph)
    ours = _native.DependencyGraph(graph)
    contenders = {
        "tekton DependencyGraph.resolve": ours.resolve,
        "rustworkx, graph built before": lambda: rx.topological_sort(converted),
    }
    outcomes = compare(contenders, "tekton DependencyGraph.resolve", seconds=seconds)
    return report(
        f"resident graph (resolved once; each call makes the lists), n = {nodes:,}",
        outcomes,
        (Gate("rustworkx, graph built before", 2),),
    )


PARTS: dict[str, Callable[[int, float], bool]] = {
    "order": order,
    "json": json,
    "waves": waves,
    "cycles": cycles,
    "resident": resident,
}
SIZES = (10, 100, 1_000, 10_000, 100_000)


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--only", default=",".join(PARTS), help="parts to run")
    options = arguments.parse_args()
    sizes = (*SIZES, 1_000_000) if options.full else SIZES
    for part in options.only.split(","):
        for nodes in sizes:
            PARTS[part](nodes, 1.0)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
