"""`resolve` and `waves` against their recursive definitions, and against callers who misbehave."""

import gc
import sys
from collections import OrderedDict, UserDict, deque
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tekton._native import DependencyGraph, resolve, waves

Graph = dict[str, list[str]]

NAMES = st.sampled_from(["hermes", "engram", "rhetor", "ergon", "athena", "größe", "知", "a", ""])
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4))


def fresh(text: str) -> str:
    """An equal str that is another object (one-character and empty ones are shared by the interpreter)."""
    return "".join(list(text))


def nodes(graph: Mapping[str, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys([*graph, *(name for row in graph.values() for name in row)]))


def reaches(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(graph.get(start, ()))
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += graph.get(node, ())
    return seen


def can_start(graph: Graph, node: str) -> bool:
    return not any(other in reaches(graph, other) for other in reaches(graph, node) | {node})


def expected_order(graph: Graph) -> list[str]:
    order: list[str] = []

    def visit(node: str) -> None:
        if node not in order and can_start(graph, node):
            for dependency in graph.get(node, ()):
                visit(dependency)
            if node not in order:
                order.append(node)

    for node in nodes(graph):
        visit(node)
    return order


def expected_waves(graph: Graph) -> list[list[str]]:
    def level(node: str) -> int:
        return max((level(dependency) + 1 for dependency in graph.get(node, ())), default=0)

    groups: dict[int, list[str]] = {}
    for node in filter(lambda node: can_start(graph, node), nodes(graph)):
        groups.setdefault(level(node), []).append(node)
    return [groups[number] for number in sorted(groups)]


def groups_of_cycles(graph: Graph) -> list[set[str]]:
    """The strongly connected components that hold a cycle, by their first node."""
    groups: list[set[str]] = []
    for node in nodes(graph):
        group = {other for other in reaches(graph, node) if node in reaches(graph, other)}
        if group and group not in groups:
            groups.append(group)
    return groups


@given(GRAPHS)
def test_order_is_depth_first_over_what_can_start(graph: Graph) -> None:
    assert resolve(graph)[0] == expected_order(graph)


@given(GRAPHS)
def test_there_is_one_cycle_in_edge_order_for_each_group_of_cyclic_nodes(graph: Graph) -> None:
    cycles = resolve(graph)[1]

    groups = groups_of_cycles(graph)
    assert len(cycles) == len(groups)
    for cycle, group in zip(cycles, groups, strict=True):
        assert set(cycle) <= group
        assert len(set(cycle)) == len(cycle)
        for node, dependency in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert dependency in graph[node]


@given(GRAPHS)
def test_waves_group_by_the_longest_chain(graph: Graph) -> None:
    assert waves(graph) == expected_waves(graph)


@given(GRAPHS)
def test_equal_but_distinct_strings_make_no_difference(graph: Graph) -> None:
    copies = {fresh(name): [fresh(dependency) for dependency in row] for name, row in graph.items()}
    mixed = {name: [*copies[name][:1], *row[1:]] for name, row in graph.items()}

    assert resolve(copies) == resolve(mixed) == resolve(graph)


@given(GRAPHS)
def test_other_mappings_and_sequences_make_no_difference(graph: Graph) -> None:
    expected = resolve(graph)

    assert resolve({name: tuple(row) for name, row in graph.items()}) == expected
    assert resolve({name: deque(row) for name, row in graph.items()}) == expected
    assert resolve(MappingProxyType(graph)) == expected
    assert resolve(UserDict(graph)) == expected
    assert waves(OrderedDict(graph)) == waves(graph)
    assert DependencyGraph(MappingProxyType(graph)).resolve() == expected


@given(GRAPHS)
def test_the_resident_graph_gives_the_same_answers(graph: Graph) -> None:
    resident = DependencyGraph(graph)

    assert resident.resolve() == resident.resolve() == resolve(graph)
    assert resident.waves() == waves(graph)
    assert len(resident) == len(nodes(graph))


def test_an_empty_graph_has_nothing_to_start() -> None:
    assert resolve({}) == ([], [])
    assert waves({}) == []


def test_the_shortest_cycle_of_a_group_is_shown() -> None:
    ring = {"a": ["b"], "b": ["c"], "c": ["d"], "d": ["a", "c"]}

    assert resolve(ring)[1] == [["c", "d"]]


def test_a_node_that_depends_on_itself_is_a_cycle_of_one() -> None:
    assert resolve({"a": ["a"], "b": ["a"], "c": []}) == (["c"], [["a"]])


def test_the_answer_is_made_of_the_callers_strings() -> None:
    key, dependency = fresh("ergon"), fresh("hermes")

    order, _ = resolve({key: [dependency]})

    assert order[0] is dependency
    assert order[1] is key


def test_a_moved_key_of_an_ordered_dict_keeps_its_new_place() -> None:
    graph = OrderedDict[str, list[str]](a=[], b=[])
    graph.move_to_end("a")

    assert resolve(graph)[0] == ["b", "a"]


def test_members_of_a_str_enum_are_names() -> None:
    class Name(StrEnum):
        HERMES = "hermes"

    order, _ = resolve({"ergon": [Name.HERMES], "hermes": []})

    assert order == ["hermes", "ergon"]


def test_hash_and_equality_of_str_subclasses_are_not_called_for_dependencies() -> None:
    class Hostile(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise AssertionError

        def __eq__(self, other: object) -> bool:
            raise AssertionError

    assert resolve({"ergon": [Hostile("hermes")], "hermes": []})[0] == ["hermes", "ergon"]


def test_subclasses_of_list_and_tuple_are_read_as_such() -> None:
    class Names(list[str]):
        pass

    class Pair(NamedTuple):
        first: str
        second: str

    assert resolve({"a": Names(["b"]), "c": Pair("b", "d")})[0] == ["b", "a", "d", "c"]


def test_a_deep_chain_needs_no_recursion() -> None:
    names = [f"n{number}" for number in range(200_000)]
    chain: Graph = {name: [following] for name, following in pairwise(names)}

    assert resolve(chain)[0] == names[::-1]

    chain[names[-1]] = [names[0]]
    order, cycles = resolve(chain)
    assert order == []
    assert [len(cycle) for cycle in cycles] == [len(names)]


@pytest.mark.parametrize(
    "graph",
    [
        {1: []},
        {"a": [1]},
        {"a": ["b", None]},
        {"a": ("b", 2)},
        {"a": "bcd"},
        {"a": b"bcd"},
        {"a": 7},
        {"a": None},
        {"a": deque([1])},
        [("a", [])],
        None,
    ],
    ids=repr,
)
def test_what_is_no_graph_of_names_is_a_type_error(graph: object) -> None:
    for function in (resolve, waves, DependencyGraph):
        with pytest.raises(TypeError):
            function(graph)  # type: ignore[arg-type]


def test_a_lone_surrogate_that_has_to_be_compared_is_an_encode_error() -> None:
    with pytest.raises(UnicodeEncodeError):
        resolve({"a": [fresh("\ud800x")]})


def test_errors_of_a_callers_sequence_come_out_unchanged() -> None:
    class BrokenLater(Sequence[str]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: object) -> str:
            raise ZeroDivisionError

    class BrokenAtOnce(BrokenLater):
        def __iter__(self) -> Iterator[str]:
            raise ZeroDivisionError

    for broken in (BrokenLater(), BrokenAtOnce()):
        with pytest.raises(ZeroDivisionError):
            resolve({"a": broken})


def test_a_sequence_that_changes_the_graph_while_it_is_read_does_no_harm() -> None:
    graph: dict[str, Sequence[str]] = {}

    class Meddler(Sequence[str]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: object) -> str:
            return "b"

        def __iter__(self) -> Iterator[str]:
            graph.clear()
            gc.collect()
            return iter(["b"])

    graph |= {fresh("first"): [fresh("second")], "a": Meddler(), fresh("third"): [fresh("fourth")]}

    assert resolve(graph)[0] == ["second", "first", "b", "a", "fourth", "third"]


def test_a_collection_in_the_middle_of_the_answer_does_no_harm() -> None:
    graph: Graph = {fresh(f"n{number}"): [fresh(f"n{number + 1}")] for number in range(300)}
    expected = resolve(graph)

    class Trap:
        """Empties the graph when it is collected, and sets itself again."""

        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            for row in graph.values():
                row.clear()
            graph.clear()

    threshold = gc.get_threshold()
    Trap()
    gc.set_threshold(1, 1, 1)
    try:
        answer = resolve(graph)
    finally:
        gc.set_threshold(*threshold)

    assert answer in (expected, ([], []))


def test_no_references_are_lost_or_kept() -> None:
    names = [fresh(f"name {number}") for number in range(20)]
    other = fresh(names[3])
    graph: dict[str, list[str]] = {name: [names[0], other] for name in names[1:]}
    broken: dict[str, list[object]] = {**graph, "last": [names[1], 1]}  # type: ignore[dict-item]

    def use() -> None:
        resolve(graph)
        waves(graph)
        resolve({**graph, names[0]: [names[5]]})
        DependencyGraph(graph).ready()
        with pytest.raises(TypeError):
            resolve(broken)  # type: ignore[arg-type]

    use()
    before = [sys.getrefcount(name) for name in [*names, other]]
    for _ in range(50):
        use()
    assert [sys.getrefcount(name) for name in [*names, other]] == before


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_larger_random_graphs_are_in_order(seed: int) -> None:
    names = [f"component-{number}" for number in range(500)]
    graph = {
        name: [names[(seed * 31 + place * factor) % place] for factor in (7, 11, 13)] if place else []
        for place, name in enumerate(names)
    }
    graph = dict(sorted(graph.items(), key=lambda item: hash((item[0], seed))))

    order, cycles = resolve(graph)

    place = {name: number for number, name in enumerate(order)}
    assert not cycles
    assert set(place) == set(names)
    assert all(place[dependency] < place[name] for name, row in graph.items() for dependency in row)
