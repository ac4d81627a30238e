"""The resident graph: ready-set streaming against a description in sets, and its other questions."""

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tekton._native import DependencyGraph

Graph = dict[str, list[str]]

NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=3))
STEPS = st.lists(st.tuples(st.sampled_from(["ready", "done", "fail"]), NAMES), max_size=30)


def nodes(graph: Graph) -> list[str]:
    return list(dict.fromkeys([*graph, *(name for row in graph.values() for name in row)]))


class Model:
    """What is handed out, done and lost, in sets."""

    def __init__(self, graph: Graph) -> None:
        self.graph = {name: set(graph.get(name, ())) for name in nodes(graph)}
        self.handed_out: set[str] = set()
        self.done_: set[str] = set()
        self.lost: set[str] = set()

    def _waiting(self, name: str) -> bool:
        return name not in self.handed_out | self.done_ | self.lost

    def _hand_out(self, candidates: list[str]) -> list[str]:
        found = [name for name in candidates if self._waiting(name) and self.graph[name] <= self.done_]
        self.handed_out |= set(found)
        return found

    def ready(self) -> list[str]:
        return self._hand_out([name for name, row in self.graph.items() if not row])

    def done(self, node: str) -> list[str]:
        if node in self.lost | self.done_:
            return []
        self.done_.add(node)
        return self._hand_out([name for name, row in self.graph.items() if node in row])

    def fail(self, node: str) -> set[str]:
        self.lost.add(node)
        lost: set[str] = set()
        causes = [node]
        for cause in causes:
            behind = [name for name, row in self.graph.items() if cause in row and self._waiting(name)]
            self.lost |= set(behind)
            lost |= set(behind)
            causes += behind
        return lost


@given(GRAPHS, STEPS)
def test_streaming_follows_its_description(graph: Graph, steps: list[tuple[str, str]]) -> None:
    ours, model = DependencyGraph(graph), Model(graph)
    for action, node in steps:
        if action == "ready":
            assert ours.ready() == model.ready()
        elif node not in model.graph:
            with pytest.raises(KeyError):
                getattr(ours, action)(node)
        elif action == "done":
            assert ours.done(node) == model.done(node)
        else:
            lost = ours.fail(node)
            assert len(lost) == len(set(lost))
            assert set(lost) == model.fail(node)


@given(GRAPHS)
def test_following_what_is_handed_out_starts_exactly_what_can_start(graph: Graph) -> None:
    ours = DependencyGraph(graph)

    started = ours.ready()
    for node in started:
        started += ours.done(node)

    assert sorted(started) == sorted(ours.resolve()[0])


@given(GRAPHS)
def test_dependents_are_the_dependencies_turned_around(graph: Graph) -> None:
    ours = DependencyGraph(graph)
    for node in nodes(graph):
        assert ours.dependencies(node) == list(dict.fromkeys(graph.get(node, ())))
        assert ours.dependents(node) == [name for name in nodes(graph) if node in graph.get(name, ())]


@given(GRAPHS)
def test_transitive_dependents_are_all_that_can_be_reached(graph: Graph) -> None:
    ours = DependencyGraph(graph)
    for node in nodes(graph):
        expected: set[str] = set()
        todo = ours.dependents(node)
        while todo:
            name = todo.pop()
            if name not in expected:
                expected.add(name)
                todo += ours.dependents(name)
        found = ours.dependents(node, transitive=True)
        assert len(found) == len(expected)
        assert set(found) == expected


def test_a_failure_names_each_component_behind_it_once() -> None:
    graph = DependencyGraph({"app": ["cache", "base"], "cache": ["base"], "other": [], "base": []})
    graph.ready()

    assert graph.fail("base") == ["app", "cache"]
    assert graph.fail("base") == []
    assert graph.done("base") == []


def test_what_runs_already_is_not_handed_out() -> None:
    graph = DependencyGraph({"app": ["base"], "base": []})

    assert graph.done("base") == ["app"]
    assert graph.ready() == []


def test_the_critical_path_is_the_slowest_chain() -> None:
    graph = DependencyGraph({"app": ["slow", "quick"], "slow": ["base"], "quick": ["base"], "base": []})

    assert graph.critical_path({"slow": 5.0, "quick": 1, "app": 1.0, "stranger": 100.0}) == ["base", "slow", "app"]


def test_the_critical_path_of_nothing_is_empty() -> None:
    assert DependencyGraph({}).critical_path({}) == []
    assert DependencyGraph({"a": ["a"]}).critical_path({"a": 1.0}) == []


@pytest.mark.parametrize("duration", [-1.0, math.nan, math.inf])
def test_an_impossible_duration_is_a_value_error(duration: float) -> None:
    with pytest.raises(ValueError, match="duration of a"):
        DependencyGraph({"a": []}).critical_path({"a": duration})


@pytest.mark.parametrize("method", ["dependencies", "dependents", "done", "fail"])
def test_an_unknown_node_is_a_key_error(method: str) -> None:
    with pytest.raises(KeyError, match="stranger"):
        getattr(DependencyGraph({"a": []}), method)("stranger")


def test_threads_are_handed_out_each_node_once() -> None:
    width, depth = 20, 30
    below = {place: range(place, min(place + 3, width)) for place in range(width)}
    rows = {
        f"{layer}-{place}": [f"{layer - 1}-{other}" for other in below[place]] if layer else []
        for layer in range(depth)
        for place in range(width)
    }
    graph = DependencyGraph(rows)
    handed_out: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(5)
        todo = graph.ready()
        while todo:
            node = todo.pop()
            handed_out.append(node)
            todo += graph.done(node)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(20)

    assert Counter(handed_out) == Counter(graph.resolve()[0])
