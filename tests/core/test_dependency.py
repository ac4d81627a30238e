"""The resolver of the specification."""

from types import MappingProxyType

import msgspec
import pytest

from tekton.core.dependency import Dependency, DependencyResolver


def test_dependencies_come_first_and_ties_keep_the_order_of_the_graph() -> None:
    graph = {"ergon": ["hermes", "engram"], "engram": ["hermes"], "rhetor": [], "hermes": []}

    order, cycles = DependencyResolver.resolve_dependencies(graph)

    assert order == ["hermes", "engram", "ergon", "rhetor"]
    assert cycles == []


def test_a_name_that_is_only_a_dependency_is_started_too() -> None:
    assert DependencyResolver.resolve_dependencies({"ergon": ["hermes"]}) == (["hermes", "ergon"], [])


def test_what_is_in_or_behind_a_cycle_is_not_in_the_order() -> None:
    graph = {"a": ["b"], "b": ["a"], "behind": ["a"], "free": []}

    assert DependencyResolver.resolve_dependencies(graph) == (["free"], [["a", "b"]])


def test_any_mapping_of_sequences_is_a_graph() -> None:
    graph = MappingProxyType({"ergon": ("hermes",), "hermes": ()})

    assert DependencyResolver.resolve_dependencies(graph)[0] == ["hermes", "ergon"]
    assert DependencyResolver.startup_waves(graph) == [["hermes"], ["ergon"]]


def test_waves_hold_what_can_start_at_the_same_time() -> None:
    graph = {"app": ["cache", "db"], "cache": ["db"], "db": [], "log": []}

    assert DependencyResolver.startup_waves(graph) == [["db", "log"], ["cache"], ["app"]]


def test_missing_dependencies_are_named_once_for_each_component() -> None:
    graph = {"app": ["db", "cache", "db"], "cache": ["hermes"], "log": []}

    assert DependencyResolver.missing_dependencies(graph, {"hermes"}) == {"app": ["db"]}
    assert DependencyResolver.missing_dependencies(graph) == {"app": ["db"], "cache": ["hermes"]}


def test_a_text_in_place_of_a_list_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'ergon' must be a sequence, not str"):
        DependencyResolver.resolve_dependencies({"ergon": "hermes"})


def test_a_dependency_waits_for_ready_unless_it_says_otherwise() -> None:
    assert Dependency("migrate").condition == "ready"
    assert msgspec.json.decode(b'{"component":"migrate","condition":"completed"}', type=Dependency) == Dependency(
        "migrate", "completed"
    )
    with pytest.raises(msgspec.ValidationError, match="finished"):
        msgspec.json.decode(b'{"component":"migrate","condition":"finished"}', type=Dependency)
