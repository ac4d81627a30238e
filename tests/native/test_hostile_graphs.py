"""Graphs that change while they are read, lie about themselves, or are nothing of the kind: an answer or an error."""

import gc
import sys
import tracemalloc
from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tekton._native import ComponentTable, DependencyGraph, TimerWheel, resolve, waves


class Row(Sequence[str]):
    """Dependencies that run *meddle* whenever they are read."""

    def __init__(self, names: list[str], meddle: Callable[[], object]) -> None:
        self.names, self.meddle = names, meddle

    def __len__(self) -> int:
        self.meddle()
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        self.meddle()
        return self.names[index]

    def __iter__(self) -> Iterator[str]:
        for name in self.names:
            self.meddle()
            yield name


class Meddler(str):
    """A name that runs code when it is hashed or compared."""

    __slots__ = ()
    meddle: Callable[[], object] = staticmethod(lambda: None)

    def __hash__(self) -> int:
        type(self).meddle()
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        type(self).meddle()
        return super().__eq__(other)


def test_a_name_that_empties_the_graph_when_it_is_hashed_does_no_harm() -> None:
    graph: dict[str, Any] = {}

    class Emptier(Meddler):
        @staticmethod
        def meddle() -> None:
            graph.clear()

    names = [Emptier(f"name {number}") for number in range(20)]
    dict.update(graph, {name: Row([names[0]], list) for name in names[1:]})
    size = len(graph)

    order, cycles = resolve(graph)

    assert (len(order), cycles) in ((size + 1, []), (0, []))


def test_rows_that_grow_and_shrink_while_others_are_read_do_no_harm() -> None:
    growing, shrinking = ["x"], [f"y{number}" for number in range(1000)]

    def meddle() -> None:
        growing.extend(f"z{number}" for number in range(1000))
        shrinking.clear()

    graph = {"a": shrinking, "b": Row(["c"] * 5, meddle), "c": growing}
    order, cycles = resolve(graph)

    assert cycles == []
    assert order.index("c") < order.index("b")
    assert len(order) == len(set(order))


def test_a_row_that_adds_nodes_while_it_is_read_does_not_add_them_to_this_answer() -> None:
    graph: dict[str, Any] = {}
    graph["a"] = Row(["b"], lambda: graph.update({f"new {len(graph)}": []}))

    assert resolve(graph) == (["b", "a"], [])


def test_a_generator_is_read_once() -> None:
    graph: Any = {"a": (name for name in ("b", "c"))}

    assert resolve(graph)[0] == ["b", "c", "a"]
    assert resolve(graph)[0] == ["a"]


def test_a_generator_that_fails_halfway_ends_the_reading() -> None:
    def fail() -> Iterator[str]:
        yield "b"
        raise KeyError("halfway")

    with pytest.raises(KeyError, match="halfway"):
        resolve({"a": fail()})  # type: ignore[dict-item]


def test_values_nested_without_end_are_refused_without_following_them() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    for value in (endless, deep):
        with pytest.raises(TypeError, match="must be str, not list"):
            resolve({"a": value})
    while deep:  # taken apart by hand: freeing it at once would recurse
        deep = deep[0]


@pytest.mark.parametrize("key", [1, None, b"a", ("a",), 1.5], ids=repr)
@pytest.mark.parametrize("use", [resolve, waves, DependencyGraph])
def test_keys_that_are_not_str_are_refused(use: Callable[[Any], object], key: object) -> None:
    graphs: list[Any] = [{key: []}, {"a": [], key: ["a"]}, {"a": [key]}, UserDict({key: []})]
    for graph in graphs:
        with pytest.raises(TypeError, match="must be str"):
            use(graph)


@pytest.mark.parametrize("items", [[1], [("a",)], [("a", [], [])], None, ["ab"]], ids=repr)
def test_a_mapping_whose_items_are_no_pairs_is_refused(items: object) -> None:
    class Liar(UserDict[str, list[str]]):
        def items(self) -> Any:
            return items

    with pytest.raises((TypeError, ValueError)):
        resolve(Liar({"a": []}))


def test_a_mapping_that_gives_a_name_twice_counts_the_last_one() -> None:
    class Twice(UserDict[str, list[str]]):
        def items(self) -> Any:
            return [("a", ["b"]), ("a", ["c"])]

    assert resolve(Twice({"a": []})) == (["c", "a"], [])


def test_hashing_that_fails_comes_out_as_it_is() -> None:
    class Unhashable(Meddler):
        @staticmethod
        def meddle() -> None:
            raise ZeroDivisionError

    class Pairs(UserDict[str, Any]):
        def items(self) -> Any:
            return [(Unhashable("a"), ["b"])]

    with pytest.raises(ZeroDivisionError):
        resolve(Pairs({"a": []}))


def test_refused_graphs_keep_no_references() -> None:
    name, row, wrong = "a name of its own", ["b"], object()
    graph: Any = {name: row, "x": Row(["c"], list), "y": [wrong]}
    counts = [sys.getrefcount(thing) for thing in (name, row, wrong)]

    for _ in range(100):
        with pytest.raises(TypeError):
            resolve(graph)

    assert [sys.getrefcount(thing) for thing in (name, row, wrong)] == counts


def use_everything() -> None:
    names = [f"component-{number}" for number in range(50)]
    graph = DependencyGraph({name: names[:place] for place, name in enumerate(names)})
    graph.ready()
    graph.done(names[0])
    graph.fail(names[1])
    graph.critical_path(dict.fromkeys(names, 1.0))
    graph.dependents(names[0], transitive=True)
    resolve({name: Row(names[:3], list) for name in names})
    table = ComponentTable()
    instance = "00000000-0000-0000-0000-000000000001"
    for name in names:
        table.identity(table.add(name, instance, 4))
        with pytest.raises(ValueError, match="in the table"):
            table.add(name, instance, 4)
    table.transitions_legal(bytes(5000))
    wheel = TimerWheel()
    for number in range(2000):
        wheel.schedule(number, [number])
    wheel.advance(1500)


def test_nothing_is_left_behind() -> None:
    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    use_everything()
    tracemalloc.start()
    try:
        use_everything()
        before = held()
        for _ in range(10):
            use_everything()
        grown = held() - before
    finally:
        tracemalloc.stop()

    assert grown < 2000, f"{grown} bytes more after ten times"
